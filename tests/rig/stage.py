"""Starts what a test needs, and clears it away."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rig.engine import Engine
from rig.process import Process
from rig.raw_worker import Peer, RawWorker
from rig.router import PROGRAM, Router, config_text, free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

REGISTER_SECS = 0.2
STARTS = 3
UNTRACED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""For engines: coverage would take as long to start as they do, and tell nothing of the router."""


class Stage:
    """Routers, engines and raw workers in one folder; `close` checks the routers and ends everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._routers: list[Router] = []
        self._things = ExitStack()
        self._last = ExitStack()
        self._numbers: Counter[str] = Counter()

    def start_router(
        self,
        config: str = "",
        *arguments: str,
        exact: bool = False,
        port: int | None = None,
        split_errors: bool = False,
        env: Mapping[str, str] | None = None,
        control: int | None = None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        files: int | None = None,
        within: Sequence[str] = (),
    ) -> Router:
        """Start `fd-router` with this YAML and wait until it answers.

        The YAML gets `server.host` (loopback) and `server.port` (a free one) where it has none; `exact` leaves it
        as it is, then `port` says where the router will be. The working directory is one of its own;
        `control`, `headers` and `tls` are for the rig's own questions: see `Router`.
        `split_errors` keeps standard error out of the log that the tests read; `files` is how many descriptors it may
        have; `within` are words before its command, of a program that becomes it.
        """
        for start in range(STARTS):
            chosen = port or free_port()
            process = self._launch(
                config if exact else config_text(config, chosen), arguments, split_errors, env, files, within
            )
            self._things.callback(process.stop)
            router = Router(process, chosen, control=control, headers=headers, tls=tls)
            self._things.callback(router.client.close)
            try:
                router.wait_ready()
            except AssertionError:
                # Someone else may have taken the free port in the meantime.
                if port or start + 1 == STARTS or "in use" not in process.output():
                    raise
            else:
                break
        self._things.callback(router.assert_ends_well)
        self._routers.append(router)
        return router

    def run_router(self, *arguments: str, limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `fd-router` to its end, for the cases where it does not start."""
        return subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=self._folder("run"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    def start_engine(self, router: Router | RawWorker | None = None, **flags: object) -> Engine:
        """Start one mock engine, registering with `router` if given, and wait until it listens.

        `flags` are the engine's flags with underscores; `faults` is a mapping of faults in force from the start.
        """
        return self.start_engines(1, router, **flags)[0]

    def start_engines(
        self, number: int, router: Router | RawWorker | None = None, **flags: object
    ) -> list[Engine]:
        """Start several alike at once."""
        engines = [Engine(self._launch_engine(router, flags)) for _ in range(number)]
        for engine in engines:
            self._things.callback(engine.stop)
        return [engine.wait_ready() for engine in engines]

    def raw_worker(
        self,
        answer: Callable[[Peer], bytes | None],
        *,
        health: int = 200,
        host: str = "127.0.0.1",
        accept: bool = True,
        models: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> RawWorker:
        """Start a worker that answers raw bytes; register it with `router.register(worker.port)`. See `RawWorker`."""
        worker = RawWorker(answer, health=health, host=host, accept=accept, models=models, tls=tls)
        self._things.callback(worker.stop)
        return worker

    def at_end(self, action: Callable[[], object]) -> None:
        """Have something done once everything else has ended."""
        self._last.callback(action)

    def close(self) -> None:
        """Check that every counter is 0, then end everything, whatever the check said; routers must end well."""
        with self._last, self._things:
            for router in self._routers:
                if router.check_idle and router.process.status is None:
                    router.assert_idle()

    def _launch(
        self,
        config: str,
        arguments: tuple[str, ...],
        split_errors: bool,
        env: Mapping[str, str] | None,
        files: int | None,
        within: Sequence[str],
    ) -> Process:
        folder = self._folder("router")
        path = folder / "config.yaml"
        path.write_text(config)
        limited = ["bash", "-c", f'ulimit -n {files} && exec "$@"', "-"] if files is not None else []
        return Process(
            [*within, *limited, str(PROGRAM), "--config_path", str(path), *arguments],
            folder / "output.log",
            cwd=folder,
            env=env,
            errors=folder / "errors.log" if split_errors else None,
        )

    def _launch_engine(self, router: Router | RawWorker | None, flags: dict[str, object]) -> Process:
        folder = self._folder(str(flags.get("role", "mixed")))
        wanted = {"name": folder.name, "control_port": 0, "register_secs": REGISTER_SECS, **flags}
        faults = wanted.pop("faults", {})
        assert isinstance(faults, dict)
        if router is not None:
            wanted.setdefault("router", router.url)
        argv = [sys.executable, "-m", "fd_router.mock_engine"]
        for flag, value in wanted.items():
            argv += [f"--{flag.replace('_', '-')}", str(value)]
        for fault, value in faults.items():
            argv += ["--fault", f"{fault}={json.dumps(value)}"]
        return Process(argv, folder / "output.log", cwd=folder, env=UNTRACED)

    def _folder(self, kind: str) -> Path:
        self._numbers[kind] += 1
        folder = self.folder / f"{kind}-{self._numbers[kind]}"
        folder.mkdir()
        return folder
