"""The mark `live` of a setting against what the router does after a reload; every other key is named instead.

Each live key has a question below: what is seen of the router with one value, and with another one after a reload of
the same process.
"""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from fd_router.config import SECTIONS
from fd_router.config.schema import settings_of
from fd_router.config.setting import Choice, Flag, HttpUrl, Integer, Key, Number, Setting
from rig import Peer, RawClient, RawWorker, Stage, reply, sse_head, wait_for
from rig.certificates import Authority
from rig.router import chat_body, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import Router

Settings = dict[str, Any]
"""Values by the paths of keys."""

KEY = "operators-key"
CHAT = "/v1/chat/completions"
BASE: Settings = {
    "server.admin-key": KEY,
    "manager.health-check-interval-secs": 3600,
    "manager.eject-after-failures": 0,
    "manager.models-interval-secs": 0,
    "scheduler.stats-interval-secs": 3600,
    "scheduler.eviction-interval-secs": 3600,
    "log.record": "decisions.jsonl",
}


class Question(NamedTuple):
    """How one key is looked at: `expected` is what `see` sees, value by value; `given` are other keys meanwhile."""

    key: str
    expected: list[tuple[Any, Any]]
    given: Settings
    see: Callable[[Scene], Any]
    splitwise: bool


QUESTIONS: dict[str, Question] = {}


def live(
    key: str, *expected: tuple[Any, Any], given: Settings | None = None, splitwise: bool = False
) -> Callable[[Callable[[Scene], Any]], Callable[[Scene], Any]]:
    def add(see: Callable[[Scene], Any]) -> Callable[[Scene], Any]:
        QUESTIONS[key] = Question(key, list(expected), given or {}, see, splitwise)
        return see

    return add


