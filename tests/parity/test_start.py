"""Command line, configuration file, start and end: cases 1 to 10, 38 and 106."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from fd_router import __version__
from parity.scene import at_once
from rig import Router, Stage, wait_for
from rig.router import free_port

STAMP = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "


def config_file(folder: Path, text: str) -> str:
    path = folder / "given.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("flags", [(), ("--config_path", "")])
def test_case_001_without_a_port(stage: Stage, flags: tuple[str, ...]) -> None:
    ended = stage.run_router(*flags)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(STAMP + "Failed to load config: failed to set router listen port\n", ended.stderr)


def test_case_002_missing_config(stage: Stage) -> None:
    ended = stage.run_router("--config_path", "missing.yaml", "--port", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    message = "failed to read config file: open missing.yaml: no such file or directory"
    assert re.fullmatch(f"{STAMP}Failed to load config: {message}\n", ended.stderr)


def test_case_003_port_as_a_number(stage: Stage, tmp_path: Path) -> None:
    """`host` is there because a test listens on loopback only; without it the default is every interface."""
    port = free_port()
    router = stage.start_router(f"server: {{port: {port}, host: 127.0.0.1}}", exact=True, port=port)
    router.wait_log(rf"Starting server on :{port}$")
    path = config_file(tmp_path, f"server: {{port: {port}}}")
    server = yaml.safe_load(stage.run_router("--check", "--config_path", path).stdout)["server"]
    assert (server["port"], server["host"]) == (port, "0.0.0.0")


def test_case_004_the_flag_wins(stage: Stage) -> None:
    configured, flagged = free_port(), free_port()
    router = stage.start_router(
        f"server: {{port: {configured}, host: 127.0.0.1}}", "--port", str(flagged), exact=True, port=flagged
    )
    router.wait_log(rf"Starting server on :{flagged}$")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{configured}/registered_number", trust_env=False)


def test_case_005_splitwise_by_config(split: Router, stage: Stage) -> None:
    """The shared router of PD mode has no flag for it; see `SPLIT` in `conftest.py`."""
    assert split.register(stage.raw_worker(at_once).port, "mixed").status_code == 400
    assert split.register(stage.raw_worker(at_once).port, "prefill").status_code == 200


@pytest.mark.parametrize("flag", ["-version", "--version", "-V"])
def test_case_006_version(stage: Stage, flag: str) -> None:
    ended = stage.run_router(flag)
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, lines[0]) == (0, "", "golang-router")
    assert [line[:13] for line in lines[1:]] == [
        "  version:   ",
        "  commit:    ",
        "  dirty:     ",
        "  vcsTime:   ",
        "  module:    ",
    ]
    assert (lines[1][13:], lines[5][13:]) == (__version__, "fd-router")


def test_case_007_unknown_flag(stage: Stage) -> None:
    ended = stage.run_router("--nonsense")
    assert (ended.returncode, ended.stdout) == (2, "")
    usage = "flag provided but not defined: -nonsense\nUsage of fd-router:\n  --port string "
    assert ended.stderr.startswith(usage)
    assert "--config_path" in ended.stderr


def test_case_008_unknown_keys(start_router: Callable[..., Router]) -> None:
    router = start_router("server: {nonsense: 1}\nmanager: {more-nonsense: [1]}\nelsewhere: {a: {b: c}}")
    assert router.numbers() == {"decode": 0, "mixed": 0, "prefill": 0}
    for key in ("server.nonsense", "manager.more-nonsense", "elsewhere"):
        router.wait_log(rf"^\[WARN\] .*\b{key} .*unknown key, ignored")


def test_case_009_port_in_use(stage: Stage, mixed: Router, tmp_path: Path) -> None:
    path = config_file(tmp_path, "server: {host: 127.0.0.1}")
    ended = stage.run_router("--config_path", path, "--port", str(mixed.port))
    assert ended.returncode == 1
    assert re.search(STAMP + "Failed to start server: .*in use", ended.stderr, re.M)
    assert mixed.numbers() == {"decode": 0, "mixed": 0, "prefill": 0}


def test_case_010_sigterm(start_router: Callable[..., Router]) -> None:
    router = start_router()
    router.process.send(signal.SIGTERM)
    router.process.wait(10)
    with pytest.raises(httpx.ConnectError):
        httpx.get(router.url, trust_env=False)


def test_case_038_static_instances(stage: Stage, tmp_path: Path) -> None:
    good = stage.raw_worker(at_once)
    dead = stage.raw_worker(at_once)
    dead.stop()
    path = tmp_path / "register.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "instances": [
                    {"role": "mixed", "host_ip": "127.0.0.1", "port": good.port},
                    {"role": "mixed", "host_ip": "127.0.0.1", "port": dead.port},
                ]
            }
        )
    )
    router = stage.start_router(f"manager: {{register-path: {path}}}")
    assert [item["url"] for item in router.registered()["mixed"]] == [good.url]
    router.wait_log(r"^\[INFO\] .* Successfully registered instance from index 0$")
    router.wait_log(
        rf"^\[ERROR\] .* Failed to register instance from index 1: {dead.url} service is not healthy$"
    )


def test_case_106_metrics_of_a_fresh_router(start_router: Callable[..., Router]) -> None:
    scrape = start_router().get("/metrics")
    assert scrape.headers["content-type"].startswith("text/plain")
    lines = scrape.text.splitlines()
    assert "router_cache_hit_total 0" in lines
    assert "router_cache_request_total 0" in lines


def test_a_static_file_that_is_not_there_is_no_reason_to_stay_down(
    start_router: Callable[..., Router], tmp_path: Path
) -> None:
    router = start_router(f"manager: {{register-path: {tmp_path}/missing.yaml}}")
    router.wait_log(r"^\[ERROR\] .* Failed to read YAML file .*missing.yaml: ")


def test_a_static_file_that_cannot_be_read_is_no_reason_to_stay_down(
    start_router: Callable[..., Router], tmp_path: Path
) -> None:
    path = tmp_path / "register.yaml"
    path.write_text("instances: [")
    router = start_router(f"manager: {{register-path: {path}}}")
    router.wait_log(r"^\[ERROR\] .* Failed to unmarshal YAML file .*register.yaml: ")
    path.write_text("instances: []")
    start_router(f"manager: {{register-path: {path}}}").wait_log(
        rf"^\[INFO\] .* No instances found in config file {path}$"
    )


def test_broken_config(stage: Stage, tmp_path: Path) -> None:
    ended = stage.run_router("--config_path", config_file(tmp_path, "server: ["), "--port", "1")
    assert ended.returncode == 1
    assert re.match(STAMP + "Failed to load config: failed to parse config: yaml: line 1: ", ended.stderr)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("scheduler: {eviction-duration-mins: -1}", "scheduler.eviction-duration-mins"),
        ("manager: {health-success-threshold: -1}", "manager.health-success-threshold"),
        ("manager: {health-failure-threshold: -1}", "manager.health-failure-threshold"),
        ("manager: {health-check-interval-secs: -1}", "manager.health-check-interval-secs"),
        ("server: {mode: nonsense}", "server.mode"),
        ("server: {splitwise: 3}", "server.splitwise"),
    ],
)
def test_note_06_impossible_values(stage: Stage, tmp_path: Path, text: str, key: str) -> None:
    """The Go router starts with these, and then panics or takes every worker out."""
    ended = stage.run_router("--config_path", config_file(tmp_path, text), "--port", "1")
    assert ended.returncode == 1
    assert re.search(
        STAMP + rf"Failed to load config: failed to parse config: .*{key}.*accepted: ", ended.stderr
    )


def test_the_process_group_ends_with_its_first_process(start_router: Callable[..., Router]) -> None:
    """Upstream's end-to-end tests send SIGTERM to the group."""
    router = start_router()
    router.process.send_all(signal.SIGTERM)
    router.process.wait(10)
    wait_for(lambda: not accepts(router), why="a child of the router still listens")


def accepts(router: Router) -> bool:
    try:
        httpx.get(router.url, trust_env=False)
    except httpx.ConnectError:
        return False
    return True
