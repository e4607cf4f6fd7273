"""A process that was stopped for longer than a limit reads what waits for it before it blames the worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from rig.raw_worker import reply

if TYPE_CHECKING:
    from rig import Peer
    from rig.relaying import StartWorker

LIMIT = 1.0
"""Seconds of the limits of the stopped process."""

CHILD = """
import asyncio, sys
from dataclasses import replace
from fd_router.config import UpstreamConfig
from fd_router.upstream.relay import Upstream

async def run(url, limit):
    settings = replace(UpstreamConfig(), first_byte_timeout_secs=limit, idle_timeout_secs=limit)
    upstream = Upstream(settings, hop="stopped")
    exchange = upstream.send(url, [], b"", query=b"", collect=False)
    try:
        head = await exchange.head()
        print(head.status, flush=True)
        await exchange.discard()
        print("whole")
    except Exception as error:
        print(error)
    finally:
        upstream.close()

asyncio.run(run(sys.argv[1], float(sys.argv[2])))
"""


@pytest.mark.parametrize("stop", [LIMIT + 0.2, LIMIT + 1.5], ids=["a little", "long"])
@pytest.mark.parametrize("begun", [False, True], ids=["first byte", "idle"])
def test_an_answer_that_came_meanwhile_is_read(raw_worker: StartWorker, begun: bool, stop: float) -> None:
    stopped = threading.Event()
    whole = reply(b"x" * 100)

    def answer(peer: Peer) -> None:
        peer.send(whole[:-50] if begun else b"")
        assert stopped.wait(20)
        peer.send(whole[-50:] if begun else whole)

    worker = raw_worker(answer)
    command = [sys.executable, "-c", CHILD, worker.url, str(LIMIT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            worker.wait_hits(1)
            first = child.stdout.readline() if begun else ""
            start = time.monotonic()
            child.send_signal(signal.SIGSTOP)
            stopped.set()
            threading.Event().wait(start + stop - time.monotonic())
            child.send_signal(signal.SIGCONT)
            assert first + child.communicate(timeout=20)[0] == "200\nwhole\n"
        finally:
            child.kill()
