"""How one attempt to serve a request ends, where it does not end well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fd_router.errors import DRAINING, BadGatewayError, DrainingError, GatewayTimeoutError, OverloadedError
from fd_router.fleet.outcome import CLOSED, EXHAUSTED, FIRST_BYTE_TIMEOUT

if TYPE_CHECKING:
    from fd_router._core import Head, UpstreamError
    from fd_router.errors import RouterError
    from fd_router.types import Headers, Role


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker did not do its part: an answer that says so, or no answer (`error`)."""

    status: int
    headers: Headers
    body: bytes
    error: UpstreamError | None = None

    @classmethod
    def of_error(cls, error: UpstreamError) -> Failure:
        """There is no answer."""
        return cls(504 if error.kind == FIRST_BYTE_TIMEOUT else 502, [], b"", error)

    @classmethod
    def of_head(cls, head: Head) -> Failure:
        """The answer itself is the failure; its body is not at hand."""
        return cls(head.status, head.headers, b"")

    def __str__(self) -> str:
        return str(self.error) if self.error is not None else f"status {self.status}"


class LegError(Exception):
    """An attempt is lost because of one worker. `str()` says why.

    `also` is the other worker of a pair where both were silent up to the limit: either may be the one that hangs, as
    a prefill that stands still keeps its decode from answering. `waits` is a decode that is well, and may for a while
    still know a request of this id, waiting for what prefill does not send. `begun` is whether anything was received of
    what the client is to get.
    """

    def __init__(
        self,
        role: Role,
        url: str,
        failure: Failure,
        *,
        also: str | None = None,
        waits: str | None = None,
        begun: bool = False,
    ) -> None:
        super().__init__(str(failure))
        self.role = role
        self.url = url
        self.failure = failure
        self.suspects = [url] if also is None else [url, also]
        self.avoided = [*self.suspects, waits] if waits is not None else self.suspects
        """Who is not to have the request next, as far as there is somebody else."""
        self.begun = begun

    @property
    def told(self) -> str:
        """What is lost, and why."""
        return f"{self.role} worker {self.url}: {self}"


def unanswered(lost: LegError) -> RouterError:
    """What the client is told whose request no worker could be made to answer."""
    error = lost.failure.error
    if error is not None and error.kind == CLOSED:
        return DrainingError(DRAINING)
    if error is not None and error.kind == EXHAUSTED:
        return OverloadedError(f"router has no descriptor or port left for an engine: {lost}")
    if error is not None and error.kind == FIRST_BYTE_TIMEOUT:
        return GatewayTimeoutError(f"Backend service did not answer in time: {lost}")
    return BadGatewayError(f"Failed to connect to backend service: {lost}")
