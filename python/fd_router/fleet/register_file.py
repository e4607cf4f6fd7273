"""The register file: its engines are permanent, and it is looked at for changes.

An engine of the file that is not well is probed on until it is, however long that takes. One that the file does not
name any more leaves, one that it names anew joins. A file that cannot be read or used changes nothing: whoever replaces
it may be at it.

Here a host may have a name, which stands for an address: the first IPv4 one that it resolves to, else the first. A
worker is at an address, as everywhere; while it is not in service its name is resolved again, and where the address is
another one the worker moves.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fd_router.config import load_register_file
from fd_router.errors import ConfigError, RegistrationError
from fd_router.fleet.registration import host_name, instance_from_mapping, with_host
from fd_router.observe.logs import messages
from fd_router.runtime.patience import within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fd_router.fleet.admission import Admission
    from fd_router.fleet.membership import Membership
    from fd_router.observe.logs import Log
    from fd_router.types import Instance

MAX_FILE_BYTES = 8 << 20
"""Room for 4,096 engines with every field."""
ROUND_SECS = 2.0
"""Between two looks at the file, and two tries to resolve a name."""
RESOLVE_SECS = 5.0
"""How long the resolver may take for one name."""
UNUSABLE = "the register file cannot be used"


@dataclass(slots=True)
class Entry:
    """One engine of the file."""

    index: int
    body: object
    name: str | None
    """Its host's name, where the file has a name."""
    instance: Instance | None = None
    """None while it cannot be made out what or where it is."""
    ill: bool = False
    """Whether it could not be let in when it was tried last."""

    @property
    def condition(self) -> str:
        """The name of that."""
        return f"instance {self.index} of the register file cannot be registered"


