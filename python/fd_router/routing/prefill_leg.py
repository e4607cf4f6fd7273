"""The prefill leg of a pair: read for its effect, and the first to know that a pair is lost.

Driven by callbacks on the exchange's futures rather than by a task of its own: in the good case the leg costs the
loop two short calls. The leg owns prefill's lease and gives it back at the first chunk (stream), at the end of the body
(unary), or when it is closed. A stream is what the client asked for as one, or what the worker answers as one.

A decode may end before its prefill has said so. Prefill is then read to its end behind the client's back, for a second
at most: its worker has done its part, keeps its connection, and is not taken for one that broke off.

Of the two answers prefill's is believed where they say how much of the prompt was cached: prefill looked into its
cache, and what is learned is what prefill workers hold. A FastDeploy decode repeats the count that came with the cache
(its `add_prefilled_request` copies `num_cached_tokens`), so it speaks for prefill where prefill's own answer has no
usage at all, as one that is cut short or encoded. Other decodes may count what they were sent as cached, which is why
a usage of prefill's is taken as it is, even one without a count. Of decode workers nothing is learned: they look
nothing up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from fd_router._core import UpstreamError
from fd_router.observe.logs import messages
from fd_router.routing.attempt import Failure
from fd_router.runtime.patience import Patience

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, MutableMapping

    from fd_router._core import Exchange, Head, Lease
    from fd_router.fleet.conduct import Conduct
    from fd_router.observe.logs import Log
    from fd_router.observe.metrics import Metrics

    Usage: TypeAlias = tuple[int, int | None]

REFUSAL_LIMIT = 65_536
"""Bytes of a refusal's body that are kept for the client."""
LINGER_SECS = 1.0
"""How long prefill may take to end after decode has."""


class PrefillLeg:
    """Watches one exchange with a prefill worker; calls `on_failure` once if it does not do its part."""

    def __init__(
        self,
        exchange: Exchange,
        lease: Lease,
        conduct: Conduct,
        *,
        log: Log,
        metrics: Metrics,
        tags: str,
        stream: bool,
        on_failure: Callable[[], None],
    ) -> None:
        self.failure: Failure | None = None
        self.answered = False
        """Whether the worker has begun to answer."""
        self._exchange = exchange
        self._lease = lease
        self._url = lease.url
        self._conduct = conduct
        self._log = log
        self._metrics = metrics
        self._start = time.perf_counter()
        self._tags = tags
        self._stream = stream
        self._on_failure = on_failure
        self._status = 0
        self._timed = False
        self._over = False
        """Prefill has told all, or nobody listens any more."""
        self._released = False
        self._serves = False
        self._learned = False
        self._repeated: Usage | None = None
        """What decode said of the prompt, for want of prefill's own word."""
        self._refusal = bytearray()
        self._timer: Patience | None = None
        exchange.head().add_done_callback(self._headed)

    def _headed(self, future: Future[Head]) -> None:
        if self._over:
            _consume(future)
            return
        # Not raised: an error that has been holds the frame, and that the future, which holds the error.
        error = future.exception()
        if isinstance(error, UpstreamError):
            self._broken(error)
            return
        head = future.result()
        self.answered = True
        self._status = head.status
        self._stream = self._stream or head.event_stream
        if self._conduct.answered(self._url, head):
            self._lease.answered()
        self._serves = 200 <= head.status < 300
        if not self._serves:
            self._read_refusal(head)
        elif head.body is not None:
            self._done()
        else:
            first = self._first_chunk if self._stream else None
            self._exchange.discard(first).add_done_callback(self._ended)

    def _read_refusal(self, head: Head) -> None:
        if head.body is not None:
            self._fail(Failure(head.status, head.headers, head.body))
            return

        def whole(future: Future[None]) -> None:
            _consume(future)
            if not self._over:
                # The length that was announced may be more than what was kept or came.
                headers = [(name, value) for name, value in head.headers if name != b"content-length"]
                self._fail(Failure(head.status, headers, bytes(self._refusal)))

        self._exchange.forward(self._keep).add_done_callback(whole)

    async def _keep(self, message: MutableMapping[str, Any]) -> None:
        room = REFUSAL_LIMIT - len(self._refusal)
        self._refusal += message.get("body", b"")[:room]

    def _first_chunk(self) -> None:
        if not self._over:
            self._timed = True
            self._metrics.prefill(self._url, time.perf_counter() - self._start)
            self._lease.completed()
            self._release(messages.prefill_first_chunk(self._url))

    def _ended(self, future: Future[None]) -> None:
        if self._over:
            _consume(future)
            return
        error = future.exception()
        if isinstance(error, UpstreamError):
            told = messages.prefill_copy_error(error)
            self._log.error(told, self._tags, worker=self._url, role="prefill", reason=str(error))
            self._broken(error)
        else:
            future.result()
            self._done()

    def _done(self) -> None:
        if not self._timed:
            self._metrics.prefill(self._url, time.perf_counter() - self._start)
        self._lease.completed()
        self._conduct.served(self._url, self._status)
        self._learn(self._exchange.usage)
        self._release(messages.prefill_done(self._url))
        self._end()

    def _broken(self, error: UpstreamError) -> None:
        self._conduct.failed(self._url, error.kind)
        self._fail(Failure.of_error(error))

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self._end()
        self._on_failure()

    def _learn(self, usage: Usage | None) -> None:
        """Take what is said of the prompt, the first time."""
        if usage is not None and not self._learned:
            self._learned = True
            self._lease.learn(*usage)

    def _learn_repeated(self) -> None:
        if self._serves:
            self._learn(self._repeated)

    def _release(self, message: str) -> None:
        if self._released:
            return
        self._released = True
        self._lease.release()
        self._log.info(message, self._tags)

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._learn_repeated()
            self._give_back()

    def blame(self, kind: str) -> None:
        """The pair is lost because of this worker's silence, by its partner's `UpstreamError.kind`."""
        if not self._over:
            self._over = True
            self._conduct.failed(self._url, kind)

    def cancel(self) -> None:
        """Stop reading."""
        self._exchange.cancel()

    def close(self, *, served: bool, repeated: Usage | None) -> None:
        """The pair is over. Gives back what is still booked.

        `served` is whether its client was answered well, `repeated` the usage at the end of that answer.
        """
        self._repeated = repeated if served else None
        if served and not self._over:
            self._timer = Patience(LINGER_SECS, self._cut)
        else:
            self._cut()

    def _cut(self) -> None:
        if not self._over:
            self._over = True
            self._conduct.given_up(self._url)
        self._exchange.cancel()
        self._learn_repeated()
        self._give_back()

    def _give_back(self) -> None:
        self._release(
            messages.prefill_fallback(self._url, self._stream)
            if self.answered
            else messages.prefill_error_path(self._url)
        )


def _consume(future: Future[Any]) -> None:
    """Look at a result that nobody needs any more, so that asyncio does not report it as forgotten."""
    if not future.cancelled():
        future.exception()
