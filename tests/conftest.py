"""Fixtures of the rig: see `rig/__init__.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rig import Engine, RawWorker, Router

PROCESSES = {"e2e", "faults", "packaging", "parity"}
"""Folders of tests that start the router, and engines."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts no process has no second try where `--reruns` gives one: nothing of it hangs on the machine."""
    for item in items:
        if not PROCESSES.intersection(item.path.parts):
            item.add_marker(pytest.mark.flaky(reruns=0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why something needed its second try: the next one may not pass it."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"tried again: {report.nodeid} ({report.when})")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything below comes from here; what it started is checked and ended with the test."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def start_router(stage: Stage) -> Callable[..., Router]:
    """`start_router(yaml, "--splitwise")`."""
    return stage.start_router


@pytest.fixture
def start_engine(stage: Stage) -> Callable[..., Engine]:
    """`start_engine(router, role="prefill", token_secs=0.01, faults={"cut": "before-head"})`."""
    return stage.start_engine


@pytest.fixture
def start_engines(stage: Stage) -> Callable[..., list[Engine]]:
    """`start_engines(3, router)`."""
    return stage.start_engines


@pytest.fixture
def raw_worker(stage: Stage) -> Callable[..., RawWorker]:
    """`raw_worker(lambda peer: reply(b"{}"))`."""
    return stage.raw_worker
