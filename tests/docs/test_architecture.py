"""The drawings of docs/architecture.md are compared with what they draw: rooms, crates, modules, and their arrows."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pages
import pytest

if TYPE_CHECKING:
    from pathlib import Path

PAGE = pages.ROOT / "docs" / "architecture.md"
PACKAGE = pages.ROOT / "python" / "fd_router"
APART = "mock_engine"
SIBLINGS = re.compile(r" \| |, ")


def drawn(kind: str) -> list[str]:
    """The lines of the page's only block of a kind."""
    (block,) = [block for block in pages.blocks_of(PAGE) if block.kind == kind]
    return block.text.splitlines()


def names(line: str) -> list[str]:
    """What stands in the first column, without the words about it."""
    return SIBLINGS.split(line.strip().partition("  ")[0])


def rooms() -> list[list[str]]:
    """The rooms from top to bottom, those of one line together."""
    return [names(line) for line in drawn("text rooms")]


def modules() -> dict[str, list[str]]:
    """The modules of each crate, or folder of one, from top to bottom."""
    found: dict[str, list[str]] = {}
    crate = ""
    for line in drawn("text modules"):
        if line.startswith(" "):
            found[crate] += names(line)
        else:
            crate = line.strip()
            found[crate] = []
    return found


def test_rooms_are_those_of_the_contract() -> None:
    text = (pages.ROOT / "pyproject.toml").read_text()
    (contract,) = re.findall(r"^layers = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    assert rooms() == [SIBLINGS.split(layer) for layer in ast.literal_eval(contract)]


def test_rooms_are_the_folders() -> None:
    folders = {
        path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and path.stem[0] not in "_."
    }
    assert {room for line in rooms() for room in line} == folders - {APART}


def test_the_files_of_each_room_are_named() -> None:
    named = {
        pages.code(row[0])[0]: set(pages.code(row[1])) for row in pages.rows(PAGE, "The rooms of the package")
    }
    folders = {room for line in rooms() for room in line if (PACKAGE / room).is_dir()}
    assert named == {room: files_of(PACKAGE / room) for room in folders}


def files_of(room: Path) -> set[str]:
    return {path.stem for path in room.iterdir() if path.suffix in ("", ".py") and path.stem[0] != "_"}


def test_crates_know_those_that_the_table_says() -> None:
    rows = pages.rows(PAGE, "The Rust crates")
    told = {pages.code(row[0])[0]: set(pages.code(row[2])) if len(row) > 2 else set() for row in rows}
    manifests = sorted((pages.ROOT / "rust").glob("*/Cargo.toml"))
    assert told == {f"rust/{path.parent.name}": siblings(path) for path in manifests}


def siblings(manifest: Path) -> set[str]:
    """The workspace's own crates that a crate is built with."""
    text = manifest.read_text().partition("\n[dependencies]\n")[2].partition("\n[")[0]
    return set(re.findall(r"^(fd-router-[a-z]+)", text, re.MULTILINE))


@pytest.mark.parametrize("folder", modules())
def test_modules_are_those_of_the_sources(folder: str) -> None:
    declared = re.findall(r"^(?:pub(?:\(\w+\))? )?mod (?:r#)?(\w+);", code_of(root_of(folder)), re.MULTILINE)
    assert sorted(modules()[folder]) == sorted(declared)


@pytest.mark.parametrize("folder", modules())
def test_arrows_between_modules_point_down(folder: str) -> None:
    order = modules()[folder]
    above = {name: order[: place + 1] for place, name in enumerate(order)}
    wrong = [
        f"{module} knows {other}"
        for module in order
        for other in known_to(folder, module)
        if other in above[module] and other != module
    ]
    assert wrong == []


def root_of(folder: str) -> Path:
    """The file that declares the modules of a crate, or of a folder of one."""
    path = pages.ROOT / folder
    library = path / "src" / "lib.rs"
    return library if library.exists() else path.with_suffix(".rs")


def known_to(folder: str, module: str) -> set[str]:
    """The modules that a module's files import, but for its tests."""
    root = root_of(folder)
    base = root.parent if root.name == "lib.rs" else root.with_suffix("")
    files = [path for path in (base / f"{module}.rs", *(base / module).rglob("*.rs")) if path.exists()]
    parent = "crate" if root.name == "lib.rs" else "super"
    return {
        name
        for path in files
        if "tests" not in path.relative_to(base).as_posix()
        for name in re.findall(rf"^ *(?:pub(?:\(\w+\))? )?use {parent}::(\w+)", code_of(path), re.MULTILINE)
    }


def code_of(path: Path) -> str:
    """A file up to its unit tests, which stand at its end."""
    return path.read_text().partition("\n#[cfg(test)]\nmod tests {")[0]
