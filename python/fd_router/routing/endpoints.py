"""PD mode: requests that neither prefill nor decode go to workers that say that they serve them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fd_router.errors import EndpointUnservedError, NoWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fd_router._core import Lease, Request, Scheduler
    from fd_router.fleet.conduct import Conduct
    from fd_router.fleet.membership import Membership
    from fd_router.routing.mixed import MixedDispatch
    from fd_router.routing.retry import Retries
    from fd_router.routing.selection import Chooser, Selector
    from fd_router.types import Role


class Specialists:
    """The workers that serve one endpoint by themselves; what a dispatch asks of selector and fleet."""

    def __init__(
        self,
        path: str,
        *,
        scheduler: Scheduler,
        selector: Selector,
        members: Membership,
        conduct: Conduct,
    ) -> None:
        self._path = path
        self._scheduler = scheduler
        self._selector = selector
        self._members = members
        self._conduct = conduct

    async def tokens(self, _request: Request, _tags: str) -> None:
        """None: they are chosen by their load."""

    def unsure(self, url: str) -> bool:
        """See `Selector.unsure`."""
        return self._selector.unsure(url)

    async def confirm(self, url: str, model: str | None) -> bool:
        """See `Selector.confirm`."""
        return await self._selector.confirm(url, model)

    def book(
        self,
        _role: Role,
        request: Request,
        tags: str,
        *,
        tokens: Sequence[int] | None = None,
        exclude: Sequence[str] = (),
    ) -> Lease:
        """Choose and book in one step.

        Raises `EndpointUnservedError`, `ModelNotFoundError`, and `NoWorkerError` where a worker may come back.
        """
        lease = self._scheduler.select_for(self._path, request, tags=tags, exclude=exclude)
        if lease is None:
            raise self._nobody(request.model)
        self._conduct.chosen(lease.url)
        return lease

    def left(self, _role: Role, exclude: Sequence[str] = (), model: str | None = None) -> tuple[int, int]:
        """See `Scheduler.left`."""
        return self._scheduler.left_for(self._path, exclude, model)

    def _nobody(self, model: str | None) -> NoWorkerError | EndpointUnservedError:
        known = [each for each in self._members.watched() if self._path in (each.endpoints or ())]
        if not known:
            return EndpointUnservedError(
                f"no worker serves {self._path} in PD mode: one must be registered with it in its endpoints"
            )
        self._selector.require_served(model)
        return NoWorkerError(f"no healthy workers available for {self._path}")


class EndpointDispatches:
    """A dispatch for each endpoint, made when it is first asked for."""

    def __init__(
        self,
        make: Callable[[Chooser, Retries], MixedDispatch],
        retries: Retries,
        *,
        scheduler: Scheduler,
        selector: Selector,
        members: Membership,
        conduct: Conduct,
    ) -> None:
        self._make = make
        self._retries = retries
        self._scheduler = scheduler
        self._selector = selector
        self._members = members
        self._conduct = conduct
        self._made: dict[str, MixedDispatch] = {}

    def of(self, path: str) -> MixedDispatch:
        """The dispatch for a path, which is one of the table of routes: so there are not many."""
        dispatch = self._made.get(path)
        if dispatch is None:
            specialists = Specialists(
                path,
                scheduler=self._scheduler,
                selector=self._selector,
                members=self._members,
                conduct=self._conduct,
            )
            dispatch = self._make(specialists, replace(self._retries, scheduler=specialists))
            self._made[path] = dispatch
        return dispatch
