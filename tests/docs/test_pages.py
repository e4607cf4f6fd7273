"""What the pages say is compared with the code: tables, keys, names, links, log lines, examples that only parse."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pages
import pytest
import tables

from fd_router import _core
from fd_router.cli import flags
from fd_router.config import SECTIONS, load_config, load_register_file
from fd_router.config.schema import settings_of
from fd_router.edge.routes import ROUTES
from fd_router.fleet.registration import instance_from_mapping
from fd_router.observe.metrics import FAMILIES
from fd_router.observe.metrics.families import UPSTREAM_ERRORS
from rig import log_grammar

if TYPE_CHECKING:
    from pathlib import Path

    from pages import Block

README = pages.ROOT / "README.md"
ENDPOINTS = pages.ROOT / "docs" / "endpoints.md"
TROUBLES = pages.ROOT / "docs" / "troubleshooting.md"


def by_name(page: Path) -> str:
    return page.name


def by_place(block: Block) -> str:
    return block.where


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_tables_are_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert pages.fill(text, tables.tables()) == text, "run: python tests/docs/tables.py"


def test_every_table_is_in_some_page() -> None:
    assert sorted(name for page in pages.PAGES for name in pages.table_names(page)) == sorted(tables.tables())


@pytest.mark.parametrize("block", pages.blocks(), ids=by_place)
def test_every_block_is_of_a_kind_that_is_checked(block: Block) -> None:
    assert block.kind in pages.KINDS
    assert bool(block.name) == (block.kind == "sh run")


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_links_lead_somewhere(page: Path) -> None:
    local = [link for link in pages.links(page) if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_paths_exist(page: Path) -> None:
    named = re.findall(r"`((?:rust|python|config|bench|tests)/[\w./-]*)`", pages.prose(page))
    assert [path for path in named if not (pages.ROOT / path).exists()] == []


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_keys_are_in_the_schema(page: Path) -> None:
    known = {f"{section}.{key}" for section, kind in SECTIONS.items() for key in settings_of(kind)}
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z][a-z-]+)", pages.prose(page)))
    assert named - known == set()


@pytest.mark.parametrize("page", pages.PAGES, ids=by_name)
def test_metrics_exist(page: Path) -> None:
    known = {family.name + suffix for family in FAMILIES for suffix in ("", "_bucket", "_sum", "_count")}
    named = set(re.findall(r"\b(?:fd_router|inference|http|router_cache)_[a-z_]*[a-z]\b", pages.prose(page)))
    assert {name for name in named if name not in known and not name.startswith("http_status")} == set()


def test_policies_are_those_of_the_core() -> None:
    assert [pages.code(row[0]) for row in pages.rows(README, "Policies")] == [
        [policy.name] for policy in _core.POLICIES
    ]


def test_endpoints_are_those_of_the_table() -> None:
    routes = {(route.method, route.path) for route in ROUTES}
    tables = [(README, "Endpoints"), (ENDPOINTS, "Requests"), (ENDPOINTS, "Control calls")]
    rows = [row for page, heading in tables for row in pages.rows(page, heading)]
    assert {(row[0], pages.code(row[1])[0]) for row in rows} == routes


def test_levels_are_those_of_the_log() -> None:
    levels = {pages.code(row[0])[0].lower() for row in pages.rows(README, "Logs")[:4]}
    assert levels == set(settings_of(SECTIONS["log"])["level"].kind.names)  # type: ignore[attr-defined]


def test_kinds_of_upstream_errors_exist() -> None:
    kinds = [kind for row in pages.rows(TROUBLES, "Clients get 502") for kind in pages.code(row[0])]
    assert set(kinds) == set(UPSTREAM_ERRORS.values) - {"cancelled", "closed"}


@pytest.mark.parametrize("block", pages.blocks("text log"), ids=by_place)
def test_log_lines_are_of_the_grammar(block: Block) -> None:
    for line in block.text.splitlines():
        log_grammar.parse(line)


@pytest.mark.parametrize("block", pages.blocks("yaml config"), ids=by_place)
def test_configurations_load(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(block.text)
    _, notices = load_config(str(path), port=None, splitwise=False)
    assert notices == []


@pytest.mark.parametrize("block", pages.blocks("yaml register"), ids=by_place)
def test_registrations_are_accepted(block: Block) -> None:
    entries = load_register_file(block.text)
    assert [instance_from_mapping(entry, splitwise=False).role for entry in entries] == ["mixed"]


def test_commands_parse() -> None:
    """Those in the prose; in a block they would keep the shell of who pastes the page."""
    text = " ".join(pages.prose(page) for page in pages.PAGES)
    commands = re.findall(r"`fd-router (--[^`]+)`", text)
    assert {"--port 30000", "--port 30000 --splitwise"} <= set(commands)
    for command in commands:
        flags.parse(shlex.split(command))


def test_verbs_exist() -> None:
    usage = subprocess.run(
        ["bash", "build.sh", "help"], cwd=pages.ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = set(re.findall(r"^  (\w+|\(none\))  ", usage, re.MULTILINE))
    text = "\n".join(
        [block.text for block in pages.blocks("sh verbs")] + [pages.prose(page) for page in pages.PAGES]
    )
    named = {verb or "(none)" for verb in re.findall(r"bash build\.sh(?: (\w+))?", text)} - {"help"}
    assert named >= {"demo", "test", "faults", "(none)"}
    assert named <= verbs


@pytest.mark.parametrize("block", pages.blocks("sh fastdeploy", "sh docker", "sh kubectl"), ids=by_place)
def test_commands_that_cannot_run_here_are_good_shell(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    program = {"sh fastdeploy": "python", "sh docker": "docker", "sh kubectl": "kubectl"}[block.kind]
    commands = [
        line for line in block.text.replace("\\\n", "").splitlines() if not line.startswith("export ")
    ]
    assert commands
    assert all(command.startswith(program) for command in commands)
    for path in re.findall(r"-f (\S+)", block.text):
        assert (pages.ROOT / path).exists()


@pytest.mark.parametrize("block", pages.blocks("mermaid picture"), ids=by_place)
def test_pictures_are_flowcharts(block: Block) -> None:
    first, *edges = block.text.splitlines()
    assert first == "flowchart LR"
    assert all(re.fullmatch(r'  .+ (?:-->|<?-\. ".+" \.->) .+', edge) for edge in edges), edges


@pytest.mark.parametrize("block", pages.blocks("sh grep"), ids=by_place)
def test_searches_find_lines_of_the_page(block: Block, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = "".join(each.text for each in pages.blocks_of(block.page) if each.kind == "text log")
    (tmp_path / "logs" / "router.log").write_text(lines)
    found = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", block.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout
