"""The version block, in the layout of the Go router's."""

from __future__ import annotations

import json
from importlib import metadata

from fd_router import __version__
from fd_router._core import BUILT_FROM

UNKNOWN = "unknown"


def version_block() -> str:
    """`golang-router` and five facts, one a line. The first line is what scripts of the Go router look for."""
    commit, dirty, time = BUILT_FROM.split() if BUILT_FROM else (_commit(), UNKNOWN, UNKNOWN)
    facts = {
        "version": __version__,
        "commit": commit[:7],
        "dirty": dirty,
        "vcsTime": time,
        "module": "fd-router",
    }
    return "\n".join(["golang-router", *(f"  {f'{name}:':<10} {value}" for name, value in facts.items())])


def _commit() -> str:
    """The commit that pip notes when it installs from a repository (PEP 610)."""
    try:
        noted = json.loads(metadata.distribution("fd-router").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, json.JSONDecodeError):
        return UNKNOWN
    return str(noted.get("vcs_info", {}).get("commit_id", UNKNOWN))
