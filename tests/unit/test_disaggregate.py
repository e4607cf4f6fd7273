"""The eight keys that a pair is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fd_router.routing.disaggregate import disaggregate_info, encoded_info, tp_size
from fd_router.types import Instance

KEYS = [
    "prefill_ip",
    "decode_ip",
    "prefill_connector_port",
    "decode_connector_port",
    "decode_device_ids",
    "decode_rdma_ports",
    "transfer_protocol",
    "decode_tp_size",
]


def worker(role: str = "prefill", host: str = "10.0.0.1", **fields: Any) -> Instance:
    return Instance(
        **{"role": role, "host": host, "port": 8080, "transfer_protocol": ("ipc", "rdma"), **fields}
    )


def protocol(prefill: Instance, decode: Instance) -> object:
    return disaggregate_info(prefill, decode)["transfer_protocol"]


def test_case_92_eight_keys() -> None:
    prefill = worker(transfer_protocol=("ipc",), connector_port="8200", tp_size=2, device_ids=("0", "1"))
    decode = worker(
        "decode",
        transfer_protocol=("ipc",),
        connector_port="8300",
        tp_size=2,
        device_ids=("2", "3"),
        rdma_ports=("7100", "7101"),
    )
    info = disaggregate_info(prefill, decode)
    assert list(info) == KEYS
    assert info == {
        "prefill_ip": "10.0.0.1",
        "decode_ip": "10.0.0.1",
        "prefill_connector_port": 8200,
        "decode_connector_port": 8300,
        "decode_device_ids": ["2", "3"],
        "decode_rdma_ports": ["7100", "7101"],
        "transfer_protocol": "ipc",
        "decode_tp_size": 2,
    }


@pytest.mark.parametrize(
    ("prefill", "decode", "expected"), [(2, 2, "ipc"), (4, 1, "ipc"), (2, 4, "rdma"), (4, 2, "rdma")]
)
def test_case_93_tensor_parallel_sizes(prefill: int, decode: int, expected: str) -> None:
    assert protocol(worker(tp_size=prefill), worker("decode", tp_size=decode)) == expected


def test_case_94_different_hosts() -> None:
    assert protocol(worker(), worker("decode", host="10.0.0.2")) == "rdma"


@pytest.mark.parametrize("lacking", [None, (), ("rdma",)])
def test_both_must_speak_ipc(lacking: tuple[str, ...] | None) -> None:
    assert protocol(worker(transfer_protocol=lacking), worker("decode")) == "rdma"
    assert protocol(worker(), worker("decode", transfer_protocol=lacking)) == "rdma"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"device_ids": ("0", "1")}, 2),
        ({}, 1),
        ({"device_ids": ()}, 1),
        ({"tp_size": 4, "device_ids": ("0", "1")}, 4),
        ({"tp_size": -1, "device_ids": ("0", "1")}, 2),
    ],
)
def test_case_95_tp_size(fields: dict[str, Any], expected: int) -> None:
    assert tp_size(worker(**fields)) == expected
    assert disaggregate_info(worker(), worker("decode", **fields))["decode_tp_size"] == expected


def test_ports_and_lists_that_were_not_sent() -> None:
    info = disaggregate_info(worker(), worker("decode", connector_port="x"))
    assert (info["prefill_connector_port"], info["decode_connector_port"]) == (0, 0)
    assert (info["decode_device_ids"], info["decode_rdma_ports"]) == (None, None)


def test_lists_that_were_sent_empty_stay_lists() -> None:
    info = disaggregate_info(worker(), worker("decode", device_ids=(), rdma_ports=()))
    assert (info["decode_device_ids"], info["decode_rdma_ports"]) == ([], [])


def test_addresses_carry_no_brackets() -> None:
    info = disaggregate_info(worker(host="[::1]"), worker("decode", host="[::1]"))
    assert (info["prefill_ip"], info["decode_ip"], info["transfer_protocol"]) == ("::1", "::1", "ipc")


def test_what_is_kept_of_a_pair_changes_with_its_workers() -> None:
    prefill = Instance(role="prefill", host="10.0.0.1", port=8000)
    decode = Instance(role="decode", host="10.0.0.2", port=8000)
    for moved in (decode, replace(decode, rdma_ports=("7",)), replace(decode, host="10.0.0.3"), decode):
        assert json.loads(encoded_info(prefill, moved)) == disaggregate_info(prefill, moved)
