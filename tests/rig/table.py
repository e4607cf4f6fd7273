"""Figures that a test finds, for who runs it: shown at the end of the module, in the full form only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

FULL = bool(os.environ.get("FAULTS_FULL"))
"""Whether the faults run in their full form: large numbers, and every combination."""


class Table:
    """Cells by row and column, in the order in which they came."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._cells: dict[str, dict[str, object]] = {}

    def put(self, row: str, column: str, cell: object) -> None:
        self._cells.setdefault(row, {})[column] = cell

    def text(self) -> str:
        columns = list(dict.fromkeys(column for cells in self._cells.values() for column in cells))
        rows = [
            [row, *(str(cells.get(column, "")) for column in columns)] for row, cells in self._cells.items()
        ]
        lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
        return f"\n{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def show(self, config: pytest.Config) -> None:
        """Print it past pytest's capture."""
        capture = config.pluginmanager.getplugin("capturemanager")
        if FULL and self._cells:
            assert capture is not None
            with capture.global_and_fixture_disabled():
                print(self.text())
