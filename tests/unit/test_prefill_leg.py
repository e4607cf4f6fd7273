"""Whose word a prefill's lease learns from."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fd_router.routing import prefill_leg
from fd_router.routing.prefill_leg import PrefillLeg
from rig.relaying import until

OWN, REPEATED = (9, 4), (9, 8)


class Lease:
    """Keeps what it is told."""

    url = "http://10.0.0.1:8000"

    def __init__(self) -> None:
        self.learned: list[tuple[int, int | None]] = []
        self.released = 0

    def answered(self) -> None:
        pass

    def completed(self) -> None:
        pass

    def learn(self, prompt: int, cached: int | None) -> None:
        self.learned.append((prompt, cached))

    def release(self) -> None:
        self.released += 1


class Exchange:
    """An exchange that the test moves on."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.headed: asyncio.Future[Any] = loop.create_future()
        self.end: asyncio.Future[None] = loop.create_future()
        self.usage: tuple[int, int | None] | None = None

    def head(self) -> asyncio.Future[Any]:
        return self.headed

    def discard(self, _on_first: object) -> asyncio.Future[None]:
        return self.end

    def forward(self, _send: object) -> asyncio.Future[None]:
        return self.end

    def cancel(self) -> None:
        """Nothing to close."""

    async def begin(self, status: int = 200) -> None:
        self.headed.set_result(SimpleNamespace(status=status, headers=[], body=None, event_stream=False))
        await asyncio.sleep(0)

    async def finish(self, usage: tuple[int, int | None] | None) -> None:
        self.usage = usage
        self.end.set_result(None)
        await asyncio.sleep(0)


def start(stream: bool) -> tuple[PrefillLeg, Exchange, Lease]:
    exchange, lease = Exchange(), Lease()
    quiet: Any = SimpleNamespace(
        answered=lambda *_: True,
        served=lambda *_: None,
        given_up=lambda *_: None,
        info=lambda *_: None,
        prefill=lambda *_: None,
    )
    leg = PrefillLeg(
        exchange,  # type: ignore[arg-type]
        lease,  # type: ignore[arg-type]
        quiet,
        log=quiet,
        metrics=quiet,
        tags="",
        stream=stream,
        on_failure=lambda: None,
    )
    return leg, exchange, lease


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", ["prefill", "decode"])
@pytest.mark.parametrize(
    ("own", "repeated", "learned"),
    [
        (OWN, REPEATED, [OWN]),
        ((9, None), REPEATED, [(9, None)]),
        (OWN, None, [OWN]),
        (None, REPEATED, [REPEATED]),
        (None, None, []),
    ],
)
def test_prefill_s_own_word_counts_first(
    own: Any, repeated: Any, learned: Any, first: str, stream: bool
) -> None:
    async def run() -> Lease:
        leg, exchange, lease = start(stream)
        await exchange.begin()
        if first == "prefill":
            await exchange.finish(own)
            leg.close(served=True, repeated=repeated)
        else:
            leg.close(served=True, repeated=repeated)
            await exchange.finish(own)
        return lease

    lease = asyncio.run(run())
    assert (lease.learned, lease.released) == (learned, 1)


def test_a_prefill_that_is_cut_is_spoken_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill_leg, "LINGER_SECS", 0.0)

    async def run() -> Lease:
        leg, exchange, lease = start(stream=True)
        await exchange.begin()
        leg.close(served=True, repeated=REPEATED)
        await until(lambda: lease.released)
        return lease

    assert asyncio.run(run()).learned == [REPEATED]


@pytest.mark.parametrize(("status", "served"), [(500, True), (200, False), (None, True)])
def test_nothing_is_learned_of_a_prefill_that_did_not_serve(status: int | None, served: bool) -> None:
    async def run() -> Lease:
        leg, exchange, lease = start(stream=True)
        if status is not None:
            await exchange.begin(status)
            await exchange.finish(None)
        leg.close(served=served, repeated=REPEATED)
        leg.close(served=False, repeated=None)
        return lease

    lease = asyncio.run(run())
    assert (lease.learned, lease.released) == ([], 1)
