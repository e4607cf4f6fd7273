"""One leg of a pair dies, is reset or falls silent, at each of five points of its answer, streamed and whole.

Whatever happens, the client gets an answer: that of another pair as long as no byte of one has come, else the part that
came and an error event, or an error where it has seen nothing of it. No counter stays above 0, and no engine is left
working for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig import Stage
from rig.pairs import PairFleet
from rig.sse import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from rig import Engine

POINTS = ("connect", "before-head", "after-head", "first-token", "mid-stream")


class Fault(NamedTuple):
    """What happens to which leg."""

    leg: str
    point: str
    how: str
    stream: bool

    @property
    def visible(self) -> bool:
        """Whether the client has already seen a part of the answer."""
        return self.leg == "decode" and self.stream and self.point in ("first-token", "mid-stream")

    @property
    def begun(self) -> bool:
        """Whether a part of the answer was received that the client has not seen: it is not made twice."""
        if self.leg == "prefill" or self.visible:
            return False
        return self.point in ("after-head", "first-token", "mid-stream")

    @property
    def late(self) -> bool:
        """Whether decode may be at work on a whole answer for longer than the limit: it is not asked for twice."""
        return self.leg == "decode" and self.silences_both and not self.stream

    @property
    def starves_decode(self) -> bool:
        """Whether decode cannot answer for want of prefill's KV: prefill hands it over after a stream's head."""
        if self.leg == "decode":
            return False
        return self.point in ("connect", "before-head") or (self.stream and self.point == "after-head")

    @property
    def silences_both(self) -> bool:
        """Whether neither leg answers at all, so that nobody can tell which one hangs."""
        return self.how == "stall" and self.point in ("connect", "before-head")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairFleet]:
    stage = Stage(tmp_path_factory.mktemp("pairs"))
    try:
        fleet = PairFleet(stage)
        yield fleet
        fleet.close()
    finally:
        stage.close()


@pytest.fixture
def fleet(shared: PairFleet) -> Iterator[PairFleet]:
    yield shared
    for engine in shared.all():
        if engine.process.status is None:
            engine.heal()
        else:
            shared.replace(engine)
    shared.assert_settled()


def strike(victim: Engine, fault: Fault) -> None:
    """Prepare the fault; a kill comes later, but for that of an engine that is dead before anyone connects."""
    if fault.point != "connect":
        # A kill needs the engine to wait for it at the point.
        victim.fault(cut=fault.point, cut_how="reset" if fault.how == "reset" else "stall")
    elif fault.how == "kill":
        victim.kill()
    else:
        victim.fault(connect="hang" if fault.how == "stall" else "reset")


def finish(victim: Engine, fault: Fault, before: dict[str, int]) -> None:
    """Wait until the fault has happened, and kill where that is the fault."""
    if fault.point == "connect":
        if fault.how != "kill":
            victim.wait_stats(connections=before["connections"] + 1, requests=before["requests"])
    elif fault.how == "reset":
        victim.wait_stats(broken_off=before["broken_off"] + 1)
    else:
        victim.wait_stats(stalled=before["stalled"] + 1)
    if fault.how == "kill" and fault.point != "connect":
        victim.kill()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ["kill", "reset", "stall"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("leg", ["prefill", "decode"])
def test_a_leg_is_lost(fleet: PairFleet, leg: str, point: str, how: str, stream: bool) -> None:
    fault = Fault(leg, point, how, stream)
    victim = fleet.next()[leg]
    before, outcomes = victim.stats(), fleet.router.pair_outcomes()
    strike(victim, fault)
    asked = fleet.ask(stream=stream)
    finish(victim, fault, before)
    answer = asked.result()
    fleet.assert_settled() if victim.process.status is None else fleet.router.assert_idle()
    counted = fleet.router.pair_outcomes() - outcomes
    if fault.begun or fault.late:
        assert answer.status_code == (504 if fault.late else 502)
        assert counted == {"decode_failed": 1}
        return
    assert answer.status_code == 200, answer.text
    if fault.visible:
        assert_cut(answer)
        assert counted == {"decode_cut": 1}
        return
    assert_whole(answer, stream=stream)
    again = {f"{leg}_failed_repaired": 1, "completed": 1}
    if leg == "decode" or fault.starves_decode:
        assert answer.headers[f"x-router-{leg}-url"] != victim.url
        other = {"prefill_failed_repaired": 1, "decode_failed_repaired": 1, "completed": 1}
        allowed = other if fault.silences_both else again
        assert counted.items() <= allowed.items()
        assert sum(counted.values()) == 2
    else:
        # Decode had what it needs: its answer may be out before prefill is missed.
        assert counted in ({"completed": 1}, again)


def assert_whole(answer: httpx.Response, *, stream: bool) -> None:
    if stream:
        assert Events.parse(answer.content).finished, answer.text
    else:
        assert answer.json()["choices"][0]["finish_reason"] == "stop"


def assert_cut(answer: httpx.Response) -> None:
    events = Events.parse(answer.content)
    assert events.error()["type"] == "upstream_error"
    assert len(events.data) >= 2
    assert b"[DONE]" not in answer.content
