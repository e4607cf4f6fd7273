"""The wheel and the source archive: what is inside, and that both install where they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fd_router import __version__
from fd_router.edge.dashboard import TYPES, load

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)  # building from scratch takes minutes
MATURIN = Path(sys.executable).with_name("maturin")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
"""Shared with the builds before, so that what has not changed is not built again."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    maturin("build", "--release", "--locked", "--quiet", "--out", str(folder))
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    maturin("sdist", "--out", str(folder))
    (built,) = folder.iterdir()
    with tarfile.open(built) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / f"fd_router-{__version__}"
    # The archive's times are old: cargo would take what it built of an earlier state for this one.
    for source in unpacked.rglob("*.rs"):
        source.touch()
    return unpacked


def maturin(*arguments: str) -> None:
    subprocess.run(
        [str(MATURIN), *arguments],
        cwd=ROOT,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
        check=True,
    )


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"fd_router-{__version__}.dist-info/METADATA"))


def test_wheel_fits_every_python_from_3_10_on(wheel: Path) -> None:
    assert re.fullmatch(rf"fd_router-{re.escape(__version__)}-cp310-abi3-\w*linux\w*\.whl", wheel.name)
    assert metadata(wheel)["Requires-Python"] == ">=3.10"


def test_wheel_has_what_users_need_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        scripts = archive.read(f"fd_router-{__version__}.dist-info/entry_points.txt").decode()
    modules = {
        str(path.relative_to(ROOT / "python"))
        for path in (ROOT / "python").rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
    }
    page = {f"fd_router/edge/dashboard/{name}" for name in load()}
    assert "fd_router/edge/dashboard/page.html" in page
    rest = {name for name in names - modules - page if ".dist-info/" not in name}
    assert modules | page <= names
    assert rest == {"fd_router/_core.abi3.so"}
    assert f"fd_router-{__version__}.dist-info/licenses/LICENSE" in names
    assert "fd-router=fd_router.cli:main" in scripts.replace(" ", "")


def test_wheel_carries_the_readme_and_the_license(wheel: Path) -> None:
    found = metadata(wheel)
    assert str(found.get_payload()).startswith("# fd-router")
    assert found["License-Expression"] == "Apache-2.0"


def test_wheel_installs_and_runs_where_there_is_no_rust(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=True)
    programs = tmp_path / "bin"
    without_rust = {
        **os.environ,
        "PATH": f"{programs}:/usr/bin:/bin",
        "CARGO": "/nonexistent",
        "PYTHONPATH": "",
    }
    install = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    constraint = ["-c", str(ROOT / ".lock" / "python.txt")]
    subprocess.run([*install, *constraint, str(wheel)], cwd=tmp_path, env=without_rust, check=True)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=tmp_path, env=without_rust, capture_output=True, text=True, check=True
        )
        return done.stdout

    version = run(str(programs / "fd-router"), "--version")
    assert version.splitlines()[0] == "golang-router"
    assert f"version:   {__version__}" in version
    place = run(
        str(programs / "python"), "-c", "import fd_router.process.server as here; print(here.__file__)"
    )
    assert Path(place).is_relative_to(tmp_path)


def test_sdist_has_the_sources(sdist: Path) -> None:
    wanted = [
        "Cargo.toml",
        "Cargo.lock",
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "PKG-INFO",
    ]
    wanted += ["config/config.example.yaml", "config/register.example.yaml"]
    wanted += [
        str(path.relative_to(ROOT))
        for folder in ("rust", "python")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".rs", ".toml", ".py", ".pyi", ".typed", *TYPES} and "tests" not in path.parts
    ]
    assert [name for name in wanted if not (sdist / name).is_file()] == []
    assert [path for path in sdist.rglob("*") if path.suffix in {".so", ".pyc"}] == []


def test_sdist_is_a_whole_workspace(sdist: Path) -> None:
    subprocess.run(
        ["cargo", "metadata", "--offline", "--format-version", "1"],
        cwd=sdist,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def test_sdist_builds(sdist: Path) -> None:
    # Checked, not built: whatever is missing in the archive shows, and the wheel above is built of the same sources.
    subprocess.run(
        ["cargo", "check", "--quiet", "--offline", "--locked", "-p", "fd-router-py"],
        cwd=sdist,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
        check=True,
    )
