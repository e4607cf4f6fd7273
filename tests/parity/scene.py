"""What the cases are played with: answers that wait, pairs of workers, and the parts of an answer they look at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from rig import Peer, RawWorker, Router, Stage, reply, wait_for
from rig.wait import LIMIT

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
OK = reply(b'{"ok":true}')

Answer = Callable[[Peer], bytes | None]


def at_once(peer: Peer) -> bytes:
    """Answer 200."""
    return OK


class Held:
    """An answer that is kept back until `let_go`."""

    def __init__(self, data: bytes = OK) -> None:
        self._data = data
        self._go = threading.Event()

    def __call__(self, peer: Peer) -> bytes:
        assert self._go.wait(2 * LIMIT), "never let go"
        return self._data

    def let_go(self) -> None:
        self._go.set()


@dataclass(frozen=True)
class Pair:
    """A prefill and a decode worker of raw sockets, both registered."""

    prefill: RawWorker
    decode: RawWorker

    def bodies(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What prefill and decode were sent last."""
        return sent(self.prefill), sent(self.decode)


def add_worker(
    stage: Stage,
    router: Router,
    answer: Answer = at_once,
    role: str = "mixed",
    host: str = "127.0.0.1",
    **fields: object,
) -> RawWorker:
    """A worker of raw sockets, registered."""
    worker = stage.raw_worker(answer, host=host)
    register(router, worker, role, **fields)
    return worker


def add_workers(stage: Stage, router: Router, number: int, answer: Answer = at_once) -> list[RawWorker]:
    """Several mixed ones alike, in the order in which the router sorts them."""
    return sorted((add_worker(stage, router, answer) for _ in range(number)), key=by_url)


def by_url(worker: RawWorker) -> str:
    """The router's order."""
    return worker.url


def register(router: Router, worker: RawWorker, role: str = "mixed", **fields: object) -> None:
    answer = router.register(worker.port, role, host_ip=worker.host, **fields)
    assert (answer.status_code, answer.json()) == (200, {"code": 200, "msg": "Register success"}), answer.text


def add_pair(
    stage: Stage,
    router: Router,
    prefill: Answer = at_once,
    decode: Answer | bytes = OK,
    *,
    prefill_fields: dict[str, Any] | None = None,
    decode_fields: dict[str, Any] | None = None,
) -> Pair:
    """A pair; the fields go into the registrations, `host` among them says where the worker listens.

    A decode that is given as bytes answers with them once prefill has the request too, as an engine does that waits
    for its KV. One that answers earlier ends the request, and prefill may never hear of it.
    """
    first = add_worker(stage, router, prefill, "prefill", **(prefill_fields or {}))

    def paired(peer: Peer) -> bytes:
        assert isinstance(decode, bytes)
        first.wait_hits(len(second.hits))
        return decode

    answer = paired if isinstance(decode, bytes) else decode
    second = add_worker(stage, router, answer, "decode", **(decode_fields or {}))
    return Pair(first, second)


def sent(worker: RawWorker) -> dict[str, Any]:
    """The last body that a worker was sent."""
    body: dict[str, Any] = json.loads(worker.hits[-1].body)
    return body


def error(answer: httpx.Response) -> str:
    """The text of an error, from a body that must be JSON and say so."""
    assert answer.headers["content-type"].startswith("application/json"), answer.headers
    text: str = answer.json()["error"]
    return text


def wait_running(router: Router, **wanted: int) -> None:
    """Wait for exact counts of requests in flight, by url: `wait_running(router, **{worker.url: 1})`."""
    wait_for(
        lambda: wanted.items() <= router.running().items(),
        why=lambda: f"running {wanted}, have {router.running()}\n{router.process.tail()}",
    )
