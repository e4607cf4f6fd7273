"""Where a Valkey or Redis is, and how it is entered: all of it in one URL, which is a secret as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from fd_router.config.setting import Key, Secret

if TYPE_CHECKING:
    from fd_router.config.setting import Found

SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
"""By scheme, whether TLS is spoken."""
FILES = ("ca-file", "cert-file", "key-file")
"""What may stand behind the `?`, for TLS."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server. Files are `""` where none is named; without a CA file the system's authorities count."""

    host: str
    port: int
    username: str
    password: str
    database: int
    tls: bool
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __str__(self) -> str:
        """What may be shown."""
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self})"


def parse(url: str) -> Address:
    """Read a URL. Raises `ValueError`, whose text has nothing of the URL in it."""
    try:
        parts = urlsplit(url)
        port = 6_379 if parts.port is None else parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("it cannot be read") from None
    tls = SCHEMES.get(parts.scheme)
    if tls is None:
        raise ValueError("its scheme is another")
    if not parts.hostname or port == 0:
        raise ValueError("it lacks a host, or a port from 1 to 65535")
    database = parts.path.removeprefix("/") or "0"
    if not (database.isascii() and database.isdecimal() and len(database) < 6):
        raise ValueError("its path is no number of a database")
    if not tls and options:
        raise ValueError("options are for TLS")
    if options.keys() - {*FILES} or parts.fragment:
        raise ValueError("an option is not known")
    if bool(options.get("cert-file")) != bool(options.get("key-file")):
        raise ValueError("cert-file and key-file need each other")
    files = {name.replace("-", "_"): value for name, value in options.items()}
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(parts.hostname, port, user, secret, int(database), tls, **files)


@dataclass(frozen=True, slots=True)
class ClusterUrl(Key):
    """A URL that is kept as a key is, for what it holds."""

    name: str = "URL"
    accepts: str = (
        "valkey://, redis://, and with TLS valkeys:// or rediss://, then [USER:PASSWORD@]HOST[:PORT][/DATABASE]"
        "[?ca-file=PATH]; or `${NAME}` of the environment, or `file:PATH`"
    )

    def read(self, found: Found) -> Secret | None:
        """See `Kind.read`."""
        # Not by `super()`, which does not know a dataclass that slots made anew.
        secret = Key.read(self, found)
        if secret is not None:
            try:
                parse(secret.value)
            except ValueError as error:
                raise ValueError(f"found {secret}: {error}; accepted: {self.accepts}") from None
        return secret
