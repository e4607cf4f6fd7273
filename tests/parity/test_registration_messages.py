"""Registration: the exact words of every refusal, and what is not refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parity.registering import CHECKED, DECODED, SUCCESS, ask, only, refused
from rig import RawWorker, Router


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"role": ""}, CHECKED + "role is required"),
        ({"role": -1}, DECODED + "invalid role integer: -1"),
        ({"host_ip": ""}, CHECKED + "host_ip is required"),
        ({"host_ip": "999.1.1.1"}, CHECKED + "invalid host_ip: 999.1.1.1"),
        ({"host_ip": "http://localhost"}, CHECKED + "invalid host_ip: http://localhost"),
        ({"port": None}, CHECKED + "invalid port: 0"),
        ({"port": ""}, CHECKED + "port is required"),
        ({"port": -1}, CHECKED + "invalid port: -1"),
        ({"port": 65536}, CHECKED + "invalid port: 65536"),
        ({"connector_port": "x"}, CHECKED + "invalid connector_port: x"),
        ({"connector_port": None}, CHECKED + "invalid connector_port: 0"),
        ({"engine_worker_queue_port": "x"}, CHECKED + "invalid engine_worker_queue_port: x"),
        ({"engine_worker_queue_port": 70000}, CHECKED + "invalid engine_worker_queue_port: 70000"),
        ({"transfer_protocol": ["ipc", "tcp"]}, CHECKED + "invalid protocol: tcp"),
        ({"rdma_ports": [0]}, CHECKED + "rdma_ports[0] invalid port: 0"),
        ({"rdma_ports": [7100, {}]}, DECODED + "element 1: type map[string]interface {} unsupported"),
        ({"device_ids": [True]}, DECODED + "element 0: type bool unsupported"),
        ({"metrics_port": None}, CHECKED + "invalid metrics_port: 0"),
        ({"metrics_port": "x"}, CHECKED + "invalid metrics_port: x"),
        # The first rule that is broken is the one that is told.
        ({"role": "foo", "host_ip": "", "port": "x"}, CHECKED + "invalid role: foo"),
        ({"host_ip": "x", "port": "x"}, CHECKED + "invalid host_ip: x"),
        ({"port": "x", "connector_port": "y"}, CHECKED + "invalid port: x"),
        ({"connector_port": "y", "transfer_protocol": ["tcp"]}, CHECKED + "invalid connector_port: y"),
        ({"transfer_protocol": ["tcp"], "metrics_port": 0}, CHECKED + "invalid protocol: tcp"),
        ({"role": "mixed", "metrics_port": 0}, CHECKED + "invalid metrics_port: 0"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_message_of_a_refusal(split: Router, fields: dict[str, Any], message: str) -> None:
    """Nobody listens on port 1: all of this is said before a worker is probed."""
    assert refused(ask(split, **{"role": "prefill", **fields})) == message
    assert sum(split.numbers().values()) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"port": 8080.0},
        {"port": [1]},
        {"host_ip": 1},
        {"transfer_protocol": "ipc"},
        {"rdma_ports": "7100"},
        {"device_ids": "0"},
        {"tp_size": "4"},
        {"role": [0]},
    ],
    ids=json.dumps,
)
def test_message_of_a_wrong_type(mixed: Router, fields: dict[str, Any]) -> None:
    """What follows the prefix is the Go decoder's text upstream; ours says what was found and what is accepted."""
    message = refused(ask(mixed, **fields))
    (key,) = fields
    assert message.startswith(f"{DECODED}{key}: found ")
    assert ", accepted: " in message


@pytest.mark.parametrize("body", ["[]", '"x"', "1"])
def test_message_of_a_body_that_is_no_object(mixed: Router, body: str) -> None:
    assert refused(mixed.post("/register", content=body)).startswith(DECODED)


def test_message_of_a_body_over_the_limit(mixed: Router) -> None:
    with mixed.raw() as client:
        client.send(f"POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: {2 << 20}\r\n\r\n".encode())
        answer = client.read_until(b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"code":413,"msg":"Invalid request body: body of 2097152 bytes' in answer
    mixed.wait_log(r"^\[ERROR\] .* Failed to read register request body: body of 2097152 bytes")


@pytest.mark.parametrize(
    "fields",
    [
        {"role": None},
        {"rdma_ports": None, "device_ids": None, "transfer_protocol": None},
        {"rdma_ports": ["bad"]},
        {"device_ids": ["GPU-1", -4]},
        {"tp_size": None},
        {"engine_worker_queue_port": None},
        {"transfer_protocol": []},
    ],
    ids=json.dumps,
)
def test_what_mixed_mode_lets_pass(mixed: Router, worker: RawWorker, fields: dict[str, Any]) -> None:
    assert mixed.register(worker.port, **fields).json() == SUCCESS


def test_null_lists_in_the_list(mixed: Router, worker: RawWorker) -> None:
    assert (
        mixed.register(worker.port, rdma_ports=None, device_ids=None, transfer_protocol=None).json()
        == SUCCESS
    )
    item = only(mixed)
    assert (item["rdma_ports"], item["device_ids"], item["transfer_protocol"]) == ([], [], None)


def test_note_04_null_has_no_role(mixed: Router) -> None:
    assert refused(mixed.post("/register", content="null")) == CHECKED + "role is required"
