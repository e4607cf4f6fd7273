"""The table of faults names tests that exist, in order and without a gap, and every file of tests/faults."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/faults/README.md"
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| (.+) \|$", re.MULTILINE)
FILE = re.compile(r"`([\w./]+\.(?:py|rs))`(?:: ((?:`\w+`(?:, )?)+))?")


def named() -> dict[Path, set[str]]:
    """Files, and the tests of them that are named."""
    found: dict[Path, set[str]] = {}
    for _, proof in ROW.findall(TABLE.read_text()):
        files = FILE.findall(proof)
        assert files, proof
        for path, tests in files:
            found.setdefault(ROOT / path, set()).update(re.findall(r"\w+", tests))
    return found


def test_rows_are_numbered() -> None:
    numbers = [int(number) for number, _ in ROW.findall(TABLE.read_text())]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_tests_exist() -> None:
    missing = [
        f"{path.name}: {test}"
        for path, tests in named().items()
        for test in tests
        if not path.exists() or f"def {test}(" not in path.read_text()
    ]
    assert missing == []
    assert [path for path in named() if not path.exists()] == []


def test_every_file_of_faults_is_there() -> None:
    assert set((ROOT / "tests/faults").glob("test_*.py")) - named().keys() == set()
