"""One connection to the server, and nothing hidden behind it: no pool, no second try, no buffer of its own.

It is redis-py's `Connection`, which says at once that the server has closed, and after `LIMIT_SECS` that it is silent.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, TypeAlias

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from fd_router.errors import printable
from fd_router.runtime.patience import within

if TYPE_CHECKING:
    from fd_router.config.address import Address

LIMIT_SECS = 1.0
"""For connecting, and for each answer: a server that is slower is one that is not there."""
MAX_ANSWER = 8 << 20
"""Bytes of an answer: the largest that replicas make for each other, 64 entries of the board, and some."""
SHOWN = 160

Command: TypeAlias = "tuple[str | bytes | int, ...]"


class WireError(Exception):
    """The server is not there, or does not do what it is asked for; the text is for an operator."""


class Wire:
    """Commands and their answers in turn, by one task."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        """`context` is that of `tls_context`."""
        self._address = address
        self._connection = _connection(address, context)

    async def open(self) -> None:
        """Connect and enter. Raises `WireError`."""
        try:
            # The client's own limit is for each step of it.
            await within(2 * LIMIT_SECS, self._connection.connect())  # type: ignore[no-untyped-call]
        except _TROUBLES as error:
            raise self.trouble(error) from error

    async def ask(self, *commands: Command) -> list[Any]:
        """Send all, then read all answers; one that refuses is a `ResponseError` in its place. Raises `WireError`."""
        await self._send(*commands)
        return [await self._read() for _ in commands]

    async def do(self, *commands: Command) -> list[Any]:
        """As `ask`, but that the first refusal is raised as a `WireError`."""
        answers = await self.ask(*commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise self.trouble(answer)
        return answers

    async def _send(self, *commands: Command) -> None:
        pieces = self._connection.pack_commands(commands)
        try:
            await self._connection.send_packed_command(pieces, check_health=False)
        except _TROUBLES as error:
            raise self.trouble(error) from error

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error
        except _TROUBLES as error:
            raise self.trouble(error) from error

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.WriteTransport:
        """Give the open connection to a protocol; it is still closed here, and nothing else is done here any more."""
        writer = self._connection._writer
        if writer is None:
            raise WireError("not connected")
        writer.transport.set_protocol(protocol)
        return writer.transport

    async def close(self) -> None:
        """End it, whatever state it is in."""
        await self._connection.disconnect(nowait=True)

    def trouble(self, error: BaseException | str) -> WireError:
        """What went wrong, without a secret in it."""
        text = _text(error)
        for secret in filter(None, (self._address.password, self._address.username)):
            text = text.replace(secret, "***")
        return WireError(printable(text[:SHOWN]).rstrip(".") or type(error).__name__)


_TROUBLES = (RedisError, OSError, asyncio.TimeoutError, ValueError, RecursionError)
"""What redis-py raises; it lets errors of its parser through."""


class _Parser(_AsyncRESP2Parser):
    """Gives up an answer beyond `MAX_ANSWER`, before it is in memory; the client itself takes any."""

    async def _read(self, length: int) -> bytes:
        self._require(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        # An array may have any number of items of no length.
        self._require(0)
        return await super()._readline()

    def _require(self, length: int) -> None:
        if self._pos + length > MAX_ANSWER:
            raise InvalidResponse(f"an answer is larger than {MAX_ANSWER} bytes")


def tls_context(address: Address) -> ssl.SSLContext | None:
    """What TLS goes by; None where there is none. Reads files, for some 10 ms. Raises `WireError`."""
    if not address.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.ca_file or None)
        if address.cert_file:
            context.load_cert_chain(address.cert_file, address.key_file)
    except (OSError, ValueError) as error:
        raise WireError(f"TLS files: {_text(error)}") from error
    return context


def _text(error: BaseException | str) -> str:
    # What a server says of a command that it does not know repeats its words, and those of AUTH are secret.
    return str(error).partition(", with args beginning with")[0]


def _connection(address: Address, context: ssl.SSLContext | None) -> Connection:
    settings: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.username or None,
        "password": address.password or None,
        "socket_timeout": LIMIT_SECS,
        "socket_connect_timeout": LIMIT_SECS,
        "protocol": 2,
        "driver_info": None,
        "parser_class": _Parser,
    }
    if context is None:
        return Connection(**settings)
    connection = SSLConnection(**settings)
    # Else each connection reads all files anew, in the event loop, and takes the system's authorities as well.
    connection.ssl_context.context = context
    return connection
