"""The rig of the end-to-end tests: the true `fd-router`, mock engines, and workers made of raw sockets.

A test takes the fixtures of `tests/conftest.py`:

    def test_serves(start_router, start_engine):
        router = start_router("scheduler: {policy: round_robin}")
        engine = start_engine(router, token_secs=0.01)
        assert router.chat("hello").headers["x-engine"] == engine.name

When the test is over, every counter of every router must be back at 0, its worker process must be the one of the start,
its exit status 0, and nothing is left running.
"""

from rig.client import RawClient
from rig.engine import Engine
from rig.process import Process
from rig.raw_worker import Peer, RawWorker, black_hole, reply, sse_head
from rig.router import Router
from rig.stage import Stage
from rig.wait import wait_for

__all__ = [
    "Engine",
    "Peer",
    "Process",
    "RawClient",
    "RawWorker",
    "Router",
    "Stage",
    "black_hole",
    "reply",
    "sse_head",
    "wait_for",
]
