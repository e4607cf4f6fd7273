"""The command: exit codes, and what goes to which stream."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from fd_router import cli
from fd_router.cli import version
from fd_router.config import Config, Notice

STAMP = r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2} "
Call = tuple[Config, list[Notice], Callable[[], tuple[Config, list[Notice]]]]
Run = Callable[..., tuple[int, str, str]]
WriteFile = Callable[..., str]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Stands in for the server; holds what it was started with."""
    calls: list[Call] = []
    server = ModuleType("fd_router.process.server")
    server.run = lambda config, notices, load: calls.append((config, notices, load))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fd_router.process.server", server)
    return calls


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], started: list[Call]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fd-router", *arguments])
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        else:
            code = 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path: Path) -> WriteFile:
    def file(text: str, name: str = "config.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return file


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        ('{"url": "x", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}}', "0123456"),
        ('{"url": "x", "dir_info": {}}', "unknown"),
        (None, "unknown"),
    ],
)
def test_version_knows_the_commit_that_pip_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch, noted: str | None, commit: str
) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            return noted if name == "direct_url.json" else None

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    monkeypatch.setattr(version, "BUILT_FROM", "")
    assert f"  commit:    {commit}\n" in run("--version")[1]


def test_version_knows_what_the_wheel_was_built_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    built = "fedcba9876543210fedcba9876543210fedcba98 true 2026-11-26T01:02:03+00:00"
    monkeypatch.setattr(version, "BUILT_FROM", built)
    told = run("--version")[1].splitlines()[2:5]
    assert told == [
        "  commit:    fedcba9",
        "  dirty:     true",
        "  vcsTime:   2026-11-26T01:02:03+00:00",
    ]


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fd_router", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == version.version_block() + "\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(run: Run, flag: str, started: list[Call]) -> None:
    code, out, err = run(flag)
    assert (code, err, started) == (0, "", [])
    assert out.startswith("Usage of fd-router:\n")
    assert re.search(r"^Commands:\n  simulate +\S", out, re.MULTILINE)


def test_an_error_of_the_system_at_the_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("listen tcp :1: in use")

    monkeypatch.setattr(sys.modules["fd_router.process.server"], "run", fail)
    code, _, err = run("--port", "1")
    assert code == 1
    assert re.fullmatch(STAMP + "Failed to start server: listen tcp :1: in use\n", err)


def test_check_prints_what_is_in_effect(run: Run, file: WriteFile, started: list[Call]) -> None:
    code, out, err = run(
        "--check", "--config_path", file("server: {port: 1}\nlog: {level: warn}"), "--splitwise"
    )
    document = yaml.safe_load(out)
    assert (code, err, started) == (0, "", [])
    assert document["server"]["port"] == 1
    assert document["server"]["splitwise"] is True
    assert document["log"]["level"] == "warn"
    assert document["scheduler"]["policy"] == "request_num"


def test_check_fails_on_what_the_start_only_notices(run: Run, file: WriteFile) -> None:
    path = file("server: {port: 1, afd: x}\nscheduler: {policy: nonsense}\nlog: {level: loud}\n")
    code, out, err = run("--check", "--config_path", path)
    assert (code, out) == (1, "")
    first, second, third = err.splitlines()
    assert first == "WARN server.afd (line 1): unknown key, ignored"
    assert second.startswith('ERROR scheduler.policy (line 2): found "nonsense", accepted: random, ')
    assert third.startswith('ERROR log.level (line 3): found "loud", accepted: debug, ')


def test_check_fails_on_what_the_start_refuses(run: Run, file: WriteFile) -> None:
    code, out, err = run("--check", "--config_path", file("server: {port: 0}"))
    assert (code, out) == (1, "")
    assert "Failed to load config: failed to parse config: server.port (line 1): found 0" in err


def test_check_takes_names_of_hosts_in_the_register_file(run: Run, file: WriteFile) -> None:
    entries = file("instances: [{role: mixed, host_ip: engine-1.fleet, port: 1}]", "register.yaml")
    path = file(f"server: {{port: 1}}\nmanager: {{register-path: {entries}}}")
    code, _, err = run("--check", "--config_path", path)
    assert (code, err) == (0, "")


def test_check_reads_the_static_registrations(run: Run, file: WriteFile) -> None:
    entries = file(
        "instances: [{role: mixed, host_ip: 127.0.0.1, port: 1}, {role: mixed}, 5]", "register.yaml"
    )
    code, out, err = run(
        "--check", "--config_path", file(f"server: {{port: 1}}\nmanager: {{register-path: {entries}}}")
    )
    assert (code, out) == (1, "")
    where = f"ERROR manager.register-path: {entries}"
    assert err.splitlines() == [
        f"{where}: index 1: invalid InstanceInfo format:host_ip is required",
        f"{where}: index 2: Invalid InstanceInfo JSON format: found int, accepted: object",
    ]


def test_check_wants_the_register_file(run: Run, file: WriteFile) -> None:
    code, _, err = run(
        "--check", "--config_path", file("server: {port: 1}\nmanager: {register-path: /nowhere.yaml}")
    )
    assert code == 1
    assert err.startswith("ERROR manager.register-path: /nowhere.yaml: ")