class Scene:
    """A router, and workers that come and go with a question."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.things = ExitStack()

    def set(self, settings: Settings) -> dict[str, Any]:
        answer = self.router.reload(as_yaml(BASE | settings))
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def worker(
        self,
        answer: Callable[[Peer], bytes | None] | None = None,
        role: str = "mixed",
        *,
        models: bool = False,
    ) -> RawWorker:
        """A registered worker; it leaves with the question. See `RawWorker` for `models`."""
        worker = RawWorker(answer or (lambda _: reply(b'{"choices": []}')), models=models)
        self.things.callback(worker.stop)
        assert self.router.register(worker.port, role).status_code == 200
        self.things.callback(self.router.unregister, worker.port)
        return worker

    def pair(self, decode: Callable[[Peer], bytes | None] | None = None) -> list[RawWorker]:
        return [self.worker(None, "prefill"), self.worker(decode, "decode")]

    @contextmanager
    def held(self, number: int = 1, text: str = "held") -> Iterator[None]:
        """So many streams without an end; workers answer them by `stream`."""
        with ExitStack() as stack:
            for _ in range(number):
                client = stack.enter_context(self.client())
                client.post(CHAT, json.dumps(chat_body(text, stream=True)).encode(), "connection: close")
                client.read_until(b"data: ")
            yield
        wait_for(lambda: not any(self.router.running().values()))

    def client(self) -> RawClient:
        return RawClient("127.0.0.1", self.router.port)

    def status(self, body: bytes | None = None, **headers: str) -> int:
        content = body if body is not None else json.dumps(chat_body("hello")).encode()
        return self.router.post(CHAT, content=content, headers=headers).status_code

    def since(self, pattern: str) -> Callable[[], str]:
        """What stands in the group of the next line like that."""
        start = len(self.router.log_text())

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.router.log_text()[start:], re.MULTILINE)

        return lambda: wait_for(found, why=lambda: f"no {pattern}\n{self.router.process.tail()}")[1]

    def grows(self, count: Callable[[], int]) -> str:
        """Waits until something goes on by itself."""
        start = count()
        wait_for(lambda: count() >= start + 3, why="it does not go on")
        return "goes on"


def stream(peer: Peer) -> bytes | None:
    """Begins a stream that ends with its client; other requests are answered."""
    if b'"stream":true' in peer.body.replace(b" ", b""):
        peer.send(sse_head() + b"data: {}\n\n")
        peer.wait_closed()
        return None
    return reply(b'{"choices": []}')


def as_yaml(settings: Settings) -> str:
    document: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        section, _, key = path.partition(".")
        document.setdefault(section, {})[key] = value
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Router]]:
    """One of each mode for the whole module."""
    stage = Stage(tmp_path_factory.mktemp("live"))
    found: dict[bool, Router] = {}

    def router(splitwise: bool) -> Router:
        if splitwise not in found:
            more = ["--splitwise"] if splitwise else []
            found[splitwise] = stage.start_router(
                as_yaml(BASE), *more, headers={"authorization": f"Bearer {KEY}"}
            )
        return found[splitwise]

    yield router
    stage.close()


# ---- server


@live("server.max-in-flight", (0, 200), (1, 503))
def _(scene: Scene) -> int:
    scene.worker(stream)
    with scene.held():
        return scene.status()


@live("server.queue-timeout-secs", (0, "turned away"), (0.2, "for 0.2 s"), given={"server.max-in-flight": 1})
def _(scene: Scene) -> str:
    scene.worker(stream)
    with scene.held():
        answer = scene.router.post(CHAT, chat_body("hello"))
    waited = re.search(r"for [\d.]+ s", answer.text)
    return waited[0] if waited else "turned away"


@live("server.max-body-mb", (2, 200), (1, 413))
def _(scene: Scene) -> int:
    scene.worker()
    return scene.status(json.dumps(chat_body("x" * (3 << 19))).encode())


@live(
    "server.body-timeout-secs", (0.2, "no byte of the body for 0.2 s"), (0.3, "no byte of the body for 0.3 s")
)
@live(
    "server.body-total-timeout-secs",
    (0.2, "body not complete after 0.2 s"),
    (0.3, "body not complete after 0.3 s"),
)
def half_a_body(scene: Scene) -> str:
    with scene.client() as client:
        client.send(
            b"POST /v1/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"
        )
        [why] = re.findall(r"(?:no byte|body not)[^\"]*", client.read_to_end().decode())
        return str(why)


@live("server.max-body-memory-mb", (1024, 200), (1, 503))
def _(scene: Scene) -> int:
    scene.worker(stream)
    with scene.held(text="x" * (3 << 18)):
        return scene.status(json.dumps(chat_body("x" * (3 << 18))).encode())


@live("server.write-timeout-secs", (0.4, "0.4"), (0.2, "0.2"))
def _(scene: Scene) -> str:
    def endless(peer: Peer) -> None:
        peer.send(sse_head())
        while True:
            peer.send(b"data: " + b"x" * 65_536 + b"\n\n")

    scene.worker(endless)
    told = scene.since(r"took no byte for ([\d.]+) s \(server\.write-timeout-secs\), closed")
    with RawClient("127.0.0.1", scene.router.port, receive_buffer=4096) as client:
        client.post(CHAT, json.dumps(chat_body("hello", stream=True)).encode())
        return told()


@live("server.expose-worker-urls", (True, True), (False, False), splitwise=True)
def _(scene: Scene) -> bool:
    scene.pair()
    return "x-router-decode-url" in scene.router.chat("hello").headers


@live("server.api-keys", ([], 200), (["one"], 401))
def _(scene: Scene) -> int:
    scene.worker()
    return scene.status(authorization="")


@live("server.admin-key", (KEY, 401), ("", 200))
def _(scene: Scene) -> int:
    return scene.router.get("/registered", headers={"authorization": ""}).status_code


@live("server.trusted-proxies", ([], "127.0.0.1"), (["127.0.0.1"], "10.1.2.3"))
def _(scene: Scene) -> str:
    told = scene.since(r"\[GET\] /proxied HTTP/1\.1 404 \S+ (\S+)$")
    scene.router.get("/proxied", headers={"x-forwarded-for": "10.1.2.3"})
    return told()


# ---- manager


@live(
    "manager.health-failure-threshold",
    (1, "lost"),
    (2, "kept"),
    given={"manager.health-check-interval-secs": 0.05},
)
def _(scene: Scene) -> str:
    worker = scene.worker()
    lost = scene.router.metrics().value("fd_router_health_flips_total", direction="down")
    worker.next_health.append(500)
    wait_for(lambda: not worker.next_health)
    scene.grows(lambda: worker.probes)
    now = scene.router.metrics().value("fd_router_health_flips_total", direction="down")
    return "lost" if now > lost else "kept"


@live("manager.health-success-threshold", (1, 200), (3, 503))
def _(scene: Scene) -> int:
    """Whether a third probe decides. They are not counted: a round of another question may be due still."""
    worker = RawWorker(lambda _: None)
    scene.things.callback(worker.stop)
    scene.things.callback(scene.router.unregister, worker.port)
    worker.next_health = [200, 200, 500]
    return scene.router.register(worker.port).status_code


@live("manager.health-check-timeout-secs", (0.2, "0.2"), (0.3, "0.3"))
def _(scene: Scene) -> str:
    silent = RawWorker(lambda _: None, accept=False)
    scene.things.callback(silent.stop)
    told = scene.since(r"failed to send request to \S+/health with error: .*no answer within ([\d.]+) s")
    assert scene.router.register(silent.port).status_code == 503
    return told()


@live("manager.health-check-interval-secs", (0.05, "goes on"), (0.1, "goes on"))
def _(scene: Scene) -> str:
    worker = scene.worker()
    return scene.grows(lambda: worker.probes)


@live("manager.health-check-endpoint", ("/health", []), ("/healthy", ["/healthy"]))
def _(scene: Scene) -> list[str]:
    return [peer.path for peer in scene.worker().hits]


def hits_of(worker: RawWorker) -> int:
    return len(worker.hits)


LOADED = {"scheduler.policy": "fd_remote_metrics_score", "manager.metrics-interval-secs": 0.05}


@live("manager.metrics-interval-secs", (0.05, "goes on"), (0.1, "goes on"), given=LOADED)
def _(scene: Scene) -> str:
    worker = scene.worker()
    return scene.grows(partial(hits_of, worker))


@live(
    "manager.forget-after-secs",
    (0.2, "0.2"),
    (0.1, "0.1"),
    given={"manager.health-check-interval-secs": 0.05},
)
def _(scene: Scene) -> str:
    worker = scene.worker()
    told = scene.since(r"forgotten, it did not come back within ([\d.]+) s")
    worker.health = 500
    return told()


@live("manager.eject-after-failures", (2, "2"), (1, "1"))
def _(scene: Scene) -> str:
    for _ in range(2):
        scene.worker(lambda _: reply(b"{}", 500))
    told = scene.since(r"eject: \S+ is out for \S+ s, (\d+) requests in a row failed")
    for _ in range(4):
        assert scene.status() == 500
    return told()


@live("manager.max-workers", (2, 200), (1, 503))
def _(scene: Scene) -> int:
    scene.worker()
    other = RawWorker(lambda _: reply(b"{}"))
    scene.things.callback(other.stop)
    scene.things.callback(scene.router.unregister, other.port)
    return scene.router.register(other.port).status_code


def registers(scene: Scene) -> int:
    worker = RawWorker(lambda _: reply(b"{}"))
    scene.things.callback(worker.stop)
    scene.things.callback(scene.router.unregister, worker.port)
    body = {"role": "mixed", "host_ip": "127.0.0.1", "port": worker.port}
    return scene.router.post("/register", body, headers={"authorization": "Bearer token"}).status_code


live("manager.register-token", ("", 401), ("token", 200))(registers)
live(
    "manager.allowed-networks",
    (["127.0.0.0/8"], 200),
    (["10.0.0.0/8"], 403),
    given={"manager.register-token": "token"},
)(registers)


@live("manager.engine-api-key", ("", []), ("sesame", ["Bearer sesame"]))
def _(scene: Scene) -> list[str]:
    worker = scene.worker(lambda _: reply(b'{"data": [{"id": "m"}]}'), models=True)
    assert scene.router.get("/v1/models").json()["data"] == [{"id": "m"}]
    return worker.hits[0].header("authorization")


# ---- scheduler


def decided(role: str) -> Callable[[Scene], str]:
    """Which policy counts a decision more than before."""

    def see(scene: Scene) -> str:
        if role == "mixed":
            scene.worker()
        else:
            scene.pair()
        before = policies(scene)
        assert scene.status() == 200
        return ", ".join(name for name, count in policies(scene).items() if count > before.get(name, 0))

    return see


def policies(scene: Scene) -> dict[str, float]:
    found: dict[str, float] = {}
    for sample in scene.router.metrics():
        if sample.name == "fd_router_decisions_total":
            found[sample.labels["policy"]] = found.get(sample.labels["policy"], 0) + sample.value
    return dict(sorted(found.items()))


live("scheduler.policy", ("random", "random"), ("round_robin", "round_robin"))(decided("mixed"))
live(
    "scheduler.prefill-policy",
    ("random", "random, request_num"),
    ("round_robin", "request_num, round_robin"),
    splitwise=True,
)(decided("prefill"))
live(
    "scheduler.decode-policy",
    ("random", "process_tokens, random"),
    ("round_robin", "process_tokens, round_robin"),
    splitwise=True,
)(decided("decode"))


@live("scheduler.eviction-interval-secs", (0.05, "goes on"), (0.1, "goes on"))
def _(scene: Scene) -> str:
    """One that left in the middle of its work is told of in each round."""
    gone = scene.worker(stream)
    with scene.held():
        scene.worker(stream)
        assert scene.router.unregister(gone.port).status_code == 200
        return scene.grows(lambda: scene.router.log_text().count("preserved counters for 1 workers"))


CACHED = {
    "scheduler.policy": "cache_aware",
    "scheduler.balance-abs-threshold": 1000,
    "scheduler.hit-ratio-weight": 1,
    "scheduler.load-balance-weight": 1,
}


def balanced(scene: Scene) -> str:
    """Two streams on one of two workers: which policy decides about the next request."""
    scene.worker(stream)
    with scene.held(2):
        scene.worker(stream)
        before = policies(scene)
        assert scene.status() == 200
        return ", ".join(name for name, count in policies(scene).items() if count > before.get(name, 0))


live(
    "scheduler.balance-abs-threshold",
    (1, "process_tokens"),
    (2, "cache_aware"),
    given={"scheduler.policy": "cache_aware"},
)(balanced)
live(
    "scheduler.balance-rel-threshold",
    (0.5, "process_tokens"),
    (1, "cache_aware"),
    given={"scheduler.policy": "cache_aware"},
)(balanced)

PROMPT = "a prompt of some blocks, which one worker has and the other lacks " * 20


def chosen(scene: Scene) -> str:
    """One worker has a stream and the prompt, the other nothing: who gets the prompt."""
    first = scene.worker(stream)
    with scene.held(text=PROMPT):
        second = scene.worker(stream)
        before = len(first.hits), len(second.hits)
        assert scene.router.chat(PROMPT).status_code == 200
        return "the busy one" if len(first.hits) > before[0] else "the idle one"


live("scheduler.hit-ratio-weight", (0.1, "the idle one"), (10, "the busy one"), given=CACHED)(chosen)
live("scheduler.load-balance-weight", (10, "the idle one"), (0.1, "the busy one"), given=CACHED)(chosen)
live(
    "scheduler.base-running",
    (1000, "the busy one"),
    (0, "the idle one"),
    given={"scheduler.policy": "least_work"},
)(chosen)


@live("scheduler.waiting-weight", (1, "a"), (10, "b"), given=LOADED)
def _(scene: Scene) -> str:
    """`a` runs nothing and has three that wait, `b` runs five."""

    def says(running: int, waiting: int) -> Callable[[Peer], bytes]:
        page = f"fastdeploy:num_requests_running {running}\nfastdeploy:num_requests_waiting {waiting}\n"
        return lambda peer: reply(page.encode() if peer.path == "/metrics" else b'{"choices": []}')

    workers = {"a": scene.worker(says(0, 3)), "b": scene.worker(says(5, 0))}
    for worker in workers.values():
        scene.grows(partial(hits_of, worker))
    assert scene.status() == 200
    return "".join(name for name, worker in workers.items() if any(peer.path == CHAT for peer in worker.hits))


@live("scheduler.copy-cost", (0.5, 0.5), (3, 3.0), given={"scheduler.policy": "least_work"})
def _(scene: Scene) -> float:
    """By the recording, which tells what the scheduler was told: it counts where caches are full."""
    file = scene.router.process.log.with_name("decisions.jsonl")
    worker = scene.worker()

    def rows() -> list[dict[str, Any]]:
        return [json.loads(line) for line in file.read_text().splitlines()]

    # Lines come late, and in order.
    wait_for(lambda: any(row["event"] == "joined" and row["worker"] == worker.url for row in rows()))
    told = [row["settings"]["copy_cost"] for row in rows() if row["event"] == "tuned"]
    return float(told[-1])


@live("scheduler.stats-interval-secs", (0.05, "goes on"), (0.1, "goes on"))
def _(scene: Scene) -> str:
    return scene.grows(lambda: scene.router.log_text().count("[stats] total_running="))


# ---- upstream


@live("upstream.attempts", (1, 1), (3, 3))
def _(scene: Scene) -> int:
    """Tries of a request that every connection fails."""
    worker = scene.worker(lambda peer: peer.reset())
    assert scene.status() == 502
    return len(worker.hits)


@live("upstream.pair-attempts", (1, 1), (2, 2), splitwise=True)
def _(scene: Scene) -> int:
    _, decode = scene.pair(lambda peer: peer.reset())
    assert scene.status() == 502
    return len(decode.hits)


@live("upstream.retry-statuses", ([503], 1), ([418], 2))
def _(scene: Scene) -> int:
    workers = [scene.worker(lambda _: reply(b"{}", 418)) for _ in range(2)]
    assert scene.status() == 418
    return sum(len(worker.hits) for worker in workers)


# ---- log


@live("log.level", ("info", True), ("error", False))
def _(scene: Scene) -> bool:
    """Whether an access line stands before an error's."""
    start = len(scene.router.log_text())
    scene.router.get("/marked")
    told = scene.since(r"Failed to register instance: (.*)$")
    assert scene.router.post("/register", {"role": "odd"}).status_code == 400
    told()
    return "[GET] /marked" in scene.router.log_text()[start:]


