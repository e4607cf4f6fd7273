"""What no linter reads: the crate split, and the names at the top. The rooms of the package: `lint-imports`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_crates_keep_to_their_libraries() -> None:
    def manifest(crate: str) -> str:
        return (ROOT / "rust" / crate / "Cargo.toml").read_text().split("[dev-dependencies]")[0]

    for crate in ("core", "journal"):
        assert not [name for name in ("pyo3", "tokio", "hyper") if name in manifest(crate)], crate
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