async def resolve(name: str) -> list[str]:
    """The addresses of a name, IPv4 first. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class RegisterFile:
    """Keeps the fleet in step with a file."""

    def __init__(
        self,
        path: str,
        admission: Admission,
        members: Membership,
        log: Log,
        *,
        splitwise: bool,
        resolver: Callable[[str], Coroutine[Any, Any, list[str]]] = resolve,
    ) -> None:
        self._path = path
        self._admission = admission
        self._members = members
        self._log = log
        self._splitwise = splitwise
        self._resolver = resolver
        self._seen: tuple[int, ...] = ()
        self._text = b""
        self._problem = ""
        """What is wrong with the file as it was seen last."""
        self._entries: list[Entry] = []
        self._lookups: dict[str, asyncio.Task[list[str]]] = {}
        """Names that are being resolved, or were since the last round."""

    async def round(self, _late: float = 0.0) -> None:
        """Take up what the file says now, and look for those that moved. To be awaited once before the rounds."""
        entries = await self._changed()
        if entries is not None:
            await self._replace(entries)
        await asyncio.gather(*(self._settle(each) for each in self._entries if self._unsettled(each)))

    @property
    def settled(self) -> bool:
        """Whether the file was read, and everybody whom it names is known."""
        return bool(self._seen) and all(each.instance is not None for each in self._entries)

    def _unsettled(self, entry: Entry) -> bool:
        if entry.instance is None or entry.ill:
            return True
        return entry.name is not None and entry.instance.url not in self._members.registry

    async def _changed(self) -> list[Entry] | None:
        """The entries of the file; None where they are those of before, or cannot be had."""
        try:
            seen = await asyncio.to_thread(_signature, self._path)
            if seen == self._seen:
                self._tell(self._problem)
                return None
            text = await asyncio.to_thread(_read, self._path)
            bodies = await asyncio.to_thread(_bodies, text, known=bool(self._entries))
        except OSError as error:
            self._tell(messages.yaml_unread(self._path, error))
            return None
        except ConfigError as error:
            self._seen, self._problem = seen, messages.yaml_invalid(self._path, error)
            self._tell(self._problem)
            return None
        first, self._seen, self._problem = not self._seen, seen, ""
        self._tell(self._problem)
        if text == self._text and not first:
            return None
        self._text = text
        if not bodies:
            self._log.info(messages.no_static_instances(self._path))
        return [Entry(index, body, host_name(body)) for index, body in enumerate(bodies)]

    def _tell(self, problem: str) -> None:
        """Of what is wrong with the file; of nothing that it is well."""
        if not problem:
            self._log.lasting.over(UNUSABLE)
        elif self._log.lasting.met(UNUSABLE, cause=problem):
            self._log.error(problem)

    async def _replace(self, entries: list[Entry]) -> None:
        before = {str(each.body): each for each in self._entries}
        kept = {text: each for each in entries if (text := str(each.body)) in before}
        for text, entry in kept.items():
            old = before[text]
            entry.ill = old.ill
            # One that was unregistered comes back by a change of the file.
            if old.instance is not None and self._members.knows(old.instance.url):
                entry.instance = old.instance
        gone = [each for text, each in before.items() if text not in kept]
        for text, old in before.items():
            if text not in kept or kept[text].index != old.index:
                self._log.lasting.forget(old.condition)
        self._entries = entries
        for name in self._lookups.keys() - {each.name for each in entries}:
            self._lookups.pop(name).cancel()
        fresh = [each for each in entries if each.instance is None]
        known = [
            each for each in gone if each.instance is not None and self._members.knows(each.instance.url)
        ]
        places = {_place(each.body): each.instance for each in known}
        for entry in fresh:
            # One that says something else of an engine, which stays as it was while that cannot be made out.
            entry.instance = places.get(_place(entry.body))
        await asyncio.gather(*map(self._settle, fresh))
        # Last, so that an engine whose entry says something else now is not taken out in between.
        named = {each.instance.url for each in entries if each.instance is not None}
        for entry in gone:
            if entry.instance is not None and entry.instance.url not in named:
                self._members.drop(entry.instance.url)

    async def _settle(self, entry: Entry) -> None:
        """Find out where an engine is, and let it in or wait for it."""
        try:
            instance = await self._instance(entry)
            if instance != entry.instance:
                await self._admit(entry, instance)
                self._log.info(messages.static_registered(entry.index))
        except (RegistrationError, OSError, asyncio.TimeoutError) as error:
            entry.ill = True
            text = str(error) or f"{entry.name} is not resolved in time"
            if self._log.lasting.met(entry.condition, cause=text):
                self._log.error(messages.static_failed(entry.index, text))
        else:
            entry.ill = False
            self._log.lasting.over(entry.condition)

    async def _admit(self, entry: Entry, instance: Instance) -> None:
        before, entry.instance = entry.instance, None
        if before is not None and before.url != instance.url:
            self._log.info(messages.moved(str(entry.name), before.url, instance.url))
            self._members.drop(before.url, instance.url)
        try:
            await self._admission.admit_of_file(instance, entry.name)
        finally:
            # One that is not well is known all the same, and waited for.
            if self._members.knows(instance.url):
                entry.instance = instance

    async def _addresses(self, name: str) -> list[str]:
        """What a name resolves to. One question goes on over rounds: else slow names keep others from theirs."""
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = asyncio.get_running_loop().create_task(self._resolver(name))
        try:
            return await within(RESOLVE_SECS, asyncio.shield(lookup))
        finally:
            if lookup.done():
                self._lookups.pop(name, None)

    async def _instance(self, entry: Entry) -> Instance:
        body = entry.body
        if entry.name is not None:
            addresses = await self._addresses(entry.name)
            if not addresses:
                raise RegistrationError(400, f"{entry.name} has no address")
            known = entry.instance.host.strip("[]") if entry.instance is not None else None
            body = with_host(body, known if known in addresses else addresses[0])
        return instance_from_mapping(body, splitwise=self._splitwise)


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"the file: accepted: up to {MAX_FILE_BYTES} bytes")
    return text


def _bodies(text: bytes, *, known: bool) -> list[object]:
    """The engines of the file. Raises `ConfigError`.

    Where some are `known` it must not be empty: whoever writes it in place has emptied it first; `instances: []` is a
    file without engines.
    """
    if known and not text.strip():
        raise ConfigError("the file: empty")
    return load_register_file(text)


def _place(body: object) -> tuple[str, str] | None:
    """The host and the port of an entry as they stand there; None where it has none."""
    if not isinstance(body, dict):
        return None
    fields = {str(key).lower(): value for key, value in body.items()}
    return str(fields.get("host_ip")), str(fields.get("port"))


def _signature(path: str) -> tuple[int, ...]:
    """What is another one when the file is another one; symbolic links are followed, as a ConfigMap swaps one."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
