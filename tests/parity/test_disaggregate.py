"""What a pair is told of each other: cases 92 to 95 and 103."""

from __future__ import annotations

from typing import Any

from parity.scene import add_pair
from rig import Router, Stage

KEYS = {
    "prefill_ip",
    "decode_ip",
    "prefill_connector_port",
    "decode_connector_port",
    "decode_device_ids",
    "decode_rdma_ports",
    "transfer_protocol",
    "decode_tp_size",
}
BOTH = ["ipc", "rdma"]


def info_of(stage: Stage, router: Router, prefill: dict[str, Any], decode: dict[str, Any]) -> dict[str, Any]:
    """The `disaggregate_info` that a pair registered with these fields gets."""
    pair = add_pair(stage, router, prefill_fields=prefill, decode_fields=decode)
    assert router.chat("hello").status_code == 200
    first, second = pair.bodies()
    assert first == second
    info: dict[str, Any] = first["disaggregate_info"]
    assert info.keys() == KEYS
    for url in (pair.prefill.url, pair.decode.url):
        assert router.post("/unregister", {"url": url}).status_code == 200
    return info


def test_case_092_ipc(split: Router, stage: Stage) -> None:
    info = info_of(
        stage,
        split,
        {"transfer_protocol": BOTH, "tp_size": 2, "connector_port": "7001"},
        {
            "transfer_protocol": ["rdma", "ipc"],
            "tp_size": 2,
            "connector_port": 7002,
            "device_ids": [4, "5"],
            "rdma_ports": ["7100", 7101],
        },
    )
    assert info == {
        "prefill_ip": "127.0.0.1",
        "decode_ip": "127.0.0.1",
        "prefill_connector_port": 7001,
        "decode_connector_port": 7002,
        "decode_device_ids": ["4", "5"],
        "decode_rdma_ports": ["7100", "7101"],
        "transfer_protocol": "ipc",
        "decode_tp_size": 2,
    }


def test_case_093_ipc_and_tp(split: Router, stage: Stage) -> None:
    for prefill, decode, protocol in ((4, 1, "ipc"), (2, 4, "rdma"), (4, 2, "rdma")):
        info = info_of(
            stage,
            split,
            {"transfer_protocol": BOTH, "tp_size": prefill},
            {"transfer_protocol": BOTH, "tp_size": decode},
        )
        assert (info["transfer_protocol"], info["decode_tp_size"]) == (protocol, decode)


def test_case_094_different_hosts(split: Router, stage: Stage) -> None:
    info = info_of(
        stage,
        split,
        {"transfer_protocol": BOTH, "tp_size": 1},
        {"transfer_protocol": BOTH, "tp_size": 1, "host": "127.0.0.2"},
    )
    assert info["transfer_protocol"] == "rdma"
    assert (info["prefill_ip"], info["decode_ip"]) == ("127.0.0.1", "127.0.0.2")


def test_one_of_a_pair_without_ipc(split: Router, stage: Stage) -> None:
    info = info_of(stage, split, {"transfer_protocol": ["rdma"]}, {"transfer_protocol": BOTH})
    assert info["transfer_protocol"] == "rdma"
    assert (info["prefill_connector_port"], info["decode_connector_port"]) == (0, 0)
    assert (info["decode_device_ids"], info["decode_rdma_ports"]) == (None, None)


def test_case_095_tp_by_devices(split: Router, stage: Stage) -> None:
    assert info_of(stage, split, {}, {"device_ids": ["0", "1"]})["decode_tp_size"] == 2
    assert info_of(stage, split, {}, {})["decode_tp_size"] == 1


def test_case_103_disaggregate_info_is_ours(split: Router, stage: Stage) -> None:
    pair = add_pair(stage, split)
    given = {"prefill_ip": "6.6.6.6", "more": [1, {"a": "}"}]}
    assert split.chat("hello", disaggregate_info=given).status_code == 200
    for body in pair.bodies():
        assert body["disaggregate_info"].keys() == KEYS
        assert body["disaggregate_info"]["prefill_ip"] == "127.0.0.1"
