"""A running `fd-router`, as a client and an operator see it."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import yaml

from fd_router.observe.metrics.worker_tally import RETENTION_SECS
from rig.client import RawClient
from rig.exposition import Metrics
from rig.memory import worker_pid
from rig.process import Process
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    import openai

PROGRAM = Path(sys.executable).with_name("fd-router")
LINE = re.compile(r"^\[(INFO|ERROR|WARN|DEBUG)\] (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) logger\.go:\d+: (.*)$")
TAG = re.compile(r"\[(trace_id|req_id|session_id|request_id):([^\]]+)\] ")


class LogLine(NamedTuple):
    """One line of the router's log."""

    level: str
    time: str
    tags: list[tuple[str, str]]
    message: str

    @classmethod
    def parse(cls, text: str) -> LogLine | None:
        """None for a line that is not of the router's layout."""
        match = LINE.match(text)
        if match is None:
            return None
        level, time, rest = match.groups()
        tags = []
        while tag := TAG.match(rest):
            tags.append((tag[1], tag[2]))
            rest = rest[tag.end() :]
        return cls(level, time, tags, rest)


class Router:
    """One router process."""

    def __init__(
        self,
        process: Process,
        port: int,
        host: str = "127.0.0.1",
        *,
        control: int | None = None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`control` is its `server.admin-port`: `client` talks to that, with `headers` in each request.

        `tls` is for a router that listens for https.
        """
        self.process = process
        self.port = port
        scheme = "http" if tls is None else "https"
        self.data_url = f"{scheme}://{host}:{port}"
        self.url = f"{scheme}://{host}:{control or port}"
        self.client = httpx.Client(
            base_url=self.url,
            timeout=LIMIT,
            trust_env=False,
            headers=headers,
            verify=True if tls is None else tls,
        )
        self.check_idle = True
        """Whether the end of the test demands that all counters are 0."""
        self.check_worker = True
        """Whether its worker process must stay the one of the start: the supervisor puts another in the place of one
        that crashed, and all looks well, with counters that begin anew."""
        self.ends_with = 0
        """The exit status that the end of the test demands."""
        self._worker = 0
        self._scraping = threading.Lock()
        self._scraped = Metrics.parse("")
        self._begun = time.monotonic()
        self.log_from = 0
        """Where the log begins for what reads it here, in characters."""
        self._marks = 0

    # ---- life

    def wait_ready(self, limit: float = 60.0) -> None:
        """Wait until it answers. Raises `AssertionError` with its log when it ends instead."""

        def answers() -> bool:
            if self.process.status is not None:
                raise AssertionError(f"fd-router ended with {self.process.status}\n{self.process.tail()}")
            try:
                return self.get("/registered_number").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, limit=limit, why=lambda: f"fd-router does not answer\n{self.process.tail()}")
        self._worker = worker_pid(self)

    def assert_same_worker(self) -> None:
        """The worker process is the one of the start, unless the test said that it need not be."""
        if self.check_worker:
            now = worker_pid(self)
            assert now == self._worker, f"worker {self._worker} is gone, {now} serves\n{self.process.tail()}"

    def stop(self) -> int:
        """SIGTERM; the exit status. Raises `AssertionError` for a worker process that is not the one of the start."""
        if self.process.status is None:
            self.assert_same_worker()
        self.client.close()
        return self.process.stop()

    def assert_ends_well(self) -> None:
        """Stop it if it still runs; whoever ended it, its exit status is 0, unless the test said another."""
        status = self.stop()
        assert status == self.ends_with, f"fd-router ended with {status}\n{self.process.tail()}"

    # ---- requests

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, **more)

    def post(self, path: str, json: object = None, **more: Any) -> httpx.Response:
        """`json`, or `content=` for raw bytes."""
        return self.client.post(path, json=json, **more)

    def chat(self, text: str, **fields: Any) -> httpx.Response:
        """One chat request that is not streamed."""
        return self.post("/v1/chat/completions", chat_body(text, **fields))

    def round_trip(self) -> float:
        """Seconds that the least of answers takes: what a busy machine adds, now, to whatever is timed through it."""
        asked = time.monotonic()
        assert self.get("/health").status_code == 200
        return time.monotonic() - asked

    @contextmanager
    def stream(self, path: str, json: object = None, **more: Any) -> Iterator[httpx.Response]:
        """A response whose body is still to come."""
        with self.client.stream("POST", path, json=json, **more) as response:
            yield response

    def raw(self) -> RawClient:
        """A bare connection; the caller closes it."""
        return RawClient("127.0.0.1", self.port)

    def openai(self, **more: Any) -> openai.OpenAI:
        """The official client, without retries of its own; the caller closes it."""
        import openai  # noqa: PLC0415 - a second of import that most tests do not need

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **more)

    # ---- configuration

    def configure(self, config: str) -> None:
        """Put another file in its place, made as `Stage.start_router` does; nobody reads it before a reload."""
        place = self.process.log.with_name("config.yaml")
        fresh = place.with_name("config.yaml.new")
        fresh.write_text(config_text(config, self.port))
        fresh.replace(place)

    def reload(self, config: str | None = None) -> httpx.Response:
        """`POST /reload`, with another file if one is given."""
        if config is not None:
            self.configure(config)
        return self.post("/reload")

    # ---- workers

    def register(self, port: int, role: object = "mixed", **fields: object) -> httpx.Response:
        """Register a worker on loopback by hand."""
        return self.post("/register", {"role": role, "host_ip": "127.0.0.1", "port": port, **fields})

    def unregister(self, port: int) -> httpx.Response:
        """Take a worker on loopback out."""
        return self.post("/unregister", {"host_ip": "127.0.0.1", "port": port})

    def registered(self) -> dict[str, list[dict[str, Any]]]:
        """`/registered`: role to items, sorted by url."""
        answer = self.get("/registered").json()
        return {role: sorted(answer[role], key=by_url) for role in ("mixed", "prefill", "decode")}

    def numbers(self) -> dict[str, int]:
        """`/registered_number`."""
        numbers: dict[str, int] = self.get("/registered_number").json()
        return numbers

    def wait_workers(self, *, limit: float = LIMIT, **numbers: int) -> None:
        """Wait until exactly so many workers of the roles named are registered: `wait_workers(mixed=2)`."""

        def reached() -> bool:
            return numbers.items() <= self.numbers().items()

        def why() -> str:
            return f"workers {numbers}, have {self.numbers()}\n{self.process.tail()}"

        wait_for(reached, limit=limit, why=why)

    # ---- log and metrics

    def log_text(self) -> str:
        return self.process.output()[self.log_from :]

    def settled_log(self) -> str:
        """The log with all lines of what has happened: for counts of them, and for what nobody is to be told of.

        Lines reach the log a moment after what they tell of. One access line is therefore waited for: what stands
        before it is old, and nothing old comes after it. The supervisor writes by itself, before what follows.
        """
        self._marks += 1
        mark = f"/settled-{self._marks}"
        self.get(mark)
        end = self.wait_log(rf"\[GET\] {mark} .*\n").end()
        return self.log_text()[:end]

    def forget_log(self) -> None:
        """Leave out what was written so far: a router that serves several tests has a log for each."""
        self.log_from += len(self.settled_log())

    def log_lines(self) -> list[LogLine]:
        """All lines of the router's layout, in order."""
        return [line for text in self.log_text().splitlines() if (line := LogLine.parse(text))]

    def messages(self) -> list[str]:
        """The lines' messages, without level, time and tags."""
        return [line.message for line in self.log_lines()]

    def wait_log(self, pattern: str, *, limit: float = LIMIT) -> re.Match[str]:
        """Wait for a match anywhere in the log."""
        return wait_for(
            lambda: re.search(pattern, self.log_text(), re.MULTILINE),
            limit=limit,
            why=lambda: f"no {pattern!r} in the log\n{self.process.tail()}",
        )

    def metrics(self) -> Metrics:
        """One scrape. Raises `AssertionError` for a count that is lower than in the scrape before."""
        # One at a time, so that they are compared in the order in which the router made them.
        with self._scraping:
            scrape = Metrics.parse(self.get("/metrics").text)
            if self.check_worker:
                old = time.monotonic() - self._begun > RETENTION_SECS
                scrape.assert_follows(self._scraped, forgets=old)
            self._scraped = scrape
            return scrape

    def running(self) -> dict[str, int]:
        """Requests in flight by worker."""
        return self._by_worker("fd_router_worker_running")

    def tokens(self) -> dict[str, int]:
        """Tokens still to be prefilled by worker."""
        return self._by_worker("fd_router_worker_tokens")

    def pair_outcomes(self) -> Counter[str]:
        """Pairs so far by how they ended."""
        return Counter(
            {
                sample.labels["outcome"]: int(sample.value)
                for sample in self.metrics()
                if sample.name == "fd_router_pairs_total"
            }
        )

    def _by_worker(self, gauge: str) -> dict[str, int]:
        scrape = self.metrics()
        # Without the family every check of it would pass.
        assert scrape.kinds.get(gauge) == "gauge", f"/metrics has no {gauge}"
        return {sample.labels["worker"]: int(sample.value) for sample in scrape if sample.name == gauge}

    def assert_idle(self, limit: float = LIMIT) -> None:
        """Every worker's counters come back to 0."""

        def idle() -> bool:
            return not any((*self.running().values(), *self.tokens().values()))

        def why() -> str:
            return f"still running: {self.running()}, tokens: {self.tokens()}\n{self.process.tail()}"

        wait_for(idle, limit=limit, why=why)


def chat_body(text: str, **fields: Any) -> dict[str, Any]:
    """A chat request with one message."""
    return {"model": "mock", "messages": [{"role": "user", "content": text}], **fields}


def by_url(item: dict[str, Any]) -> str:
    """The url of an item of `/registered`."""
    return str(item["url"])


def config_text(text: str, port: int) -> str:
    """The test's YAML with what the rig needs where the test does not say otherwise."""
    document = yaml.safe_load(text) or {}
    server = document.setdefault("server", {})
    server.setdefault("host", "127.0.0.1")
    server.setdefault("port", port)
    return yaml.safe_dump(document)


def listens(port: int) -> bool:
    """Whether somebody takes connections at a loopback port; one reset at once was left by a listener that ended."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def free_port() -> int:
    """A port of loopback that nothing uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
