"""HTTP/1.1 requests out of bytes, whatever pieces they come in.

What a router sends is judged here, so that a request which could be read in two ways is refused: one that h11
refuses is refused here too, and one that h11 writes is read alike. The unit tests hold the two side by side;
why h11 itself does not read the requests stands in `wire`.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

MAX_HEAD = 65_536
MAX_BODY = 256 << 20
MAX_DIGITS = 20
"""Of a length; `int` would refuse thousands of them in its own way."""
TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
FIRST_LINE = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) (HTTP/1\.\d)", re.ASCII)
NAME = re.compile(TOKEN)
CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\r\n"})
DIGITS = {10: string.digits, 16: string.hexdigits}
SINGLE = frozenset({"host", "content-length", "transfer-encoding"})
"""Headers that say what a request is; two of one kind could contradict each other."""


class BadRequestError(Exception):
    """Bytes that are no HTTP request; `status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in order."""
    head: bytes
    """The raw head, blank line included."""
    body: bytes
    """Without transfer coding."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """The first value of a header, `""` where there is none."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def keep_alive(self) -> bool:
        """Whether the client will use the connection again."""
        return self.version == "HTTP/1.1" and self.header("connection").lower() != "close"


class Parser:
    """Takes bytes as they arrive, gives whole requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._requests = self._run()
        self.wants_continue = False
        """A client waits for `100 Continue` before it sends its body."""

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    @property
    def pending(self) -> int:
        """Bytes fed and not yet taken."""
        return len(self._buffer)

    def next(self) -> Request | None:
        """The next whole request, or None until more bytes come. Raises `BadRequestError`."""
        return next(self._requests)

    def _run(self) -> Generator[Request | None, None, None]:
        while True:
            head = yield from self._until(b"\r\n\r\n")
            method, target, version, headers = split_head(head)
            fields = dict(headers)
            self.wants_continue = fields.get("expect", "").lower() == "100-continue"
            coding = fields.get("transfer-encoding")
            if coding is None:
                body = yield from self._exactly(length_of(fields.get("content-length", "0"), 10))
            elif coding.lower() == "chunked":
                body = yield from self._chunks()
            else:
                raise BadRequestError(501, f"bad transfer coding {coding[:40]!r}")
            self.wants_continue = False
            yield Request(method, target, version, headers, head, body)

    def _until(self, mark: bytes) -> Generator[None, None, bytes]:
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError(431, f"head over {MAX_HEAD} bytes")
            start = max(0, len(self._buffer) - len(mark) + 1)
            yield
        return self._take(at + len(mark))

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        return self._take(size)

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while size := length_of((yield from self._line()).partition(";")[0].rstrip(" \t"), 16):
            if len(body) + size > MAX_BODY:
                raise BadRequestError(413, f"body over {MAX_BODY} bytes")
            data = yield from self._exactly(size + 2)
            if not data.endswith(b"\r\n"):
                raise BadRequestError(400, f"chunk of another length than its {size} bytes")
            body += data[:-2]
        while line := (yield from self._line()):
            header_of(line)  # a trailer: checked, and of no use to an engine
        return bytes(body)

    def _line(self) -> Generator[None, None, str]:
        return lines_of((yield from self._until(b"\r\n")))[0]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def split_head(head: bytes) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    """Method, target, version and headers of a raw head. Raises `BadRequestError`."""
    first, *lines = lines_of(head)[:-2]
    parts = FIRST_LINE.fullmatch(first)
    if parts is None:
        raise BadRequestError(400, f"bad request line {first[:100]!r}")
    headers = tuple([header_of(line) for line in lines])
    check_framing(parts[3], [name for name, _ in headers])
    return parts[1], parts[2], parts[3], headers


def lines_of(raw: bytes) -> list[str]:
    """Split at each CRLF; the last one is what follows the last CRLF. Raises `BadRequestError`."""
    lines = raw.decode("latin-1").split("\r\n")
    breaks = len(lines) - 1
    if raw.count(b"\r") != breaks or raw.count(b"\n") != breaks or raw.translate(None, CONTROLS) != raw:
        raise BadRequestError(400, f"control character in {raw[:100]!r}")
    return lines


def check_framing(version: str, names: list[str]) -> None:
    """Refuse headers that let a request end in two places or go to two hosts. Raises `BadRequestError`."""
    framing = [name for name in names if name in SINGLE]
    if len(framing) != len(set(framing)):
        raise BadRequestError(400, f"more than one of {', '.join(sorted(SINGLE))}")
    if "content-length" in framing and "transfer-encoding" in framing:
        raise BadRequestError(400, "content-length beside transfer-encoding")
    if version != "HTTP/1.0" and "host" not in framing:
        raise BadRequestError(400, "no host")


def header_of(line: str) -> tuple[str, str]:
    """Name in lower case and value of a header line. Raises `BadRequestError`."""
    name, colon, value = line.partition(":")
    if not colon or not NAME.fullmatch(name):
        raise BadRequestError(400, f"bad header line {line[:100]!r}")
    return name.lower(), value.strip(" \t")


def length_of(text: str, base: int) -> int:
    """A body's or a chunk's length. Raises `BadRequestError`."""
    # Not `int` alone, which takes signs, underscores and 0x.
    if not 0 < len(text) <= MAX_DIGITS or text.strip(DIGITS[base]):
        raise BadRequestError(400, f"bad length {text[:40]!r}")
    length = int(text, base)
    if length > MAX_BODY:
        raise BadRequestError(413, f"body over {MAX_BODY} bytes")
    return length