ENDING = {"server.drain-delay-secs", "server.drain-timeout-secs"}
"""Keys about the end of the process, each with a router of its own."""


def test_every_live_key_has_a_question() -> None:
    marked = {key for key, setting in all_settings().items() if setting.live}
    assert {*QUESTIONS, *ENDING} == marked


def all_settings() -> dict[str, Setting]:
    return {
        f"{name}.{key}": setting
        for name, section in SECTIONS.items()
        for key, setting in settings_of(section).items()
    }


@pytest.mark.parametrize("key", QUESTIONS)
def test_a_live_key_counts_at_once(key: str, routers: Callable[[bool], Router]) -> None:
    question = QUESTIONS[key]
    router = routers(question.splitwise)
    scene = Scene(router)
    scene.set(question.given)
    for value, expected in question.expected:
        said = scene.set(question.given | {key: value})
        assert said["restart"] == []
        assert {*said["changed"]} <= {key}
        with scene.things:
            assert (value, question.see(scene)) == (value, expected)
    assert said["changed"] == [key], "the last one came by a reload"
    router.assert_same_worker()


def test_a_reload_lengthens_the_time_before_the_listener_closes(stage: Stage) -> None:
    router = stage.start_router()
    assert router.reload("server: {drain-delay-secs: 60}").json()["changed"] == ["server.drain-delay-secs"]
    router.process.send(signal.SIGTERM)
    wait_for(lambda: router.get("/ready").json().get("reason") == "draining")
    with router.raw() as client:
        client.send(b"GET /health HTTP/1.1\r\nhost: r\r\n\r\n")
        assert b" 200 " in client.read_to_end(), "who comes now is served"
    router.process.send(signal.SIGQUIT)
    assert router.process.wait() == 0


