"""Workers made of raw sockets, for cases where every byte counts."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def reply(body: bytes, status: int = 200, *headers: str, content_type: str = "application/json") -> bytes:
    """The bytes of a whole answer."""
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sse_head(*headers: str) -> bytes:
    """The head of an event stream that ends with its connection."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@dataclass
class Peer:
    """One request that a worker received, and the connection to answer it on."""

    connection: socket.socket
    head: bytes
    body: bytes
    done: bool = field(default=False)
    """No further request will be read from the connection."""

    @property
    def method(self) -> str:
        return self.head.split(b" ", 2)[0].decode()

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return header_values(self.head, name)

    def send(self, data: bytes) -> None:
        """Raises `OSError` when the router closed the connection."""
        self.connection.sendall(data)

    def close(self) -> None:
        """Close in order."""
        self.done = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with an RST."""
        self.done = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait_closed(self, limit: float = LIMIT) -> bool:
        """Whether the router closes the connection within the limit."""
        self.done = True
        self.connection.settimeout(limit)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


Answer = "Callable[[Peer], bytes | None]"


class RawWorker:
    """Listens on loopback and hands each request but probes to `answer`, in a thread for each connection.

    `answer` returns the bytes to send, or sends them itself and returns None. Its exceptions, other than those of a
    connection that the router closed, fail the test at its end.
    """

    def __init__(
        self,
        answer: Callable[[Peer], bytes | None],
        *,
        health: int = 200,
        host: str = "127.0.0.1",
        accept: bool = True,
        models: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Without `accept` connections are made, by the kernel, and nobody is there to read them.

        `/v1/models` is 404, as of an engine that has no such list, unless `models` hands it to `answer` too.
        """
        self.answer = answer
        self._models = models
        self._tls = tls
        self.health = health
        """Status of `/health`."""
        self.next_health: list[int] = []
        """Statuses of the next probes, before `health` counts again."""
        self.hits: list[Peer] = []
        """Requests that were handed to `answer`, in order of arrival."""
        self.probes = 0
        self.questions = 0
        """For its models, which are answered without `answer`; over connections of their own, as probes are."""
        self.connections = 0
        """Accepted so far."""
        self.errors: list[Exception] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.host = host
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        if accept:
            self._spawn(self._accept)

    def wait_hits(self, number: int, limit: float = LIMIT) -> list[Peer]:
        """Wait until so many requests have come."""
        return wait_for(
            lambda: self.hits if len(self.hits) >= number else None,
            limit=limit,
            why=lambda: f"{len(self.hits)} of {number} requests reached {self.url}",
        )

    def open_connections(self) -> int:
        return len(self._open)

    def stop(self) -> None:
        """Close everything. Raises the first error of `answer`."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
        if self.errors:
            raise self.errors[0]

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    return
                # A test took all descriptors for a moment.
                time.sleep(0.01)
                continue
            self.connections += 1
            self._open.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                self._open.discard(connection)
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            self._serve_requests(connection)
        except OSError:
            pass  # the router closed the connection, or the test is over
        except Exception as error:  # reported by `stop`
            self.errors.append(error)
        finally:
            self._open.discard(connection)
            connection.close()

    def _serve_requests(self, connection: socket.socket) -> None:
        pending = b""
        while True:
            peer, pending = read_request(connection, pending)
            if peer is None:
                return
            if peer.path == "/health":
                self.probes += 1
                peer.send(reply(b"", self.next_health.pop(0) if self.next_health else self.health))
                continue
            if peer.path == "/v1/models" and not self._models:
                self.questions += 1
                peer.send(reply(b"{}", 404))
                continue
            self.hits.append(peer)
            data = self.answer(peer)
            if data is not None:
                peer.send(data)
                if "close" in header_values(data.partition(b"\r\n\r\n")[0], "connection"):
                    return
            if peer.done or "close" in peer.header("connection"):
                return


def read_request(connection: socket.socket, pending: bytes) -> tuple[Peer | None, bytes]:
    """The next request, None at the end of the connection; and bytes that came after it."""
    while b"\r\n\r\n" not in pending:
        data = connection.recv(65_536)
        if not data:
            return None, b""
        pending += data
    head, _, rest = pending.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    assert not header_values(head, "transfer-encoding"), "the raw worker reads bodies by Content-Length only"
    size = int((header_values(head, "content-length") or ["0"])[0])
    parts, have = [rest], len(rest)
    while have < size:
        data = connection.recv(65_536)
        if not data:
            return None, b""
        parts.append(data)
        have += len(data)
    rest = b"".join(parts)
    return Peer(connection, head, rest[:size]), rest[size:]


def header_values(head: bytes, name: str) -> list[str]:
    """The values of a header in a raw head, in order."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip().decode() for key, _, value in pairs if key.strip().lower() == name.lower().encode()]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port of loopback that neither accepts nor refuses: connecting there hangs until a timeout.

    The listener's queue is filled with connections that nobody accepts; the kernel then drops what comes.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                fillers.append(filler)
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()
