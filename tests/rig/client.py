"""A client that sends and sees raw bytes."""

from __future__ import annotations

import socket
import struct

from rig.wait import LIMIT


class RawClient:
    """One TCP connection; `receive_buffer` is the kernel's, in bytes, where its own choice is too large."""

    def __init__(self, host: str, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(LIMIT)
        if receive_buffer is not None:
            # Before connecting, as the window is agreed on there.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect((host, port))
        except OSError:
            self.socket.close()
            raise
        self.received = b""
        """All bytes so far."""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post(self, path: str, body: bytes, *headers: str) -> None:
        """Send a POST with a Content-Length."""
        lines = [f"POST {path} HTTP/1.1", "host: router", f"content-length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def read_until(self, mark: bytes) -> bytes:
        """Read until `mark` was received; all bytes so far. Raises `ConnectionError` at the end, `TimeoutError`."""
        while mark not in self.received:
            if not self._read():
                raise ConnectionError(f"closed before {mark!r}; had {self.received[-200:]!r}")
        return self.received

    def read_to_end(self) -> bytes:
        """Read until the other side closes or resets; all bytes so far. Raises `TimeoutError`."""
        try:
            while self._read():
                pass
        except ConnectionResetError:
            pass
        return self.received

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _read(self) -> bytes:
        data = self.socket.recv(65_536)
        self.received += data
        return data
