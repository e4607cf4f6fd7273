"""Answers of engines that do harm to who reads them to their end, and services that give them on some paths."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from rig.raw_worker import reply

if TYPE_CHECKING:
    from rig.raw_worker import Peer

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
PIECE = b"x" * 65_536
TRICKLE_SECS = 0.02
KINDS = ("endless", "trickles", "hangs")


class Bad:
    """Answers in one of `KINDS` on the paths named, `well` on all others, until it is healed.

    For each bad answer `sent` has its bytes and `lasted` its seconds once the reader gave up; `open` are under way.
    """

    def __init__(self, kind: str, *paths: str, well: dict[str, bytes] | None = None) -> None:
        self.kind = kind
        self.paths = set(paths)
        self.well = well or {}
        self.sent: list[int] = []
        self.lasted: list[float] = []
        self.open = 0
        self.asked = 0
        self._lock = threading.Lock()

    def heal(self) -> None:
        self.paths = set()

    def __call__(self, peer: Peer) -> bytes | None:
        if peer.path not in self.paths:
            return reply(self.well.get(peer.path, b"{}"))
        peer.done = True
        with self._lock:
            self.asked += 1
            self.open += 1
        start, sent = time.monotonic(), [0]
        try:
            self._answer(peer, sent)
        except OSError:
            pass  # the reader has had enough
        finally:
            with self._lock:
                self.open -= 1
                self.sent.append(sent[0])
                self.lasted.append(time.monotonic() - start)
        return None

    def _answer(self, peer: Peer, sent: list[int]) -> None:
        if self.kind == "hangs":
            assert peer.wait_closed(60), "it is waited for without a limit"
            return
        # What the kernel takes in advance says nothing of the reader.
        peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        peer.send(HEAD)
        clock = threading.Event()
        # A reader that never has enough fails the test by its limits, not by the time that it takes.
        while sent[0] < 1 << 30:
            piece = PIECE if self.kind == "endless" else b"x"
            peer.send(piece)
            sent[0] += len(piece)
            if self.kind == "trickles":
                clock.wait(TRICKLE_SECS)
