"""The page for operators: static files that read `/status` and `/decisions`, and send orders, with the viewer's key.

The files hold no secret, so whoever reaches the operators' endpoints may have them; what they show is guarded where it
is asked for. They come from nowhere else and load nothing from anywhere else, which `POLICY` holds the browser to.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fd_router.downstream import headers as http_headers
from fd_router.errors import NotFoundError, printable

if TYPE_CHECKING:
    from fd_router.downstream.client import Client
    from fd_router.types import Headers

FOLDER = Path(__file__).parent
PAGE = "page.html"
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
"""Which files of the folder are served, and as what."""

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The content security policy. The last two refuse any script that makes markup of a string."""
SHARED: Headers = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Asked for each time, and answered 304: a page never runs with the scripts of another version.
    (b"cache-control", b"no-cache"),
]


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent."""

    body: bytes
    etag: bytes
    headers: Headers


def load(folder: Path = FOLDER) -> dict[str, File]:
    """The files by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in TYPES:
            body = path.read_bytes()
            etag = b'"%s"' % sha256(body).hexdigest()[:32].encode()
            found[path.name] = File(
                body, etag, [(b"content-type", TYPES[path.suffix]), (b"etag", etag), *SHARED]
            )
    return found


class Dashboard:
    """Sends the page and its parts, from memory."""

    def __init__(self) -> None:
        self._files = load()

    async def page(self, client: Client) -> None:
        """`GET /dashboard`."""
        await self._send(client, self._files[PAGE])

    async def part(self, client: Client) -> None:
        """`GET /dashboard/{file}`."""
        name = client.path.rpartition("/")[2]
        file = self._files.get(name)
        if file is None or client.path != f"/dashboard/{name}":
            raise NotFoundError(f"the page has no file {printable(name[:80])}")
        await self._send(client, file)

    async def _send(self, client: Client, file: File) -> None:
        known = http_headers.get(client.headers, b"if-none-match") or b""
        # Whoever compresses on the way makes a weak tag of it.
        if file.etag in [each.strip().removeprefix(b"W/") for each in known.split(b",")]:
            await client.answer(304, b"", file.headers)
            return
        length = (b"content-length", b"%d" % len(file.body))
        await client.answer(200, file.body, [*file.headers, length])
