"""Fixtures of the benchmarks."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def timed(pytestconfig: pytest.Config) -> bool:
    """Whether this run measures; if not, each benchmark runs once, on less."""
    return not pytestconfig.getoption("benchmark_disable")
