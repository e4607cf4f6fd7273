"""Every numbered case of the Go router's behaviour has a test here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

CASES = 117


def test_every_case_has_a_test() -> None:
    names = [
        node.name
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    found = {int(match[1]) for name in names if (match := re.match(r"test_case_(\d{3})_", name))}
    assert found == set(range(1, CASES + 1))
