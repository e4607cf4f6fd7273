"""The access log: what is counted, and which durations its quantiles are of."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fd_router._core import QUANTILES, AccessLog
from fd_router.config import LogConfig
from fd_router.observe.logs import Log

METHODS = ["GET", "POST"]
PATHS = ["/a", "/b"]


def access_log() -> AccessLog:
    return AccessLog(Log(LogConfig(level="error")).journal, METHODS, PATHS)


def note(access: AccessLog, method: str, path: str, status: int, seconds: float) -> None:
    access.note(method, path, b"", status, seconds, "10.0.0.9", "")


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([*METHODS, "BREW"]),
        st.sampled_from([*PATHS, "/c", "/d"]),
        st.sampled_from([200, 404, 503]),
        st.floats(0, 1e6),
    ),
    max_size=100,
)


@given(REQUESTS)
def test_counts_as_a_naive_one(requests: list[tuple[str, str, int, float]]) -> None:
    access = access_log()
    naive: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for method, path, status, seconds in requests:
        note(access, method, path, status, seconds)
        key = (method if method in METHODS else "other", path if path in PATHS else "other")
        naive.setdefault(key, []).append((status, seconds))
    snapshot = {(row[0], row[1]): row[2:] for row in access.snapshot()}
    assert snapshot.keys() == naive.keys()
    for key, (statuses, total, quantiles) in snapshot.items():
        found = [status for status, _ in naive[key]]
        assert dict(statuses) == {status: found.count(status) for status in set(found)}
        values = [seconds for _, seconds in naive[key]]
        assert math.isclose(total, math.fsum(values), abs_tol=1e-6)
        for quantile, value in zip(QUANTILES, quantiles, strict=True):
            assert value in values
            assert sum(other <= value for other in values) >= quantile * len(values)
            assert sum(other < value for other in values) < quantile * len(values)


def test_what_clients_ask_for_makes_no_series() -> None:
    access = access_log()
    for number in range(100):
        note(access, f"M{number}", f"/scan/{number}", 404, 0.1)
    ((method, path, statuses, _, _),) = access.snapshot()
    assert (method, path, statuses) == ("other", "other", [(404, 100)])
