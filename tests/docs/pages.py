"""The Markdown pages taken apart: fenced blocks by kind, tables that are made from the code, links.

The words behind a fence say what becomes of the block:

| Fence | Meaning |
|---|---|
| `sh run=NAME` | executed; the blocks of one page with one name are one script |
| `text output` | lines that the script so far must have printed, in this order |
| `sh verbs` | calls of `build.sh`, whose verbs must exist |
| `sh fastdeploy`, `sh docker`, `sh kubectl` | needs what a test machine lacks; must be good shell |
| `sh grep` | searches in a log, executed on the `text log` blocks of the page |
| `text log` | log lines, which the grammar of the log must know |
| `yaml config`, `yaml register` | loaded |
| `sh valkey` | a server that is started as it says, on loopback |
| `mermaid picture` | drawn by whoever shows the page; a flowchart |
| `text rooms`, `text modules` | drawings, compared with the folders and the imports |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
KINDS = {
    "sh run",
    "text output",
    "sh verbs",
    "sh fastdeploy",
    "sh docker",
    "sh kubectl",
    "sh valkey",
    "mermaid picture",
    "sh grep",
    "text log",
    "yaml config",
    "yaml register",
    "text rooms",
    "text modules",
}

_FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(
    r"(?P<head><!-- table: (?P<name>[a-z ]+) -->\n)(?P<body>.*?)(?P<tail><!-- end -->)", re.DOTALL
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block; `name` is what follows `run=`."""

    page: Path
    line: int
    kind: str
    name: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*kinds: str) -> list[Block]:
    """The blocks of these kinds, all if none is given, page by page in order."""
    return [block for page in PAGES for block in blocks_of(page) if not kinds or block.kind in kinds]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        kind, _, name = match["words"].partition("=")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, kind.strip(), name, match["text"]))
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = re.split(r"^#+ ", prose(page).partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def code(cell: str) -> list[str]:
    """What stands between backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def table_names(page: Path) -> list[str]:
    return [match["name"] for match in _TABLE.finditer(page.read_text())]


def fill(text: str, tables: dict[str, str]) -> str:
    """The page's text with every marked table replaced."""
    return _TABLE.sub(lambda match: f"{match['head']}{tables[match['name']]}{match['tail']}", text)
