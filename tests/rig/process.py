"""One child process with its output in files, ended by its own id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STOP_LIMIT = 30.0


class Process:
    """A running program in a session of its own, so that its children can be found and ended with it."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        errors: Path | None = None,
    ) -> None:
        """Standard output goes to `log`; standard error too, in order, unless `errors` is given."""
        self.log = log
        self.errors = errors
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("ab"))
            err = stack.enter_context(errors.open("ab")) if errors else subprocess.STDOUT
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._child.poll()

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        """The end of its output."""
        return "\n".join(self.output().splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._child.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, limit: float = STOP_LIMIT) -> int:
        """Wait for the end; returns the exit status."""
        return self._child.wait(limit)

    def kill(self) -> None:
        """SIGKILL, children included."""
        self.send_all(signal.SIGKILL)
        self.wait()

    def stop(self, limit: float = STOP_LIMIT) -> int:
        """SIGTERM and wait; returns the exit status. Raises `AssertionError` when it had to be killed."""
        if self.status is None:
            self.send_all(signal.SIGCONT)
            self.send(signal.SIGTERM)
        try:
            status = self.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"pid {self.pid} ignored SIGTERM for {limit} s\n{self.tail()}") from None
        # Children that outlived their parent hold its ports and would disturb what comes next.
        self.send_all(signal.SIGKILL)
        return status


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it goes between opening and reading
        return True
