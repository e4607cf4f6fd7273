"""The classifier: what an exchange says of its worker."""

from __future__ import annotations

import pytest

from fd_router.fleet import outcome
from fd_router.observe.metrics.families import UPSTREAM_ERRORS

NOW = 1_000_000_000.0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "served"),
        (204, "served"),
        (302, "served"),
        (304, "pressure"),
        (400, "client"),
        (404, "client"),
        (429, "pressure"),
        (499, "client"),
        (500, "fault"),
        (502, "fault"),
        (503, "pressure"),
        (504, "fault"),
    ],
)
def test_statuses(status: int, expected: str) -> None:
    assert outcome.of_status(status) == expected


def test_every_kind_of_failure_is_a_fault_but_our_own_doing() -> None:
    ours = {kind for kind in UPSTREAM_ERRORS.values if outcome.of_kind(kind) == "nobody"}
    assert ours == outcome.OUR_DOING
    assert outcome.REFUSED in UPSTREAM_ERRORS.values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"7", 7.0),
        (b" 0 ", 0.0),
        (b"99999999999999999999", 999_999_999.0),
        (b"Sun, 09 Sep 2001 01:46:50 GMT", 10.0),
        (b"Sun, 09 Sep 2001 01:46:30 GMT", 0.0),
        (b"-3", None),
        (b"1.5", None),
        (b"soon", None),
        (b"\xff\xb2", None),
        (b"", None),
    ],
)
def test_retry_after(value: bytes, expected: float | None) -> None:
    assert outcome.retry_after([(b"x", b"y"), (b"retry-after", value)], NOW) == expected


def test_no_retry_after() -> None:
    assert outcome.retry_after([(b"x", b"y")], NOW) is None
