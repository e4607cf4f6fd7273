"""A stream with one chunk a minute, for eleven minutes: longer than every limit that there is by default.

`FAULTS_FULL=1` takes that long. The quick form has every default limit of time, and the minute, at a hundredth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

import yaml

from fd_router.config.schema import SECTIONS
from rig import sse_head, wait_for
from rig.table import FULL

if TYPE_CHECKING:
    from rig import Peer, RawWorker, Router

SCALE = 1.0 if FULL else 0.01
LEAST = 0.25
"""Seconds: what is shorter is at the mercy of a machine that is busy. It is less than half of a gap."""
GAP = 60.0 * SCALE
CHUNKS = 12
BODY = b'{"stream":true,"messages":[{"role":"user","content":"hello"}]}'


def limits() -> Iterator[tuple[str, str, float]]:
    """Every time of the configuration that is not 0 by default: section, key, seconds at scale."""
    for name, section in SECTIONS.items():
        for entry in fields(section):
            unit = {"secs": 1.0, "mins": 60.0}.get(entry.name.rpartition("_")[2])
            if unit and isinstance(entry.default, float) and entry.default > 0:
                yield name, entry.name.replace("_", "-"), max(LEAST, unit * entry.default * SCALE)


def scaled() -> str:
    config: dict[str, dict[str, float]] = {}
    for section, key, secs in limits():
        config.setdefault(section, {})[key] = secs / 60 if key.endswith("mins") else secs
    return yaml.safe_dump(config)


def quiet(peer: Peer) -> None:
    """A chunk, then the next after a minute."""
    peer.send(sse_head())
    for number in range(CHUNKS):
        if number:
            threading.Event().wait(GAP)
        peer.send(b"data: %d\n\n" % number)
    peer.send(b"data: [DONE]\n\n")
    peer.close()


def registered(router: Router, worker: RawWorker, role: str) -> bool:
    """It may take more than one probe at such limits."""
    return router.register(worker.port, role=role, connector_port=1).status_code == 200


def test_it_survives(start_router: Callable[..., Router], raw_worker: Callable[..., RawWorker]) -> None:
    """In mixed mode and of a pair, side by side."""
    shorter = {f"{section}.{key}" for section, key, secs in limits() if secs < (CHUNKS - 1) * GAP}
    assert {"server.keep-alive-secs", "server.write-timeout-secs", "server.body-timeout-secs"} <= shorter
    assert {
        "upstream.first-byte-timeout-secs",
        "upstream.idle-timeout-secs",
        "manager.forget-after-secs",
    } <= shorter
    config = "" if FULL else scaled()
    with ExitStack() as stack:
        clients = []
        for roles in (("mixed",), ("prefill", "decode")):
            router = start_router(config, *(["--splitwise"] if len(roles) > 1 else []))
            for role in roles:
                wait_for(partial(registered, router, raw_worker(quiet), role))
            client = stack.enter_context(router.raw())
            client.socket.settimeout(GAP + 20)
            client.post("/v1/chat/completions", BODY)
            clients.append(client)
        came: list[float] = []
        for number in range(CHUNKS):
            for client in clients:
                assert b"error" not in client.read_until(b"data: %d\n\n" % number)
            came.append(time.monotonic())
        for client in clients:
            client.read_until(b"data: [DONE]\n\n")
        assert came[-1] - came[0] > 0.9 * GAP * (CHUNKS - 1), "the stream was not quiet"
