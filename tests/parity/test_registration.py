"""Registration: cases 11 to 37."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from parity.registering import SUCCESS, ask, only, refused
from parity.scene import Held, add_pair, add_worker, at_once, register, wait_running
from rig import RawWorker, Router, Stage


def test_case_011_number_of_none(mixed: Router) -> None:
    answer = mixed.get("/registered_number")
    assert (answer.status_code, answer.text) == (200, '{"decode":0,"mixed":0,"prefill":0}')
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_case_012_list_of_none(mixed: Router) -> None:
    answer = mixed.get("/registered")
    assert answer.status_code == 200
    assert answer.text == '{"code":200,"decode":[],"mixed":[],"msg":"success","prefill":[]}'
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_case_013_register(mixed: Router, worker: RawWorker) -> None:
    answer = mixed.post("/register", {"role": "mixed", "host_ip": "127.0.0.1", "port": worker.port})
    assert (answer.status_code, answer.text) == (200, '{"code":200,"msg":"Register success"}')
    assert mixed.numbers() == {"decode": 0, "mixed": 1, "prefill": 0}


def test_case_014_upper_case_role_and_port_as_text(mixed: Router, worker: RawWorker) -> None:
    answer = ask(mixed, role="MIXED", port=str(worker.port))
    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    assert only(mixed)["url"] == worker.url


def test_case_015_role_as_number(mixed: Router, worker: RawWorker) -> None:
    assert mixed.register(worker.port, 0).json() == SUCCESS
    assert only(mixed)["worker_type"] == "mixed"


def test_case_016_prefill_in_mixed_mode(mixed: Router, worker: RawWorker) -> None:
    assert refused(mixed.register(worker.port, "prefill")) == "only MIXED instances are allowed"


def test_case_017_mixed_in_pd_mode(split: Router, worker: RawWorker) -> None:
    message = refused(split.register(worker.port, "mixed"))
    assert message == "splitwise mode only supports PREFILL/DECODE instances"


def test_case_018_role_missing(mixed: Router, worker: RawWorker) -> None:
    answer = mixed.post("/register", {"host_ip": "127.0.0.1", "port": worker.port})
    assert refused(answer) == "invalid InstanceInfo format:role is required"


def test_case_019_unknown_role(mixed: Router, worker: RawWorker) -> None:
    assert refused(mixed.register(worker.port, "foo")) == "invalid InstanceInfo format:invalid role: foo"


def test_case_020_role_out_of_range(mixed: Router, worker: RawWorker) -> None:
    message = refused(mixed.register(worker.port, 7))
    assert message.startswith("Invalid InstanceInfo JSON format:")
    assert "invalid role integer: 7" in message


def test_case_021_host_missing_or_a_name(mixed: Router, worker: RawWorker) -> None:
    answer = mixed.post("/register", {"role": "mixed", "port": worker.port})
    assert refused(answer) == "invalid InstanceInfo format:host_ip is required"
    message = refused(mixed.register(worker.port, host_ip="localhost"))
    assert message == "invalid InstanceInfo format:invalid host_ip: localhost"


def test_case_022_host_with_scheme(mixed: Router, worker: RawWorker) -> None:
    assert mixed.register(worker.port, host_ip="http://127.0.0.1").json() == SUCCESS
    assert only(mixed)["url"] == f"http://127.0.0.1:{worker.port}"


def test_case_023_port_missing_or_impossible(mixed: Router) -> None:
    answer = mixed.post("/register", {"role": "mixed", "host_ip": "127.0.0.1"})
    assert refused(answer) == "invalid InstanceInfo format:port is required"
    for port in (0, 70000, "abc"):
        message = refused(ask(mixed, port=port))
        assert message == f"invalid InstanceInfo format:invalid port: {port}"


def test_case_024_connector_port_in_pd_mode(split: Router, worker: RawWorker) -> None:
    message = refused(split.register(worker.port, "prefill", connector_port="x"))
    assert message == "invalid InstanceInfo format:invalid connector_port: x"


@pytest.mark.parametrize("port", ["x", None])
def test_case_025_connector_port_in_mixed_mode(mixed: Router, worker: RawWorker, port: object) -> None:
    assert mixed.register(worker.port, connector_port=port).json() == SUCCESS


def test_case_026_rdma_port(split: Router, worker: RawWorker) -> None:
    message = refused(split.register(worker.port, "decode", rdma_ports=[7100, "bad"]))
    assert message == "invalid InstanceInfo format:rdma_ports[1] invalid port: bad"


def test_case_027_transfer_protocol(mixed: Router, worker: RawWorker) -> None:
    message = refused(mixed.register(worker.port, transfer_protocol=["tcp"]))
    assert message == "invalid InstanceInfo format:invalid protocol: tcp"


def test_case_028_device_ids_of_all_kinds(mixed: Router, worker: RawWorker) -> None:
    raw = f'{{"role":"mixed","host_ip":"127.0.0.1","port":{worker.port},"device_ids":[0,"1",2.0]}}'
    assert mixed.post("/register", content=raw).json() == SUCCESS
    assert only(mixed)["device_ids"] == ["0", "1", "2"]


def test_case_029_device_id_that_is_no_integer(mixed: Router, worker: RawWorker) -> None:
    message = refused(mixed.register(worker.port, device_ids=[1.5]))
    assert message == "Invalid InstanceInfo JSON format: element 0: 1.5 not integer"


def test_case_030_metrics_port(mixed: Router, worker: RawWorker) -> None:
    message = refused(mixed.register(worker.port, metrics_port=0))
    assert message == "invalid InstanceInfo format:invalid metrics_port: 0"
    assert mixed.register(worker.port).json() == SUCCESS
    assert only(mixed)["metrics_port"] == str(worker.port)


@pytest.mark.parametrize("body", ["invalid json", ""])
def test_case_031_not_json(mixed: Router, body: str) -> None:
    message = refused(mixed.post("/register", content=body))
    assert message.startswith("Invalid InstanceInfo JSON format: ")


def test_case_032_worker_not_healthy(mixed: Router, stage: Stage) -> None:
    ill = stage.raw_worker(at_once, health=503)
    assert refused(mixed.register(ill.port), 503) == f"{ill.url} service is not healthy"
    dead = stage.raw_worker(at_once)
    dead.stop()
    assert refused(mixed.register(dead.port), 503) == f"{dead.url} service is not healthy"
    assert mixed.numbers()["mixed"] == 0
    mixed.wait_log(rf"^\[ERROR\] .* Failed to register instance: {ill.url} service is not healthy$")


def test_case_033_second_of_two_probes_fails(start_router: Callable[..., Router], worker: RawWorker) -> None:
    router = start_router("manager: {health-success-threshold: 2, health-check-interval-secs: 3600}")
    worker.next_health = [200, 503]
    assert refused(router.register(worker.port), 503) == f"{worker.url} service is not healthy"
    assert worker.probes == 2
    assert router.register(worker.port).json() == SUCCESS


def test_case_034_register_twice(mixed: Router, worker: RawWorker) -> None:
    assert mixed.register(worker.port, tp_size=1).json() == SUCCESS
    assert mixed.register(worker.port, tp_size=2, device_ids=["7"]).json() == SUCCESS
    assert mixed.numbers()["mixed"] == 1
    assert (only(mixed)["tp_size"], only(mixed)["device_ids"]) == (2, ["7"])


def test_case_035_change_of_role(split: Router, worker: RawWorker) -> None:
    for role, numbers in (
        ("prefill", {"decode": 0, "mixed": 0, "prefill": 1}),
        ("decode", {"decode": 1, "mixed": 0, "prefill": 0}),
    ):
        assert split.register(worker.port, role).json() == SUCCESS
        assert split.numbers() == numbers
    assert only(split, "decode")["worker_type"] == "decode"


def test_case_036_register_again_while_ill(mixed: Router, watchful: Router, worker: RawWorker) -> None:
    """Without the monitor the worker stays listed; with it, until its next round."""
    for router in (mixed, watchful):
        register(router, worker)
    worker.health = 503
    assert refused(mixed.register(worker.port), 503) == f"{worker.url} service is not healthy"
    assert only(mixed)["url"] == worker.url
    watchful.wait_workers(mixed=0)


def test_case_037_unknown_fields_and_tp_size(mixed: Router, worker: RawWorker) -> None:
    assert mixed.register(worker.port, tp_size=4, nonsense={"a": [1]}, splitwise_role="x").json() == SUCCESS
    assert only(mixed)["tp_size"] == 4


def test_a_known_worker_needs_one_success(start_router: Callable[..., Router], worker: RawWorker) -> None:
    """A new one needs `health-success-threshold` in a row; a known one is refused after the failure threshold."""
    router = start_router(
        "manager: {health-success-threshold: 2, health-failure-threshold: 3, health-check-interval-secs: 3600}"
    )
    register(router, worker)
    assert worker.probes == 2
    worker.next_health = [500, 500, 200]
    register(router, worker)
    assert worker.next_health == []
    worker.next_health = [500, 500, 500]
    assert refused(router.register(worker.port), 503) == f"{worker.url} service is not healthy"
    assert router.numbers()["mixed"] == 1


@pytest.mark.parametrize("again", ["prefill", "decode"])
def test_registering_again_leaves_the_counters(
    split: Router, stage: Stage, in_background: Callable[..., Future[Any]], again: str
) -> None:
    held = Held()
    pair = add_pair(stage, split, held, held)
    under_way = in_background(split.chat, "hello")
    both = {pair.prefill.url: 1, pair.decode.url: 1}
    for worker in (pair.prefill, pair.decode):
        worker.wait_hits(1)
    wait_running(split, **both)
    register(split, pair.prefill, again)
    assert both.items() <= split.running().items()
    held.let_go()
    assert under_way.result().status_code == 200
    wait_running(split, **dict.fromkeys(both, 0))


def test_items_of_the_list(split: Router, stage: Stage) -> None:
    workers = [
        add_worker(
            stage,
            split,
            role="prefill",
            connector_port=7001,
            engine_worker_queue_port="7002",
            transfer_protocol=["ipc", "rdma"],
            rdma_ports=[7003, "7004"],
            device_ids=[0, "1"],
            metrics_port="7005",
            tp_size=2,
        ),
        add_worker(stage, split, role="prefill"),
    ]
    answer = split.get("/registered").json()
    assert list(answer) == ["code", "decode", "mixed", "msg", "prefill"]
    assert [item["url"] for item in answer["prefill"]] == sorted(each.url for each in workers)
    full, bare = (next(item for item in answer["prefill"] if item["url"] == worker.url) for worker in workers)
    assert list(full.items()) == [
        ("url", workers[0].url),
        ("worker_type", "prefill"),
        ("connector_port", "7001"),
        ("engine_worker_queue_port", "7002"),
        ("transfer_protocol", ["ipc", "rdma"]),
        ("rdma_ports", ["7003", "7004"]),
        ("device_ids", ["0", "1"]),
        ("metrics_port", "7005"),
        ("tp_size", 2),
    ]
    assert bare == {
        "url": workers[1].url,
        "worker_type": "prefill",
        "connector_port": "",
        "engine_worker_queue_port": "",
        "transfer_protocol": None,
        "rdma_ports": None,
        "device_ids": None,
        "metrics_port": str(workers[1].port),
        "tp_size": 0,
    }


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_note_01_ipv6(mixed: Router, stage: Stage, host: str) -> None:
    worker = stage.raw_worker(at_once, host="::1")
    assert mixed.register(worker.port, host_ip=host).json() == SUCCESS
    assert only(mixed)["url"] == f"http://[::1]:{worker.port}"
    assert mixed.chat("hello").status_code == 200


def test_note_09_keys_in_any_case_and_one_spelling_of_a_port(mixed: Router, worker: RawWorker) -> None:
    answer = mixed.post("/register", {"Role": "mixed", "HOST_IP": "127.0.0.1", "Port": f"0{worker.port}"})
    assert answer.json() == SUCCESS
    register(mixed, worker)
    assert only(mixed)["url"] == worker.url
