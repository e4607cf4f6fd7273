"""Connections that are kept for nothing, by what the kernel counts on them."""

from __future__ import annotations

from fd_router.downstream.idle import Connection, IdleWatch

PEER = ("10.0.0.1", "40000")
HEAD, KEEP = 30.0, 120.0


def ended(*looks: tuple[float, int, int] | tuple[float, int, int, str]) -> str:
    """What the last of these looks finds: (time, bytes answered, bytes received, and `active` or `waiting`)."""
    watch = IdleWatch(HEAD, KEEP)
    found = ""
    for now, acknowledged, received, *state in looks:
        connection = Connection(1, PEER, 5 if state == ["waiting"] else 0, acknowledged, received, 0.0)
        active = {PEER} if state == ["active"] else set()
        heads, idle = watch.look([connection], active, now)
        assert not (heads and idle)
        found = "head" if heads else "idle" if idle else ""
    return found


def test_a_first_head() -> None:
    for received in (0, 10):
        assert ended((0, 0, received), (29, 0, received)) == ""
        assert ended((0, 0, received), (30, 0, received)) == "head"
    assert ended((0, 0, 1), (10, 0, 2), (20, 0, 3), (30, 0, 4)) == "head"


def test_an_idle_connection() -> None:
    assert ended((0, 100, 50), (119, 100, 50)) == ""
    assert ended((0, 100, 50), (120, 100, 50)) == "idle"
    assert ended((0, 100, 50), (100, 200, 90), (219, 200, 90)) == ""
    assert ended((0, 100, 50), (100, 200, 90), (220, 200, 90)) == "idle"


def test_a_later_head() -> None:
    assert ended((0, 100, 50), (60, 100, 51), (89, 100, 52)) == ""
    assert ended((0, 100, 50), (60, 100, 51), (90, 100, 51)) == "head"
    assert ended((0, 100, 50), (60, 100, 51), (75, 100, 60), (90, 100, 70)) == "head"
    # The head got whole, and was answered.
    assert ended((0, 100, 50), (60, 100, 51), (89, 200, 90), (100, 200, 90)) == ""


def test_a_request_under_way() -> None:
    assert ended((0, 0, 10), (1000, 0, 10, "active")) == ""
    assert ended((0, 0, 10), (1000, 0, 10, "active"), (1029, 0, 10)) == ""
    assert ended((0, 0, 10), (29, 0, 10, "active"), (58, 200, 10), (177, 200, 10)) == ""
    assert ended((0, 0, 10), (29, 0, 10, "active"), (58, 200, 10), (178, 200, 10)) == "idle"


def test_an_answer_that_waits_for_its_client() -> None:
    assert ended((0, 100, 10), (1000, 100, 10, "waiting")) == ""
    assert ended((0, 100, 10), (1000, 100, 10, "waiting"), (1119, 100, 10)) == ""


def test_another_connection_of_the_same_address_begins_anew() -> None:
    watch = IdleWatch(HEAD, KEEP)
    old = Connection(1, PEER, 0, 100, 10, 0.0)
    watch.look([old], (), 0)
    watch.look([], (), 60)
    assert watch.look([old], (), 121) == ([], [])


def test_after_a_stop_all_begin_anew() -> None:
    watch = IdleWatch(HEAD, KEEP)
    silent = Connection(1, PEER, 0, 0, 0, 0.0)
    watch.look([silent], (), 0)
    watch.forget()
    assert watch.look([silent], (), 1000) == ([], [])
    assert watch.look([silent], (), 1030) == ([silent], [])
