"""Arrows point down: imports inside the package, the fences around libraries, the crate split."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "fd_router"

LEVELS = [
    {"errors", "types"},
    {"config", "registration", "disagg", "headers", "engine_metrics", "health_state"},
    {"registry", "metrics", "logs", "periodic", "grace", "memory"},
    {"upstream", "downstream", "tokenizer", "health", "remote_load", "engine_api"},
    {"selection", "delivery", "fleet"},
    {"prefill_leg"},
    {"dispatch", "pd", "admission", "monitor", "fanout", "stats"},
    {"app"},
    {"service", "server", "cli"},
]
LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}
FENCES = {
    "httpx": {"tokenizer", "health", "remote_load", "engine_api"},
    "granian": {"server"},
    "prometheus_client": {"metrics"},
    "yaml": {"config"},
    "uvloop": {"server"},
}
PURE = LEVELS[0] | LEVELS[1]
APART = {"mock_engine", "__init__"}


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if module_name(path) not in APART]


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full dotted names that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports(path) if name.startswith("fd_router.")}
    return names - {"_core", "__version__", module_name(path)}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_lies_below(path: Path) -> None:
    here = LEVEL[module_name(path)]
    # Inside levels 0 and 8 the words may lean on each other; nothing else looks sideways or up.
    above = {
        name for name in ours(path) if LEVEL[name] > here or (LEVEL[name] == here and here not in (0, 8))
    }
    assert not above, f"{module_name(path)} (level {here}) imports {sorted(above)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_behind_their_fence(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    for library, allowed in FENCES.items():
        if library in tops:
            assert module_name(path) in allowed, f"{module_name(path)} imports {library}"
    if module_name(path) in PURE:
        assert not tops & {"asyncio", "socket", "threading"}, f"{module_name(path)} is not pure"


def test_nothing_imports_cli() -> None:
    assert not [path for path in modules() if "cli" in ours(path)]


def test_every_module_has_a_level() -> None:
    assert {module_name(path) for path in modules()} <= set(LEVEL)


def test_crates_keep_to_their_libraries() -> None:
    def manifest(crate: str) -> str:
        return (ROOT / "rust" / crate / "Cargo.toml").read_text().split("[dev-dependencies]")[0]

    assert "pyo3" not in manifest("core")
    assert "tokio" not in manifest("core")
    assert "hyper" not in manifest("core")
    assert "pyo3" not in manifest("relay")
    assert "hyper" not in manifest("py")


def test_top_level_names() -> None:
    tracked = {
        "pyproject.toml", "Cargo.toml", "Cargo.lock", "README.md", "CHANGELOG.md", "LICENSE",
        "rust", "python", "config", "bench", "tests", "docs", "build.sh",
    }  # fmt: skip
    scratch = {"target", "dist"}
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert visible - scratch - {"logs"} <= tracked