def test_a_reload_lengthens_the_time_to_end(stage: Stage) -> None:
    """In the supervisor as well, which would kill the process two seconds after the limit of the start."""
    router = stage.start_router("server: {drain-timeout-secs: 0.1}")
    engine = stage.start_engine(token_secs=0.1)
    assert router.register(engine.port).status_code == 200
    assert router.reload("server: {drain-timeout-secs: 60}").json()["changed"] == [
        "server.drain-timeout-secs"
    ]
    with router.raw() as client:
        client.post("/v1/completions", b'{"prompt": "x", "stream": true, "max_tokens": 40}')
        client.read_until(b"data: ")
        router.process.send(signal.SIGTERM)
        assert b"data: [DONE]" in client.read_to_end()
    assert router.process.wait() == 0
    assert "was killed" not in router.log_text()


def another(setting: Setting) -> Any:
    """A value that is accepted, and not the default."""
    match setting.kind:
        case Flag():
            return not setting.default
        case Choice(names=names):
            return next(name for name in names if name != setting.default)
        case Integer(low=low, high=high):
            return next(
                (number for number in (2, 3) if low <= number <= high and number != setting.default), None
            )
        case Number():
            return 1.5
        case HttpUrl():
            return "127.0.0.1:1"
        case Key():
            return "key"
        case _:
            return "other"


