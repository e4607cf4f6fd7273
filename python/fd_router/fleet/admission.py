"""Admission: engines that register, here or with another replica, those of the register file, and those that leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fd_router.errors import RegistrationError, UndecodableError
from fd_router.fleet.registration import instance_from_mapping, parse_instance, unregister_url
from fd_router.observe.logs import messages
from fd_router.runtime.patience import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fd_router.fleet.learning import Learner
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.networks import Networks
    from fd_router.fleet.orders import Orders
    from fd_router.fleet.prober import Prober
    from fd_router.fleet.remote_load import RemoteLoad
    from fd_router.observe.logs import Log
    from fd_router.types import Instance, Source

GATE_TIMEOUT = 4.5
"""Seconds for all probes of one registration: engines wait 5 s for the answer, then take it for lost."""
FIRST_LOAD_TIMEOUT = 1.0
"""Seconds for which a new worker's own metrics are waited for, so that its first request finds them."""
COMES_BACK: dict[Source, str] = {
    "register": (
        "an engine that registers by itself comes back with its next registration; POST /workers/drain keeps it out,"
        ' and with "remove": true unregisters it once it is empty'
    ),
    "file": (
        "manager.register-path still names it, and brings it back at the next start or change;"
        " POST /workers/drain keeps it out"
    ),
    "cluster": (
        "it registered with another replica, and comes back where it registers again, with whichever;"
        ' POST /workers/drain keeps it out, and with "remove": true unregisters it once it is empty'
    ),
}
"""What who unregisters a worker is to know, by how it became known."""


class Admission:
    """Lets workers in through the health gate."""

    def __init__(
        self,
        members: Membership,
        orders: Orders,
        prober: Prober,
        remote_load: RemoteLoad | None,
        *,
        learner: Learner,
        log: Log,
        networks: Networks,
        clock: Callable[[], float],
        splitwise: bool,
    ) -> None:
        self._members = members
        self._orders = orders
        self._prober = prober
        self._remote_load = remote_load
        self._learner = learner
        self._networks = networks
        self._log = log
        self._clock = clock
        self._splitwise = splitwise
        self.on_registered: Callable[[Instance], object] = lambda _: None
        """Called with a worker that was let in as it registered, or as the register file names it."""
        self.on_unregistered: Callable[[str], object] = lambda _: None
        """Called with the url of a worker that was unregistered here."""

    async def register(self, raw: bytes, tags: str) -> None:
        """The body of `POST /register`, and what stands before the request's lines.

        Raises `RegistrationError`: 400, 403 for an address that no worker may have, 503 when the engine is not healthy.
        """
        try:
            instance = parse_instance(raw, splitwise=self._splitwise)
            await self._admit(instance, said=True)
        except RegistrationError as error:
            undecodable = isinstance(error, UndecodableError)
            tell = messages.register_body_invalid if undecodable else messages.register_failed
            self._log.error(tell(error), tags)
            raise

    def unregister(self, raw: bytes) -> str:
        """The body of `POST /unregister`. Returns what may bring the worker back, to be told to who asked.

        Raises `RegistrationError` (400, or 404 for an unknown worker).
        """
        url = unregister_url(raw)
        source = self._members.source(url)
        if not self.left(url):
            raise RegistrationError(404, f"{url} is not registered")
        self.on_unregistered(url)
        return COMES_BACK[source]

    def left(self, url: str) -> bool:
        """A worker is unregistered, here or with another replica. False when it was not known."""
        known = self._members.leave(url)
        self._orders.left(url)
        return known

    async def admit_of_file(self, instance: Instance, name: str | None) -> None:
        """An instance of the register file, whose host it names where that is no address; through the same gate.

        One that is not well is waited for. Raises `RegistrationError` for it all the same.
        """
        try:
            await self._admit(instance, "file", said=True)
        except RegistrationError as error:
            if error.status != 503:
                raise
            self._members.await_first(instance, self._clock())
            raise
        finally:
            if self._members.knows(instance.url):
                self._members.of_file(instance.url, name, instance.models)

    async def restore(self, bodies: Iterable[object]) -> None:
        """Workers that a process before this one knew, by what they sent, through the same gate, all at once.

        One that is not well waits on probation; one that may not register any more is logged and passed over.
        """
        outcomes = await asyncio.gather(*map(self._restore, bodies), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, RegistrationError):
                self._log.error(messages.register_failed(outcome))
            elif isinstance(outcome, BaseException):
                self._log.error(messages.panic(outcome))

    async def _restore(self, body: object) -> None:
        await self._admit_or_expect(instance_from_mapping(body, splitwise=self._splitwise), "register")

    async def admit_of_cluster(self, url: str, body: object) -> None:
        """A worker that is registered with another replica, by what it sent there, through the same gate.

        One that is not well waits on probation. Raises `RegistrationError` for one that may not register here.
        """
        instance = instance_from_mapping(body, splitwise=self._splitwise)
        if instance.url != url:
            raise RegistrationError(400, f"it says that it is {instance.url}")
        if self._members.get(url) != instance:
            await self._admit_or_expect(instance, "cluster")

    async def _admit_or_expect(self, instance: Instance, source: Source) -> None:
        try:
            await self._admit(instance, source)
        except RegistrationError as error:
            if error.status != 503:
                raise
            self._members.check_room(instance.url)
            self._members.expect(instance, self._clock(), own=source == "register")

    async def _admit(self, instance: Instance, source: Source = "register", *, said: bool = False) -> None:
        """`said` is whether it was said now, and here."""
        own = source == "register"
        self._networks.require(instance)
        if self._is_removed(instance.url, own=own):
            return
        self._members.check_room(instance.url)  # nobody is probed for nothing
        self._learner.ahead(instance)
        try:
            trouble = await self._probe(instance.url)
            # It may have been removed while it was probed: it was drained, and is empty now.
            if self._is_removed(instance.url, own=own):
                return
            if trouble is not None:
                raise RegistrationError(503, f"{instance.url} service is not healthy{trouble}")
            self._members.admit(instance, self._clock(), source)
            if said:
                self.on_registered(instance)
        finally:
            self._learner.settled(instance.url)
        if self._remote_load is not None:
            with_limit = within(FIRST_LOAD_TIMEOUT, self._remote_load.ask(instance))
            await asyncio.gather(with_limit, return_exceptions=True)

    def _is_removed(self, url: str, *, own: bool) -> bool:
        """Whether a worker is to be passed over in silence. Raises `RegistrationError` where others speak for it."""
        if not self._orders.refuses(url, own=own):
            return False
        if own:
            return True
        raise RegistrationError(409, f"{url} was removed by order: POST /workers/undrain lets it back")

    async def _probe(self, url: str) -> str | None:
        """What is to be said of an engine that is not well; None where it is.

        The message is the Go router's, word for word. An engine that cannot know what is wrong is told: of another
        failure its own log says more, but a certificate is only seen from here.
        """
        try:
            verdict = self._prober.verdict(url, self._members.gate(url))
            well, last = await within(GATE_TIMEOUT, verdict)
        except asyncio.TimeoutError:
            return ""
        if well:
            return None
        return f": {last.why}" if last.kind == "tls" else ""
