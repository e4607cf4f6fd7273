"""The routers under comparison: how each is installed and started in front of the same engines."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .environments import environment, run, version_of
from .process import UnavailableError

NGINX = Path(__file__).with_name("nginx.conf")


@dataclass(frozen=True)
class Place:
    """What a router is given: a scratch folder, two free ports, the engines to serve (`host:port`)."""

    folder: Path
    port: int
    metrics_port: int
    engines: tuple[str, ...]
    prefill: tuple[str, ...] = ()
    """Prefill engines; `engines` then decode."""

    @property
    def urls(self) -> list[str]:
        return [f"http://{engine}" for engine in self.engines]


@dataclass(frozen=True)
class Start:
    """A command line, its additions to the environment and the version for the table."""

    command: list[str]
    version: str
    env: dict[str, str] = field(default_factory=dict)


class Router(Protocol):
    """One entry of the comparison."""

    @property
    def name(self) -> str: ...

    @property
    def pd(self) -> bool:
        """Serves prefill/decode pairs instead of mixed engines."""
        ...

    def start(self, place: Place) -> Start:
        """Install what is missing and say how to start. Raises `UnavailableError`."""
        ...


@dataclass(frozen=True)
class Packaged:
    """A Rust router from PyPI; all three share their launch options."""

    name: str
    package: str
    program: tuple[str, ...]
    quiet: str
    pd: bool = False

    def start(self, place: Place) -> Start:
        programs = environment(self.name, self.package)
        command = [
            str(programs / self.program[0]),
            *self.program[1:],
            "--worker-urls",
            *place.urls,
            *("--policy", "cache_aware"),
            *("--host", "127.0.0.1", "--port", str(place.port)),
            *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.metrics_port)),
            *("--log-level", self.quiet),
        ]
        return Start(command, version_of(programs, self.name))


@dataclass(frozen=True)
class Nginx:
    """Debian's nginx as a plain reverse proxy: the limit of what proxying can cost."""

    name: str = "nginx"
    pd: bool = False

    def start(self, place: Place) -> Start:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise UnavailableError("not installed; on Debian: apt-get install nginx")
        servers = "\n".join(f"        server {engine};" for engine in place.engines)
        text = NGINX.read_text().replace("@SERVERS@", servers).replace("@PORT@", str(place.port))
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        config = place.folder / "nginx.conf"
        config.write_text(text.replace("@USER@", user))
        version = run([program, "-v"]).strip().rpartition("/")[2]
        return Start([program, "-p", str(place.folder), "-c", str(config)], version)


@dataclass(frozen=True)
class PlainProxy:
    """What a router of granian and httpx alone costs: no policy, no counters, no metrics."""

    name: str = "granian+httpx"
    pd: bool = False

    def start(self, place: Place) -> Start:
        programs = environment("granian-httpx", "granian>=2.8,<3", "httpx>=0.28,<1", "uvloop>=0.23,<1")
        versions = f"{version_of(programs, 'granian')}+{version_of(programs, 'httpx')}"
        return granian(programs, "httpx_proxy:app", versions, place)


@dataclass(frozen=True)
class BareRelay:
    """fd-router's relay behind granian, without a router in between: what a router of this shape hardly undercuts."""

    name: str = "granian+relay"
    pd: bool = False

    def start(self, place: Place) -> Start:
        programs = Path(sys.executable).parent
        return granian(programs, "relay_proxy:app", own_version(), place)


def granian(programs: Path, app: str, version: str, place: Place) -> Start:
    """One of the proxies beside this file, served by granian."""
    command = [
        str(programs / "granian"),
        *("--interface", "asgi", "--loop", "uvloop", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(place.port)),
        *("--backlog", "4096", "--backpressure", "4096"),
        *("--log-level", "warning"),
        app,
    ]
    env = {"PYTHONPATH": str(Path(__file__).parent), "BENCH_ENGINES": ",".join(place.urls)}
    return Start(command, version, env)


@dataclass(frozen=True)
class Ours:
    """fd-router of the environment that runs the benchmark, as an operator would start it."""

    name: str = "fd-router"
    pd: bool = False
    packages: Path | None = None
    """Folder of another revision's build, which goes before the environment's."""

    def start(self, place: Place) -> Start:
        beside = Path(sys.executable).with_name("fd-router")
        program = str(beside) if beside.exists() else shutil.which("fd-router")
        if program is None:
            raise UnavailableError("not installed in this environment; run: bash build.sh")
        register = place.folder / "register.yaml"
        register.write_text(register_text(place))
        config = place.folder / "config.yaml"
        config.write_text(OURS.format(splitwise=str(self.pd).lower(), register=register.name))
        command = [program, "--port", str(place.port), "--config_path", config.name]
        if self.packages is None:
            return Start(command, own_version())
        return Start(command, self.packages.name[:12], {"PYTHONPATH": str(self.packages)})


def own_version() -> str:
    """fd-router's version in the environment that runs the benchmark."""
    return run([sys.executable, "-c", "import fd_router._core as c; print(c.__version__)"]).strip()


OURS = """\
server:
  host: 127.0.0.1
  splitwise: {splitwise}
manager:
  register-path: {register}
scheduler:
  policy: cache_aware
  prefill-policy: cache_aware
  decode-policy: request_num
log:
  level: info
  output: file
"""


def register_text(place: Place) -> str:
    """The static instances of fd-router's `register-path`."""
    roles = [(engine, "decode" if place.prefill else "mixed") for engine in place.engines]
    roles += [(engine, "prefill") for engine in place.prefill]
    extras = 'transfer_protocol: ["rdma"], connector_port: 9000, engine_worker_queue_port: 9001'
    lines = ["instances:"]
    for engine, role in roles:
        host, _, port = engine.rpartition(":")
        lines.append(f"  - {{role: {role}, host_ip: {host}, port: {port}, {extras}}}")
    return "\n".join(lines) + "\n"


DIRECT = "direct"
OURS_NAME = "fd-router"
OURS_PD_NAME = "fd-router-pd"
OURS_BEFORE_NAME = "fd-router-before"
"""The revision of `--against`."""
RUST_PEERS = ("sglang-router", "smg", "vllm-router")
LOOPS = (OURS_NAME, OURS_PD_NAME, OURS_BEFORE_NAME, "granian+httpx", "granian+relay")
"""Routers whose worker's main thread runs an event loop, while all other main threads sleep."""

ROUTERS: tuple[Router, ...] = (
    Ours(),
    Packaged(
        "sglang-router", "sglang-router==0.3.2", ("python", "-m", "sglang_router.launch_router"), "warn"
    ),
    Packaged("smg", "smg==1.13.0", ("smg", "launch"), "warn"),
    Packaged("vllm-router", "vllm-router==0.1.17", ("vllm-router",), "warning"),
    Nginx(),
    PlainProxy(),
    BareRelay(),
    Ours(OURS_PD_NAME, pd=True),
)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    }
