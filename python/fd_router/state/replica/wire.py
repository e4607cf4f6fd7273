"""One connection to the server, and nothing hidden behind it: no pool, no second try, no buffer of its own.

It is redis-py's `Connection`, which says at once that the server has closed, and after `LIMIT_SECS` that it is silent.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from fd_router.errors import printable
from fd_router.runtime.patience import within

if TYPE_CHECKING:
    from fd_router.config.address import Address

LIMIT_SECS = 1.0
"""For connecting, and for each answer: a server that is slower is one that is not there."""
SHOWN = 160

Command: TypeAlias = "tuple[str | bytes | int, ...]"


class WireError(Exception):
    """The server is not there, or does not do what it is asked for; the text is for an operator."""


class Wire:
    """Commands and their answers in turn, by one task."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = _connection(address)
        self.sent = 0
        """Bytes of commands."""

    async def open(self) -> None:
        """Connect and enter. Raises `WireError`."""
        try:
            # The client's own limit is for each step of it.
            await within(2 * LIMIT_SECS, self._connection.connect())  # type: ignore[no-untyped-call]
        except _TROUBLES as error:
            raise WireError(_why(error)) from error

    async def ask(self, *commands: Command) -> list[Any]:
        """Send all, then read all answers; one that refuses is a `ResponseError` in its place. Raises `WireError`."""
        await self.send(*commands)
        return [await self.read() for _ in commands]

    async def do(self, *commands: Command) -> list[Any]:
        """As `ask`, but that the first refusal is raised as a `WireError`."""
        answers = await self.ask(*commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise WireError(_why(answer))
        return answers

    async def send(self, *commands: Command) -> None:
        """Send without waiting for answers. Raises `WireError`."""
        pieces = self._connection.pack_commands(commands)
        self.sent += sum(map(len, pieces))
        try:
            await self._connection.send_packed_command(pieces, check_health=False)
        except _TROUBLES as error:
            raise WireError(_why(error)) from error

    async def read(self) -> Any:
        """The next answer. Raises `WireError`."""
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error
        except _TROUBLES as error:
            raise WireError(_why(error)) from error

    async def hear(self, limit: float) -> Any:
        """The next message of a channel. Raises `WireError`, where none comes in time too."""
        try:
            message = await self._connection.read_response(timeout=limit)
        except _TROUBLES as error:
            raise WireError(_why(error)) from error
        if message is None:
            raise WireError(f"nothing is heard for {limit:g} s")
        return message

    async def close(self) -> None:
        """End it, whatever state it is in."""
        await self._connection.disconnect(nowait=True)


_TROUBLES = (RedisError, OSError, asyncio.TimeoutError, ValueError)
"""What redis-py raises; it lets errors of its parser through."""


def _why(error: BaseException) -> str:
    text = printable(str(error)[:SHOWN]) or type(error).__name__
    return text.rstrip(".")


def _connection(address: Address) -> Connection:
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
    }
    if not address.tls:
        return Connection(**settings)
    return SSLConnection(
        **settings,
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        ssl_check_hostname=True,
        ssl_ca_certs=address.ca_file or None,
        ssl_certfile=address.cert_file or None,
        ssl_keyfile=address.key_file or None,
    )
