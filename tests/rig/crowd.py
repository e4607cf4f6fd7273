"""Many clients in a closed loop: each sends its next request as soon as its last one is answered."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from rig.router import chat_body
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.router import Router

CHAT = "/v1/chat/completions"


class Got(NamedTuple):
    """What one request got."""

    status: int
    """0 where the answer broke off, or there was none."""
    engine: str
    """The name that a mock engine gives itself."""
    headers: dict[str, str]
    """With names in lower case."""
    body: bytes
    seconds: float


class Crowd:
    """`clients` at a time; `body` makes the request of a number, distinct prompts by default.

    `ask(200)` sends so many and returns what they got. As a context manager it goes on until its end; what was got is
    in `got`, in the order of the answers.
    """

    def __init__(
        self,
        router: Router,
        clients: int,
        body: Callable[[int], dict[str, Any]] | None = None,
        *,
        path: str = CHAT,
        **fields: Any,
    ) -> None:
        self._router = router
        self._clients = clients
        self._body = body or (lambda number: chat_body(f"question {number}: {number * 7919:x}", **fields))
        self._path = path
        self._numbers = itertools.count()
        self._limit = 0
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.got: list[Got] = []

    def ask(self, number: int) -> list[Got]:
        """Send so many requests; returns what they got."""
        self._limit = number
        self._start()
        self._join()
        assert len(self.got) == number
        return self.got

    def wait(self, number: int, limit: float = LIMIT) -> list[Got]:
        """Wait until so many more requests were answered; returns those."""
        before = len(self.got)
        wait_for(
            lambda: len(self.got) >= before + number, limit=limit, why=lambda: f"{len(self.got)} answers"
        )
        return self.got[before : before + number]

    def __enter__(self) -> Crowd:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._join()

    def _start(self) -> None:
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(6 * LIMIT)
            assert not thread.is_alive(), "a client waits for ever"

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._router.port, timeout=4 * LIMIT)
        try:
            while not self._over.is_set():
                number = next(self._numbers)
                if self._limit and number >= self._limit:
                    return
                self.got.append(self._ask(connection, number))
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> Got:
        body = json.dumps(self._body(number)).encode()
        start = time.monotonic()
        try:
            connection.request("POST", self._path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            content = answer.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            return Got(0, "", {}, b"", time.monotonic() - start)
        return Got(answer.status, headers.get("x-engine", ""), headers, content, time.monotonic() - start)


def statuses(got: list[Got]) -> Counter[int]:
    """How often each status came."""
    return Counter(each.status for each in got)
