"""The list of limits in docs/failure.md: each is the default of its setting, or the constant that it names."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pages
import pytest

from fd_router.config import SECTIONS
from fd_router.config.schema import key_of

ROWS = pages.rows(pages.ROOT / "docs" / "failure.md", "Limits")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "ms": 1e-3, "min": 60, "%": 1e-2}
CONSTANT = re.compile(r"`(?P<name>[A-Z_]+)` in `(?P<path>[\w./-]+)`")
KEY = re.compile(r"`(?P<section>[a-z]+)\.(?P<key>[a-z-]+)`")
DURATION = re.compile(r"Duration::from_(secs|millis)\((.+)\)")


def told(cell: str) -> float:
    """The number that a cell begins with, in bytes, seconds or pieces."""
    match = re.match(r"([\d,.]*\d)(?: ([A-Za-z%]+))?", cell)
    assert match is not None, cell
    return float(match[1].replace(",", "")) * UNITS.get(match[2] or "", 1)


def set_by(cell: str) -> float:
    """The number that the code has."""
    key = KEY.match(cell)
    if key is not None:
        section = SECTIONS[key["section"]]
        (setting,) = [entry.metadata["setting"] for entry in fields(section) if key_of(entry) == key["key"]]
        return float(setting.default) * UNITS.get(setting.unit, 1)
    constant = CONSTANT.match(cell)
    assert constant is not None, cell
    text = (pages.ROOT / constant["path"]).read_text()
    (value,) = re.findall(
        rf"^ *(?:pub(?:\(\w+\))? )?(?:const )?{constant['name']}(?:: [^=]+)? = ([^;#\n]+)", text, re.MULTILINE
    )
    duration = DURATION.match(value)
    if duration is not None:
        return number(duration[2]) * (1e-3 if duration[1] == "millis" else 1)
    return number(value) * (1e-3 if constant["name"].endswith("_MS") else 1)


def number(text: str) -> float:
    """A product, a shift or a literal of either language."""
    return value_of(ast.parse(text.strip(), mode="eval").body)


def value_of(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id="MIB"):
            return 1 << 20
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return value_of(left) * value_of(right)
        case ast.BinOp(left=left, op=ast.LShift(), right=right):
            return int(value_of(left)) << int(value_of(right))
    raise AssertionError(ast.dump(node))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_limit_is_what_the_code_says(row: list[str]) -> None:
    assert told(row[1]) == pytest.approx(set_by(row[2]))


def test_there_are_limits() -> None:
    assert len(ROWS) > 40
