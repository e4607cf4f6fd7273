"""The systemd unit: what systemd says of it, and that it fits what the router does."""

from __future__ import annotations

import configparser
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fd_router.cli import flags
from fd_router.config import ServerConfig, load_config
from fd_router.process import signals

UNIT = Path(__file__).parents[2] / "config" / "systemd" / "fd-router.service"
FD_ROUTER = Path(sys.executable).with_name("fd-router")
INSTALLED = "/usr/local/bin/fd-router"


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def verify(text: str, folder: Path) -> str:
    """What systemd has to say."""
    unit = folder / UNIT.name
    unit.write_text(text.replace(INSTALLED, str(FD_ROUTER)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(line for line in done.stderr.splitlines() if UNIT.name in line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    assert verify(UNIT.read_text(), tmp_path) == ""
    assert "kill mode" in verify(UNIT.read_text().replace("KillMode=mixed", "KillMode=most"), tmp_path)


def test_the_command_line_parses(service: configparser.SectionProxy) -> None:
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == INSTALLED
    assert flags.parse(arguments) == flags.Options(config_path="/etc/fd-router/config.yaml")


def test_the_state_has_a_folder(service: configparser.SectionProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"/var/lib/{service['StateDirectory']}")
    config, _ = load_config(None, port="1", splitwise=False)
    assert config.server.state_path == service["WorkingDirectory"]


def test_a_reload_is_a_signal_to_the_supervisor(service: configparser.SectionProxy) -> None:
    assert shlex.split(service["ExecReload"]) == ["/bin/kill", f"-{signal.SIGHUP.name[3:]}", "$MAINPID"]
    assert signal.SIGHUP in signals.HANDED_ON


def test_the_router_has_the_time_it_takes_to_end(service: configparser.SectionProxy) -> None:
    server = ServerConfig(port=1)
    assert int(service["TimeoutStopSec"]) > server.drain_delay_secs + server.drain_timeout_secs + 5


def test_there_are_descriptors_for_the_default_of_connections(service: configparser.SectionProxy) -> None:
    assert int(service["LimitNOFILE"]) >= 2 * ServerConfig(port=1).max_connections
