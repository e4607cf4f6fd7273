"""The replay over HTTP: what it sends, what it makes of the answers, and what it lets pass."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rig import Peer, reply

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from replay import report  # noqa: E402
from replay.client import Served, replay  # noqa: E402
from replay.trace import HASHED, Asked, block_text, read  # noqa: E402

sys.path.remove(str(BENCH))

GOOD = Served(late=0.001, first=0.2, whole=1.0, prompt_tokens=100, cached_tokens=25)


def test_equal_ids_are_equal_text_and_a_token_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.gz"
    row = {"timestamp": 27_000, "input_length": 2 * HASHED + 3, "output_length": 0, "hash_ids": [1, 2, 9]}
    path.write_bytes(gzip.compress((json.dumps(row) + "\n").encode() * 3))
    one, two = read(path, 2)
    assert one == two == Asked(27.0, (1, 2, 9), 2 * HASHED + 3, 1)
    other = replace(one, ids=(1, 7, 9)).prompt()
    assert len(one.prompt()) == len(other) == one.input_tokens
    assert one.prompt()[:HASHED] == other[:HASHED] == block_text(1)
    assert one.prompt()[HASHED] != other[HASHED] or block_text(2) != block_text(7)


def test_figures_are_in_the_trace_s_time() -> None:
    figures = report.figures([GOOD, replace(GOOD, first=0.4)], [], {}, speed=10)
    assert (figures["first_mean"], figures["first_p50"], figures["first_p99"]) == pytest.approx((3, 2, 4))
    assert (figures["whole_mean"], figures["hit"], figures["late_p99"]) == pytest.approx((10, 0.25, 0.01))
    assert figures["predicted"] is None


def results(first: float, whole: float = 1.0, late: float = 0.0, errors: int = 0) -> dict[str, Any]:
    def one(first: float, whole: float) -> dict[str, Any]:
        served = [replace(GOOD, first=first, whole=whole, late=late)]
        return report.figures(served, ["broken"] * errors, {}, speed=1)

    return {report.BASELINE: one(1.0, 1.0), report.OURS: one(first, whole)}


@pytest.mark.parametrize(
    ("measured", "wrong"),
    [
        (results(0.78), None),
        (results(0.79), "first_mean: least_work has 0.790x of cache_aware, at most 0.78x"),
        (results(0.5, whole=1.01), "whole_mean: least_work has 1.010x"),
        (results(0.5, late=0.04), "least_work: requests were sent 0.040 s late: "),
        (results(0.5, errors=1), "least_work: 1 errors, the first one broken"),
        ({}, "least_work was not measured"),
    ],
)
def test_bars(measured: dict[str, Any], wrong: str | None) -> None:
    found = report.judge(measured)
    assert not found if wrong is None else any(line.startswith(wrong) for line in found), found
    assert report.table(measured).count("\n") == 1 + len(measured)


def test_rounds_are_medians_and_errors_are_summed() -> None:
    rounds = [results(first, errors=errors)[report.OURS] for first, errors in ((1, 0), (5, 2), (2, 0))]
    merged = report.merged(rounds)
    assert (merged["first_mean"], merged["errors"], merged["first_error"]) == (2, 2, "broken")


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (reply(b"{}", 503), "status 503"),
        (reply(b"data: [DONE]\n\n"), "status 200"),
        (b"HTTP/1.1 200 OK\r\n", "within its head"),
    ],
)
def test_bad_answers_are_errors(raw_worker: Any, answer: bytes, wrong: str) -> None:
    def answers(peer: Peer) -> None:
        peer.send(answer)
        peer.close()

    worker = raw_worker(answers)
    served, errors = asyncio.run(replay([worker.port], [Asked(0.0, (1,), 5, 1)], 1.0))
    assert not served
    assert wrong in errors[0]
