"""The mock engine's model: batch, faults, and what makes a pair fit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fd_router.mock_engine.ask import RefusedError, parse
from fd_router.mock_engine.batch import Batch, Job, QueueFullError
from fd_router.mock_engine.faults import FaultError, Faults, FaultSwitch, parse_assignment
from fd_router.mock_engine.pairing import Identity, Kv, KvStore, mismatch


def test_batch_runs_waits_and_turns_away() -> None:
    async def scenario() -> None:
        batch, hold = Batch(1, 1), asyncio.Event()

        async def run(name: str) -> None:
            async with batch.slot(Job(name, 3)):
                await hold.wait()

        first, second = asyncio.ensure_future(run("a")), asyncio.ensure_future(run("b"))
        await asyncio.sleep(0)
        assert (batch.running, batch.waiting, batch.blocks_in_use) == (1, 1, 3)
        with pytest.raises(QueueFullError):
            await run("c")
        assert batch.abort({"b", "x"}) == {"b"}
        second.cancel()
        hold.set()
        await first
        assert (batch.running, batch.waiting, batch.blocks_in_use, batch.abort(None)) == (0, 0, 0, set())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes",
    [{"nope": 1}, {"cut": "sideways"}, {"status": "503"}, {"health_hang": 1}, {"status_headers": []}],
)
def test_unknown_faults_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FaultError, match=next(iter(changes))):
        Faults().with_changes(changes)


def test_times_limits_a_fault() -> None:
    switch = FaultSwitch(Faults().with_changes({"cut": "before-head", "times": 2, "health_status": 503}))
    assert [switch.take().cut for _ in range(3)] == ["before-head", "before-head", "never"]
    assert switch.now.health_status == 503


def test_assignments_of_the_command_line() -> None:
    assert parse_assignment("status=503") == ("status", 503)
    assert parse_assignment("cut=mid-frame") == ("cut", "mid-frame")
    assert parse_assignment('status_headers={"a": "b"}') == ("status_headers", {"a": "b"})
    with pytest.raises(FaultError):
        parse_assignment("status")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"prompt": {}}', b'{"prompt": "a", "max_tokens": 0}', b'{"prompt": [1, "a"]}']
)
def test_bad_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(body, "completion")
    assert caught.value.status == 400


def test_newer_name_of_the_token_limit_goes_first() -> None:
    ask = parse(
        b'{"prompt": ["a", "b"], "max_tokens": 3, "max_completion_tokens": 4, "stream": 1}', "completion"
    )
    assert (ask.prompt, ask.max_tokens, ask.stream) == ("ab", 4, False)


DECODE = Identity(
    role="decode",
    host="127.0.0.1",
    connector_port=9001,
    device_ids=("0", "1"),
    rdma_ports=("7100",),
    transfer_protocol=("rdma",),
    tp_size=0,
)
INFO: dict[str, Any] = {
    "prefill_ip": "127.0.0.2",
    "decode_ip": "127.0.0.1",
    "prefill_connector_port": 9000,
    "decode_connector_port": 9001,
    "decode_device_ids": ["0", "1"],
    "decode_rdma_ports": ["7100"],
    "transfer_protocol": "rdma",
    "decode_tp_size": 2,
}


def test_info_that_fits() -> None:
    assert mismatch(INFO, DECODE) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decode_ip", "127.0.0.9"),
        ("decode_connector_port", "9001"),
        ("decode_connector_port", 9002),
        ("decode_device_ids", ["0"]),
        ("decode_device_ids", None),
        ("decode_rdma_ports", [7100]),
        ("transfer_protocol", "ipc"),
        ("decode_tp_size", 1),
        ("extra", 1),
    ],
)
def test_info_that_does_not_fit_is_named(key: str, value: object) -> None:
    assert key in (mismatch({**INFO, key: value}, DECODE) or "")


def test_info_must_be_whole() -> None:
    assert mismatch(None, DECODE)
    assert mismatch({key: value for key, value in INFO.items() if key != "prefill_ip"}, DECODE)


def test_kv_meets_its_request_in_either_order() -> None:
    async def scenario() -> None:
        store, kv = KvStore(), Kv("r", "sum", 0, "ipc")
        waiting = asyncio.ensure_future(store.take("r", 5))
        await asyncio.sleep(0)
        store.put(kv)
        assert await waiting is kv
        store.put(kv)
        assert await store.take("r", 5) is kv
        with pytest.raises(asyncio.TimeoutError):
            await store.take("r", 0.01)

    asyncio.run(scenario())
