"""Engines of the register file: permanent, and as many as the file names now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rig import wait_for
from rig.router import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rig import Engine, Router

    StartRouter = Callable[..., Router]
    StartEngine = Callable[..., Engine]

CONFIG = """
scheduler: {{policy: round_robin}}
manager:
  register-path: {path}
  health-check-interval-secs: 0.2
  health-check-timeout-secs: 0.5
  forget-after-secs: 0
"""


def write(path: Path, *ports: int, host: str = "127.0.0.1", **more: object) -> None:
    """Put a file in the place of another, as editors and tools do."""
    entries = [{"role": "mixed", "host_ip": host, "port": port, **more} for port in ports]
    fresh = path.with_name("fresh.yaml")
    fresh.write_text(yaml.safe_dump({"instances": entries}))
    fresh.replace(path)


def rows(router: Router) -> dict[int, dict[str, Any]]:
    """Of `/workers`, by port."""
    found = router.get("/workers").json()["workers"]
    return {int(row["url"].rpartition(":")[2]): row for row in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.yaml"


def test_an_engine_that_starts_late_joins_by_itself(
    start_router: StartRouter, start_engine: StartEngine, path: Path
) -> None:
    early, port = start_engine(), free_port()
    write(path, early.port, port)
    router = start_router(CONFIG.format(path=path))
    assert router.numbers()["mixed"] == 1
    late = rows(router)[port]
    assert (late["state"], late["source"]) == ("unready", "file")
    router.wait_log(r"\[WARN\] .*\[fd-router\] register: mixed .* is not well yet, and is probed until it is")
    wait_for(lambda: "refused" in rows(router)[port]["why"], why=lambda: rows(router)[port]["why"])
    # However many probes fail: with forget-after-secs 0 one that registered would be forgotten by the first.
    failed = "fd_router_probes_total", f"http://127.0.0.1:{port}"
    wait_for(lambda: router.metrics().value(failed[0], worker=failed[1], result="failed") >= 5)
    start_engine(port=port)
    router.wait_workers(mixed=2)
    assert rows(router)[port]["state"] == "up"
    assert len({router.chat("hi").headers["x-engine"] for _ in range(4)}) == 2


def test_an_engine_of_the_file_is_never_forgotten(
    start_router: StartRouter, start_engine: StartEngine, path: Path
) -> None:
    engine = start_engine()
    write(path, engine.port)
    router = start_router(CONFIG.format(path=path))
    router.wait_workers(mixed=1)
    engine.kill()
    router.wait_workers(mixed=0)
    lost = wait_for(lambda: row if "refused" in (row := rows(router)[engine.port])["why"] else None)
    assert lost["state"] == "probation"
    start_engine(port=engine.port)
    router.wait_workers(mixed=1)
    assert rows(router)[engine.port]["state"] == "up"


def test_the_file_is_followed(start_router: StartRouter, start_engine: StartEngine, path: Path) -> None:
    first, second, own = (start_engine() for _ in range(3))
    write(path, first.port)
    router = start_router(CONFIG.format(path=path))
    assert router.register(own.port).status_code == 200
    write(path, first.port, second.port, tp_size=2)
    router.wait_workers(mixed=3)
    assert [item["tp_size"] for item in router.registered()["mixed"] if item["url"] != own.url] == [2, 2]
    write(path, second.port, tp_size=2)
    router.wait_workers(mixed=2)
    assert set(rows(router)) == {second.port, own.port}, "who registered stays"
    router.wait_log(rf"register: mixed {first.url} taken out, the register file does not name it any more")
    # What cannot be used changes nothing, and is told once for each cause.
    path.write_text("instances: [")
    router.wait_log(r"\[ERROR\] .* Failed to unmarshal YAML file .*register.yaml: ")
    path.unlink()
    router.wait_log(r"\[ERROR\] .* Failed to read YAML file .*register.yaml: ")
    assert set(rows(router)) == {second.port, own.port}
    write(path, first.port, second.port, tp_size=2)
    router.wait_workers(mixed=3)
    router.wait_log(r"over: the register file cannot be used; .* met \d+ times$")
    log = router.settled_log()
    assert [log.count(f"Failed to {what} YAML file") for what in ("unmarshal", "read")] == [1, 1]


def test_a_swapped_symbolic_link_is_a_new_file(
    start_router: StartRouter, start_engine: StartEngine, tmp_path: Path
) -> None:
    """As Kubernetes does with a ConfigMap: the path is a link to a link to a folder."""
    first, second = start_engine(), start_engine()
    for name, engine in (("one", first), ("two", second)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "register.yaml", engine.port)
        os.utime(tmp_path / name / "register.yaml", (1, 1))
    data, path = tmp_path / "..data", tmp_path / "register.yaml"
    data.symlink_to("one")
    path.symlink_to("..data/register.yaml")
    router = start_router(CONFIG.format(path=path))
    assert set(rows(router)) == {first.port}
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(data)
    wait_for(lambda: set(rows(router)) == {second.port}, why=router.process.tail)


def test_a_host_may_have_a_name_here_and_nowhere_else(
    start_router: StartRouter, start_engine: StartEngine, path: Path
) -> None:
    engine = start_engine()
    write(path, engine.port, host="localhost")
    router = start_router(CONFIG.format(path=path))
    assert router.numbers()["mixed"] == 1
    found = rows(router)[engine.port]
    assert (found["url"], found["host"]) == (engine.url, "localhost")
    assert router.register(engine.port, host_ip="localhost").status_code == 400
    write(path, engine.port, host="no-such-host.invalid")
    router.wait_log(r"\[ERROR\] .* Failed to register instance from index 0: ")
    wait_for(lambda: not rows(router))


def test_a_drained_engine_of_the_file_stays_drained(
    start_router: StartRouter, start_engine: StartEngine, path: Path
) -> None:
    engine, other = start_engine(), start_engine()
    write(path, engine.port)
    router = start_router(CONFIG.format(path=path))
    assert router.post("/workers/drain", {"url": engine.url, "remove": True}).status_code == 200
    router.wait_workers(mixed=0)
    write(path, engine.port, other.port)
    router.wait_workers(mixed=1)
    assert rows(router)[engine.port]["state"] == "drained"
    gone = router.unregister(other.port).json()
    assert "manager.register-path" in gone["note"]
