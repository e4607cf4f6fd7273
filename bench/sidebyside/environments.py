"""Python environments of the peers, one each because some share module names; kept under `.bench/envs`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .process import UnavailableError

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".bench"


def environment(name: str, *packages: str) -> Path:
    """Folder of the environment's programs; makes the environment when it is not there.

    Raises `UnavailableError` with pip's last words. Packages are compared by what was asked for last time.
    """
    folder = CACHE / "envs" / name
    stamp = folder / "packages.txt"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {' '.join(packages)} into {folder.relative_to(ROOT)}", flush=True)
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "pip"), "install", "--quiet", *packages])
        stamp.write_text(wanted)
    return folder / "bin"


def run(command: list[str], seconds: float = 600.0) -> str:
    """Output of a command, stderr last. Raises `UnavailableError` when it fails or takes longer than `seconds`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise UnavailableError(f"{' '.join(command[:4])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout + done.stderr


def version_of(programs: Path, package: str) -> str:
    """Version of a package as its environment's metadata has it."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return run([str(programs / "python"), "-c", code]).strip()