def test_any_other_key_is_named_and_waits(stage: Stage) -> None:
    files = stage.folder
    made = Authority(files / "tls")
    certificate = made.issue("127.0.0.1")
    given = {
        "server.port": free_port(),
        "server.admin-port": free_port(),
        "server.tls-cert": str(certificate.cert),
        "server.tls-key": str(certificate.key),
        "server.tls-client-ca": str(made.root),
        "upstream.ca-file": str(made.root),
        "manager.register-path": str(files / "register.yaml"),
        "server.extra-paths": ["/v2/other"],
        "server.cors-origins": ["https://app.example"],
        "cluster.url": "valkey://127.0.0.1:1",
    }
    (files / "register.yaml").write_text("instances: []\n")
    # The one process that serves is all that is accepted.
    others = [key for key, setting in all_settings().items() if not setting.live and key != "server.workers"]
    router = stage.start_router()
    settings = {key: given.get(key, another(all_settings()[key])) for key in others}
    answer = router.reload(as_yaml(settings))
    assert answer.status_code == 200, answer.text
    assert answer.json()["restart"] == others
    assert answer.json()["changed"] == []
    line = router.wait_log(r"^\[WARN\] .* reload: not taken over without a restart: (.*)$")
    assert line[1].split(", ") == others
    assert router.get("/health").status_code == 200, "it is where it was"
