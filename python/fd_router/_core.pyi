"""The contract of the Rust extension: scheduling (`Request`, `Scheduler`, `Lease`), relay (`Relay`, `Exchange`), log
(`Journal`, `AccessLog`), counts (`Histogram`) and what a Valkey or Redis says (`Replies`).

Plain values cross this border: text as `str`, bytes as `bytes`, times in seconds. No call blocks on I/O. Every
class is safe to use from any thread; `Relay.drain` and the futures belong to the thread of the event loop.
"""

from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence, Set
from os import PathLike
from typing import Any, Final, Literal, TypeAlias, final

from fd_router.types import Headers, Role

__all__ = [
    "ANY_MODEL",
    "BUILT_FROM",
    "CACHE_TOKENS",
    "ENGINES",
    "GAP_BOUNDS",
    "HIT_BOUNDS",
    "HOP_HEADER",
    "MAX_DECISIONS",
    "MAX_ROUTERS",
    "POLICIES",
    "QUANTILES",
    "UPSTREAM_KINDS",
    "AccessLog",
    "Answers",
    "BodyError",
    "DecisionStats",
    "Exchange",
    "Head",
    "Histogram",
    "Journal",
    "Lease",
    "Policy",
    "Relay",
    "RelayStats",
    "Replay",
    "Replies",
    "Request",
    "RequestHead",
    "Scheduler",
    "Simulation",
    "SnapshotCopy",
    "Trace",
    "TreeStats",
    "TruthStats",
    "UpstreamError",
    "__version__",
    "made_id",
    "replay",
    "root_certificates",
    "simulate",
]

_Held: TypeAlias = tuple[str, int, int, float, float]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__version__: Final[str]
ANY_MODEL: Final[str]
"""What requests name that take whatever there is, unless a worker lists it: FastDeploy's engines have it so."""
BUILT_FROM: Final[str]
"""`COMMIT DIRTY TIME`: the whole hash, `true` where files were changed since, the commit's time as in RFC 3339; empty
where the build was not told."""
CACHE_TOKENS: Final[int]
"""Prompt tokens that a simulated engine caches, unless said otherwise."""

MAX_ROUTERS: Final[int]
"""Routers that are simulated before the same engines at the most."""

ENGINES: Final[tuple[str, ...]]
"""The names of the profiles that `simulate` takes."""

POLICIES: Final[tuple[Policy, ...]]
"""The policies, in the order of the README's table."""

GAP_BOUNDS: Final[tuple[float, ...]]
"""Upper bounds in seconds of `RelayStats.gap_buckets`; one more bucket, +Inf, follows the last."""

HIT_BOUNDS: Final[tuple[float, ...]]
"""Upper bounds of `DecisionStats.hit_buckets`, a ratio; one more bucket, +Inf, follows the last."""

HOP_HEADER: Final[bytes]
"""The request header in which a relay sends the `hop` it was made with, in lower case."""

MAX_DECISIONS: Final[int]
"""Decisions that are shown at once at the most."""

QUANTILES: Final[tuple[float, ...]]
"""What the last item of a row of `AccessLog.snapshot` holds."""

UPSTREAM_KINDS: Final[tuple[str, ...]]
"""What `UpstreamError.kind` may be."""

class BodyError(ValueError):
    """The body is not a JSON object; `str()` says what is wrong and at which byte."""

class UpstreamError(Exception):
    """An exchange failed."""

    kind: str
    """One of `UPSTREAM_KINDS`. `cancelled` and `closed` (the relay was shut down) are our own doing.

    `exhausted`, for want of descriptors or ports here, is no verdict on the engine.
    """
    received: bool
    """Whether any byte of the answer, its head included, was received before the failure."""

@final
class Policy:
    """One policy."""

    @property
    def name(self) -> str:
        """The wire name."""

    @property
    def reads_prefixes(self) -> bool:
        """Whether it looks at prefixes: only then a tokenizer's ids are of use."""

    @property
    def reads_remote_load(self) -> bool:
        """Whether it looks at what `Scheduler.observe` is told."""

    @property
    def reads_capacity(self) -> bool:
        """Whether engines are to be asked for what `Scheduler.tell_capacity` is told."""

@final
class RequestHead:
    """What the router reads of a request's head."""

    def __new__(cls, headers: Headers, http_version: str) -> RequestHead:
        """`http_version` is ASGI's, or granian's."""

    @property
    def fault(self) -> str | None:
        """Why a server must not act on it, although it could be read.

        It has no host, two or a malformed one (RFC 9112, 3.2), or its body is coded for transfer in any way but once in
        chunks (RFC 9112, 6.1).
        """

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes, None if there is none or it cannot be known."""

    @property
    def length_fault(self) -> str | None:
        """Why it cannot be known: it is no number, or lengths differ (RFC 9112, 6.3)."""

    @property
    def coding(self) -> bytes | None:
        """What the body is compressed with, or encoded otherwise (RFC 9110, 8.4), in lower case."""

    @property
    def trace_id(self) -> str | None:
        """The caller's trace id for the log (`X_BD_LOGID`), if it is not empty."""

    @property
    def has_id(self) -> bool:
        """Whether there is an `X-Request-Id`, be it empty."""

    @property
    def id(self) -> str | None:
        """What the client calls the request in it: the first that is not empty, without the space around it."""

    @property
    def trace(self) -> str | None:
        """The trace id of a well-formed `traceparent` (W3C Trace Context, 3.2)."""

    def came_by(self, hop: bytes) -> bool:
        """Whether the relay of this `hop` sent the request, or more relays than any chain of routers needs."""

    def has_body_over(self, size: int) -> bool:
        """Whether the body may have more bytes than that: one in chunks may, and one whose length cannot be known.

        Of one that the client waits to be asked for (`Expect`), any byte is one too many.
        """

def made_id() -> str:
    """A random UUID (RFC 9562, 5.4). It is to differ from others, not to be a secret: the system is not asked."""

@final
class Request:
    """One scan over a request body: the few keys that the router reads; the bytes themselves stay as they came."""

    @staticmethod
    def scan(body: bytes, chat: bool) -> Request:
        """Read `body`; `chat` takes the prompt from `messages`, else from `prompt`.

        Releases the GIL for long bodies. Raises `BodyError` for anything that is not a JSON object (nesting is
        limited to 128 levels, invalid UTF-8 is refused).
        """

    @staticmethod
    def read(body: bytes, reading: Literal["texts", "json", "form", "any"], content_type: bytes) -> Request:
        """Read the body of a request that is no completion.

        `texts`: JSON, whose text may stand in any of the members in which such requests have one, `input`, `text`,
        `query` and `documents`, `system` and `messages` among them. `json`: JSON whose text does not matter. `form`: a
        form, by the boundary in `content_type`, of which the model is read and nothing is checked. `any`: `json` where
        it is that, else as a form, else nothing is known of it.
        Raises `BodyError` as `scan` does, for `texts` and `json`.
        """

    @property
    def body(self) -> bytes:
        """The bytes given to `scan` or `read`, the same object."""

    @property
    def stream(self) -> bool:
        """Only the literal `true` of a top-level `stream` counts."""

    @property
    def whole(self) -> bool:
        """Whether the answer is expected in one piece: no stream is asked for, nor may be sent unasked."""

    @property
    def request_id(self) -> str | None:
        """Top-level `request_id`: a string's text, a number's literal; None when absent, null or of another type."""

    def name(self, request_id: str, path: str) -> None:
        """Say what the request is called, the first time: from then on its decisions are kept to be asked about."""

    @property
    def age(self) -> float:
        """Seconds since it was read: from then on the time to its first byte counts."""

    def lost(self, reason: str, *, again: bool = True) -> None:
        """The present attempt is lost; with `again` another follows, and decisions from now on belong to that."""

    @property
    def session_id(self) -> str | None:
        """Top-level non-empty string `session_id`, else the same of `extra_body`."""

    @property
    def req_id(self) -> str | None:
        """Top-level string `req_id`."""

    @property
    def model(self) -> str | None:
        """Top-level string `model`."""

    @property
    def text(self) -> str:
        """The prompt's text: trimmed pieces joined by one space. Built on each access."""

    @property
    def chars(self) -> int:
        """Unicode code points in `text`."""

    def splice(self, members: Sequence[tuple[str, bytes]]) -> bytes:
        """The body with each top-level key set to the given raw JSON value; every other byte is unchanged.

        A present key has its value replaced where it stands (each occurrence), an absent one is added before the
        closing brace. Keys: `request_id`, `disaggregate_info`; another raises `ValueError`.
        """

@final
class Lease:
    """One booked unit of load on one worker. Given back once: by `release`, or when the object is dropped.

    With a journal the decision and both ways of giving back are logged, at level info, with the tags of `select`.
    """

    @property
    def url(self) -> str: ...
    @property
    def policy(self) -> str:
        """The policy that decided in the end."""

    @property
    def reason(self) -> str | None:
        """Why another one left the choice to it."""

    def ended(self, status: int) -> None:
        """Log that the client has the whole answer, of this status."""

    def answered(self) -> None:
        """The worker gave an answer: what was recorded of the prompt stays, which else `release` takes back."""

    def completed(self, completion_tokens: int | None = None) -> None:
        """The answer came in full, or all of it that is of use, in so many tokens. The recording tells of it."""

    def first_byte(self) -> None:
        """The first byte of a stream has come: give the tokens back early; nothing if they were given back."""

    def learn(self, prompt_tokens: int, cached_tokens: int | None = None) -> None:
        """Take what the engine says of the prompt; None where it does not say how much it had cached."""

    def release(self) -> None:
        """Give back what is still booked; nothing if everything was."""

@final
class DecisionStats:
    """A snapshot of what was decided since the start."""

    @property
    def outcomes(self) -> list[tuple[str, str, int]]:
        """(policy that decided in the end, `chosen`, `fallback` or `no_worker`, count); only what happened."""

    @property
    def hit_buckets(self) -> list[int]:
        """Predicted hit ratios of scored decisions by `HIT_BOUNDS`, not cumulated."""

    @property
    def hit_sum(self) -> float:
        """Sum of those ratios."""

@final
class TruthStats:
    """A snapshot of what engines said that they had cached, in tokens, over the answers that say it."""

    @property
    def prompt(self) -> int:
        """Of prompts."""

    @property
    def predicted(self) -> int:
        """Predicted to be cached."""

    @property
    def cached(self) -> int:
        """Cached."""

    @property
    def gone(self) -> int:
        """Predicted, and not cached."""

@final
class TreeStats:
    """A snapshot of the prefix tree."""

    @property
    def blocks(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Memory held by the tree, tables included."""

    @property
    def evicted(self) -> int:
        """Blocks dropped for space since the start."""

    @property
    def expired(self) -> int:
        """Blocks dropped for age since the start."""

@final
class Scheduler:
    """Workers, their counters, the prefix tree and the policies. Selection and booking are one call."""

    def __new__(
        cls,
        *,
        policies: Mapping[Role, str],
        block_size: int,
        cache_max_bytes: int,
        eviction_secs: float,
        balance_abs_threshold: float,
        balance_rel_threshold: float,
        hit_ratio_weight: float,
        load_balance_weight: float,
        waiting_weight: float,
        metrics_max_age_secs: float,
        copy_cost: float,
        base_running: float,
        seed: int,
        journal: Journal | None = None,
        record: tuple[str, int, int] | None = None,
        replica: str | None = None,
        answers: Answers | None = None,
    ) -> Scheduler:
        """`policies` names one of `POLICIES` for each role that is served; another name raises `ValueError`.

        Decisions are logged to `journal`. They are recorded where `record` is (path of the newest file, bytes of a file
        at most, files at most); raises `OSError` where the path cannot be written. `replica` is this router's name
        among those that send to the same workers: beside others (`tell_foreign`) it has an order of its own among
        workers that cost nearly the same. `answers` counts what leases are told of, but for prefill's.
        """

    def retune(self, arguments: Mapping[str, Any]) -> None:
        """Go on with other policies and what tunes them, on the counters and prefixes that there are.

        `arguments` are the constructor's up to `seed`; the block size, the tree's memory and the idle life of its
        blocks stay what they are. Raises as the constructor does, and then changes nothing.
        """

    def add(self, url: str, role: Role) -> None:
        """Make a worker a candidate. A known url keeps its counters and takes the new role.

        One that left and comes back starts with a cold prefix cache; its running count goes on only as far as
        leases from before are still held.
        """

    def remove(self, url: str) -> tuple[int, int] | None:
        """Take a worker out of selection and forget its prefixes. Returns its (running, tokens); None if unknown."""

    def count(self, role: Role, model: str | None = None) -> int:
        """Workers of a role that may be chosen for a model, be it in the last place: all but those that are out.

        None is any model.
        """

    def left(self, role: Role, exclude: Sequence[str] = (), model: str | None = None) -> tuple[int, int]:
        """How many workers of a role that serve a model are open, and how many passed over, not counting `exclude`."""

    def tell_models(self, url: str, models: Sequence[str] | None, *, others: bool = False) -> None:
        """Say which models a worker serves: None is whatever it is asked for, an empty list nothing at all.

        With `others` it takes models that no worker lists as well. Of a worker of which this was not said yet it takes
        those, and requests that name none. An unknown url is ignored.
        """

    def tell_endpoints(self, url: str, endpoints: Sequence[str]) -> None:
        """Say which endpoints a worker serves by name, whatever its role. An unknown url is ignored."""

    def select_for(
        self, endpoint: str, request: Request, *, tags: str = "", exclude: Sequence[str] = ()
    ) -> Lease | None:
        """Of the workers that serve an endpoint by name, and the request's model, choose the one with the fewest
        requests, and book it.

        None where there is none. Otherwise as `select`, but that such a decision is not recorded.
        """

    def left_for(
        self, endpoint: str, exclude: Sequence[str] = (), model: str | None = None
    ) -> tuple[int, int]:
        """As `left`, of the workers that serve an endpoint by name."""

    def stand(self, url: str, standing: Literal["open", "passed_over", "ejected", "out"]) -> None:
        """Change a worker's standing; a new worker is open, an unknown url is ignored.

        Who is passed over is chosen only where nobody is open, who is ejected only where there is nobody else, and who
        is out never.
        """

    def forget_prefixes(self, url: str) -> None:
        """Take a worker's credit for prefixes away; its counters stay. An unknown url is ignored."""

    def select(
        self,
        role: Role,
        request: Request,
        *,
        tags: str = "",
        tokens: Sequence[int] | None = None,
        exclude: Sequence[str] = (),
        model: str | None = None,
        beside: str | None = None,
    ) -> Lease | None:
        """Choose a worker by the role's policy and book it: running +1, tokens + the request's estimate.

        None when no worker of the role serves the model, which is the request's unless `model` is given; the model
        `default`, where nobody lists it, is any, and so is none.

        `tags` stand before the decision's log lines. `tokens` are ids of the
        tokenizer service; without them the ids or the code points of the prompt are hashed. `exclude` are urls not to
        choose, to which the request was sent before; when nothing else is left they are candidates again. `beside` is
        the url of the worker that prefills for the one that is chosen: its answers count as the pair's.
        """

    def observe(self, url: str, running: float, waiting: float) -> None:
        """Take an engine's own metrics; they are missing after `metrics_max_age_secs`. Unknown urls are ignored."""

    def loads(self) -> list[tuple[str, Role, int, int]]:
        """(url, role, running, tokens) of every candidate and of every departed worker with a lease out; by url."""

    def own_loads(self) -> list[_Held]:
        """What this router alone has in hand, for others' `tell_foreign`; by url.

        (url, requests, weight of their prompts as `process_tokens` goes by it, uncached prompt tokens of those without
        a first byte, prompt tokens of all of them). Every worker that is present has a row, also with nothing but
        zeros, and a departed one as long as a lease is out.
        """

    def tell_foreign(self, origin: str, rows: Sequence[_Held]) -> int:
        """Take all that another router, by its name, has in hand, in place of what it said before.

        Policies add it to what is booked here; `loads` and all that is shown and logged stay this router's own. No rows
        at all forget the other router. Rows of workers that are not here are kept, and count when these come. Figures
        that are no numbers count as 0. Returns how many rows are not kept: there is room for 64 routers with 4,096 rows
        each, and for names of 2,048 bytes.
        """

    def take_loads(self, whole: bool) -> bytes | None:
        """What this router alone has in hand, for others' `apply_loads`.

        All of it, or only what is another than this returned before; None where that is nothing. At most 4,096 workers,
        and urls of 512 bytes.
        """

    def apply_loads(self, origin: str, data: bytes) -> bool:
        """Take what another router, by its name, got from `take_loads`, as `tell_foreign` does. Any bytes may be given.

        Returns False for what was not understood, of which nothing is taken, and for one router more than 64.
        """

    def running_elsewhere(self) -> list[tuple[str, int]]:
        """(url, requests) that all other routers said that they have in hand; by url."""

    def share(self, limit_bytes: int) -> None:
        """Begin to keep for other routers what is recorded here; it takes at most `limit_bytes` of memory.

        Called again, each prefix is told from its beginning once more, as after a batch that was lost. 0 ends it.
        Raises `ValueError` for less than 1 MiB.
        """

    def sharing(self) -> tuple[int, int]:
        """(records that wait for `take_recorded`, records that were dropped, the oldest first, past the limit)."""

    def take_recorded(self, max_bytes: int) -> bytes | None:
        """The next batch of what was recorded here: prompts by worker, those that had no answer, engines that ended.

        At most `max_bytes`, or one record where that is longer. Never what came by `apply_recorded`. Other routers are
        to be given all batches in their order: what one goes on from was in one of those before, of 1/16 of the limit.
        """

    def apply_recorded(self, data: bytes) -> tuple[int, int, int]:
        """Take a batch of another router. Any bytes may be given.

        Returns how many records were (applied, not to be hung on anything, bad): those in the middle go on from what
        was not told here, or are of a worker that is not here. A batch of another version or block size is bad, and so
        is the rest behind whatever else is wrong. An engine's end that another router saw within 10 s is told once.
        """

    def reap(self) -> tuple[list[str], list[str]]:
        """Forget departed workers without leases. Returns (removed urls, urls preserved), each sorted."""

    def expire(self) -> tuple[int, bool]:
        """Drop blocks idle for `eviction_secs`, and sweep the tree, a bounded part per call (under 1 ms).

        Returns the blocks dropped, and whether there is more to do at once.
        """

    def tell_capacity(self, url: str, tokens: float) -> None:
        """Say how many tokens a worker's cache holds; learning goes on from there. The same again changes nothing."""

    def capacities(self) -> list[tuple[str, float]]:
        """(url, tokens that its cache holds) of the workers of which that is known."""

    def held(self) -> list[tuple[str, float]]:
        """(url, tokens that its cache is thought to hold now), never above its capacity."""

    def tell_start(self, url: str, secs: float) -> bool:
        """Say when a worker's engine started, as it says itself, in seconds since the epoch.

        Returns whether it said an earlier time before: then it is another engine. An unknown url is ignored.
        """

    def copy(self) -> SnapshotCopy:
        """Begin a snapshot of prefixes and of what was learned; one at a time."""

    def restore(self, snapshot: bytes, wall_secs: float) -> tuple[int, int]:
        """Go on from a snapshot, before anything else is called. Returns (blocks, workers) that are known again.

        `wall_secs` is the time since the epoch, by which prefixes have grown older. Workers find their part when they
        are added. Raises `ValueError` for a snapshot that is of no use, saying why.
        """

    def settle(self) -> None:
        """Believe nothing any more of workers of the snapshot that were not added yet."""

    def truth(self) -> TruthStats: ...
    def truths(self) -> list[tuple[str, TruthStats]]:
        """The same by worker, of those that are candidates or out; by url. One that left and comes back begins anew."""

    def tree(self) -> TreeStats: ...
    def nobody(self, role: Role, request: Request) -> None:
        """Keep it that there was nobody to choose, where nothing was asked of `select`."""

    def last_decisions(self, count: int) -> bytes:
        """The last decisions about requests that have a name, at most `MAX_DECISIONS`, the newest first, as JSON.

        Releases the GIL. There is at most 4 MiB of it: what does not fit is left out.
        """

    def decisions_about(self, request_id: str) -> bytes | None:
        """The decisions about a request, the oldest first, as JSON; None where none is kept. Otherwise as above."""

    def decisions(self) -> DecisionStats: ...
    def sessions(self) -> tuple[int, int]:
        """Session stickiness since the start: (hits, scored requests that had a session id)."""

    def recorded(self) -> tuple[int, int]:
        """(lines written to the recording, lines lost); 0 where nothing is recorded."""

    def recording_error(self) -> str | None:
        """Why the disk refused lines of the recording; told once."""

    def end_recording(self) -> None:
        """Write what is still queued, and end the recording; what comes later is lost. Idempotent."""

@final
class SnapshotCopy:
    """A snapshot that is being made, of what is there while it is: decisions go on meanwhile."""

    def piece(self, wall_secs: float) -> bytes | None:
        """The next megabyte or so; None at the end. `wall_secs` is the time since the epoch.

        Without the GIL, and in steps of about a tenth of a millisecond for who decides meanwhile. Raises `RuntimeError`
        where nothing comes of it: another one was begun.
        """

@final
class Head:
    """The head of an upstream answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers:
        """Lower-case names in order, multi-values kept, hop-by-hop headers removed."""

    @property
    def body(self) -> bytes | None:
        """The whole body when it ended within `collect_limit` and collection was asked for, else None: `forward` it."""

    @property
    def event_stream(self) -> bool:
        """Whether the answer is made of server-sent events."""

    @property
    def encoded(self) -> bool:
        """Whether the body has a content-encoding other than identity: nothing in clear can be added to it."""

@final
class Exchange:
    """One request to a worker and its answer.

    `cancel` and dropping it end what is under way. Cancelling a future of it, as a cancelled `await` does, gives up
    waiting and no more: the exchange goes on until it is cancelled or dropped.
    """

    def head(self) -> Future[Head]:
        """Resolves to the head, or raises `UpstreamError`; call once, `RuntimeError` is raised later."""

    def forward(
        self,
        send: _Send,
        on_first: Callable[[], None] | None = None,
        head: Head | None = None,
        extra: Headers | None = None,
    ) -> Future[None]:
        """Hand the body to ASGI's `send` as it arrives; call once, after the head.

        With a `head` the answer begins with its status and headers and the `extra` ones, which stand in place of its
        own of these names. They go out just before the first body message: until a byte of the body is there the
        client has seen nothing, and the request may still be served elsewhere (see `started`).
        `on_first` is called once, in the loop's thread, when the first bytes are handed over (or at the end of an
        empty body). When the body is whole, the final `more_body: False` message is sent and the future resolves.
        When the upstream fails nothing more is sent and the future raises `UpstreamError`: the caller ends the answer.
        """

    @property
    def started(self) -> bool:
        """Whether `forward` has sent anything to the client."""

    def answer(self, send: _Send, head: Head, extra: Headers | None = None) -> Awaitable[object] | None:
        """Hand a collected answer, with `extra` headers in place of its own, to ASGI's `send`.

        Returns what is to be awaited, or None when the server took all of it at once. Raises `RuntimeError` for a
        `head` without a body, and whatever `send` raises.
        """

    def discard(self, on_first: Callable[[], None] | None = None) -> Future[None]:
        """Read the body to its end and drop it."""

    def cancel(self) -> None:
        """Close the upstream connection. Pending futures raise `UpstreamError` of kind `cancelled`. Idempotent."""

    def complete(self, status: int) -> None:
        """The client has the whole answer, of this status: tell the lease so, with what the engine says of it."""

    def release(self) -> None:
        """Cancel, and release the lease."""

    @property
    def completion_tokens(self) -> int | None:
        """Tokens of the answer, known when it is over; None where it does not say."""

    @property
    def usage(self) -> tuple[int, int | None] | None:
        """What the engine says of the prompt at the end of its answer: (tokens, those that it had cached).

        The count of cached tokens is None where the engine does not say it. None before the end of the answer; where
        it says nothing, is no success (2xx), is encoded, or did not end well; and where more than 16 KiB of a
        collected answer, 2 KiB of another, follow what it says.
        """

    @property
    def tail(self) -> bytes:
        """The last bytes handed over, at most 4: whether an event stream stands at a frame boundary."""

@final
class Answers:
    """Answers of workers by status, and the times to their first bytes: fed by leases, read by any thread.

    Has at most `max_series` series of either; what is new after them counts as one other.
    """

    def __new__(cls, bounds: Sequence[float], max_series: int) -> Answers:
        """Nothing counted yet; `bounds` are those of times in seconds, ascending."""

    def answered(self, worker: str, status: int, prefill: str | None = None) -> None:
        """Count an answer's head; `prefill` is the other worker of its pair."""

    def first_byte(self, worker: str, status: int, seconds: float) -> None:
        """Count the first byte of an answer that a client gets. One below 400 is among the worker's latest times."""

    def latest(self, worker: str, seconds: float) -> None:
        """Take another time into a worker's latest."""

    def quantiles(self, worker: str, shares: Sequence[float]) -> list[float] | None:
        """Of a worker's latest 128 times, by nearest rank; None where none is known."""

    def forget(self, worker: str) -> None:
        """Drop a worker's latest times."""

    def workers(self) -> set[str]:
        """Every url that is named."""

    def remove(self, workers: Set[str]) -> None:
        """Drop all series that name one of these."""

    def totals(self) -> tuple[int, int]:
        """How many answers there were, and how many of them with a status from 500 on; others count as sound."""

    def shares(self) -> dict[str, tuple[int, dict[int, int]]]:
        """Of each worker: answers that it had a part in, and its own from 400 on by status."""

    def rows(self) -> Iterator[tuple[str | None, str | None, int, int]]:
        """(worker, prefill worker, status, answers) of each series as it is now; the worker is None of all others."""

    def times(self) -> Iterator[tuple[str | None, int, list[int], float]]:
        """(worker, first digit of the status, counts as of `Histogram.snapshot`, sum) of each series."""

@final
class Histogram:
    """Values counted by upper bounds, without locks. Any thread may feed and read it."""

    def __new__(cls, bounds: Sequence[float]) -> Histogram:
        """Nothing counted yet; `bounds` are ascending."""

    def observe(self, value: float) -> None:
        """Count `value`, which is not negative. One that equals a bound is within it."""

    def snapshot(self) -> tuple[list[int], float]:
        """The counts, not cumulated, one for each bound and one for what is above all, and the sum of the values."""

@final
class Replies:
    """Answers of a Valkey or Redis, out of bytes as they come (RESP 2)."""

    def __new__(cls, limit: int) -> Replies:
        """An answer of more than `limit` bytes is not taken in."""

    def feed(self, data: bytes) -> list[Any]:
        """Take bytes, and return the answers that are whole with them.

        An answer is `bytes` (a string or a status), `int`, None, a list of answers, or `str` (why a command was
        refused). To be fed by one thread at a time. Raises `ValueError` for what is no answer, or too large; nothing
        is to be fed any more then.
        """

@final
class RelayStats:
    """Counters of a relay since its start."""

    @property
    def active(self) -> int:
        """Exchanges under way."""

    @property
    def idle_connections(self) -> int: ...
    @property
    def connections(self) -> int:
        """Connections opened."""

    @property
    def resends(self) -> int:
        """Requests sent once more, as the engine had closed the kept connection that was taken first."""

    @property
    def chunks(self) -> int:
        """Chunks of bodies read from workers."""

    @property
    def bytes(self) -> int:
        """Bytes in those chunks."""

    @property
    def gap_buckets(self) -> list[int]:
        """Gaps between chunks of streamed answers, counted (not cumulated) by `GAP_BOUNDS`."""

    @property
    def gap_sum(self) -> float:
        """Sum of the gaps in seconds."""

def root_certificates(ca_file: str | PathLike[str] | None = None) -> list[bytes]:
    """The certificates, in DER, that https workers are verified with: those of a PEM file; else of `SSL_CERT_FILE` and
    `SSL_CERT_DIR` where set; else of the system. Raises `OSError` where there are none."""

@final
class Relay:
    """The upstream leg: a pool of connections on its own threads, and one queue of completions."""

    def __new__(
        cls,
        loop: AbstractEventLoop,
        *,
        hop: str,
        threads: int,
        max_idle_per_worker: int,
        keep_alive_secs: float,
        connect_timeout_secs: float,
        first_byte_timeout_secs: float,
        idle_timeout_secs: float,
        collect_limit: int = ...,
        buffer_limit: int = ...,
        ca_file: str | PathLike[str] | None = None,
    ) -> Relay:
        """A timeout of 0 means none. `buffer_limit`: bytes read ahead of a stream before the upstream must wait.

        https workers are verified with `root_certificates(ca_file)`, read when the first is met.

        `hop` is an opaque id of this process, in visible ASCII without spaces, for engines that are routers themselves.
        """

    def reload_roots(self) -> None:
        """Read the roots for https anew for the connections that are opened from now on."""

    def fileno(self) -> int:
        """Readable when completions wait: `loop.add_reader(relay.fileno(), relay.drain)`."""

    def drain(self) -> None:
        """Resolve futures and hand over bytes; call in the loop's thread."""

    def send(
        self,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        method: str = "POST",
        query: bytes | None = None,
        collect: bool = True,
        fresh: bool = False,
        lease: Lease | None = None,
    ) -> Exchange:
        """Start an exchange with `url`. Hop-by-hop `headers`, `host`, `content-length` and `expect` are dropped.

        `query` takes the place of the url's, as it stands in a request line without its `?`; empty, it is none. Parsed
        urls are kept, queries are not.

        `HOP_HEADER` is added, unless the request is `fresh`; one of the client's passes beside it.

        The request goes out at the end of the loop's turn, with the others of that turn: one system call for all. For
        that `send` is to be called in the loop's thread.

        `collect` holds an answer back until it is whole, up to `collect_limit`, so that head and body cross once; but
        never an event stream.
        `lease` is told of the answer's head, and of the first byte that is handed on.
        `fresh` is for probes: the request goes over a connection of its own, which is closed after the answer.
        Raises `ValueError` for a url, query or header that HTTP cannot carry.
        """

    def heard(self, url: str) -> float | None:
        """Seconds since a byte of an answer was read from the scheme, host and port of `url`; None if never.

        Of answers to requests that are not `fresh`. An origin that nothing runs to is forgotten when thousands of other
        urls were sent to since. Raises `ValueError` as `send` does.
        """

    def stats(self) -> RelayStats: ...
    def close(self) -> None:
        """End every exchange (kind `closed`) and the threads. Idempotent."""

@final
class Journal:
    """The bounded queue between the router and its log; `logs.Log` owns it. Lines are laid out as they come.

    A call that logs costs a fraction of a microsecond and waits for nobody. Text that is not plain ASCII goes through
    `escape`, so that a line stays one line. A message is cut after 262,144 bytes.
    """

    def __new__(
        cls,
        *,
        level: int,
        json: bool,
        errors_apart: bool,
        describe: Callable[[int], tuple[str, str, list[str], str]],
        escape: Callable[[str], str],
        clock: Callable[[], float] | None = None,
        max_lines: int = ...,
        max_bytes: int = ...,
    ) -> Journal:
        """`level` is the lowest that is written, 0 (debug) to 3 (error).

        `describe` takes a second since the epoch and returns its local date, its local time, the four levels' prefixes
        and, for JSON, what follows the milliseconds that come after these; it is asked once a second. `errors_apart`
        keeps errors in pieces of their own. `clock` gives seconds since the epoch, the system's by default. Beyond
        `max_lines` lines, or `max_bytes` bytes, lines are dropped and counted.
        """

    def debug(self, message: str, tags: str = "") -> None: ...
    def info(self, message: str, tags: str = "", **facts: str | float | None) -> None:
        """`facts` are what JSON has beside the message, here and in the others; None is unknown."""

    def stamped(self, message: str, tags: str = "") -> None:
        """Like `info`, with `. ts_ms=YYYY-MM-DD HH:MM:SS.mmm`, local time, after the message."""

    def warn(self, message: str, tags: str = "", **facts: str | float | None) -> None: ...
    def error(self, message: str, tags: str = "", **facts: str | float | None) -> None: ...
    def set_level(self, level: int) -> None:
        """From now on the lowest that is written is another."""

    def open(self, wake: Callable[[], object]) -> None:
        """Begin anew, with nothing queued and nothing counted. `wake` is called by a line that ends a `doze`."""

    def __len__(self) -> int:
        """Pieces that wait to be taken."""

    def take(self) -> tuple[str, bool, bytes, int]:
        """The oldest piece: local date, whether these are errors kept apart, whole lines, how many.

        A piece has less than 64 KiB and one line. Raises `IndexError` when nothing waits.
        """

    def doze(self) -> bool:
        """Ask to be woken by the next line. False when lines wait already; then nothing was asked."""

    def rise(self) -> None:
        """Take the wish to be woken back."""

    def close(self) -> None:
        """Drop and count what is queued and what comes."""

    @property
    def dropped(self) -> int:
        """Lines that were dropped since `open`."""

@final
class AccessLog:
    """One line and one count for every HTTP request.

    Methods and endpoints that were not named count as `other`, so the series are bounded; an endpoint that ends with a
    part in braces, as `/v1/models/{id}`, has all paths that end with something else there. Quantiles are true ones, of
    the latest 1,024 durations that are younger than ten minutes.
    """

    def __new__(cls, journal: Journal, methods: Sequence[str], endpoints: Sequence[str]) -> AccessLog: ...
    def note(
        self,
        method: str,
        path: str,
        query: bytes,
        status: int,
        seconds: float,
        peer: str,
        tags: str,
        facts: dict[str, str | float | None] | None = None,
    ) -> None:
        """Log, at level info, `[METHOD] path?query HTTP/1.1 status duration peer`, and count.

        JSON has these as `method`, `path`, `status`, `duration` in seconds and `client`, and then the `facts`.
        """

    def snapshot(self) -> list[tuple[str, str, list[tuple[int, int]], float, list[float]]]:
        """(method, endpoint, [(status, requests)], seconds in all, `QUANTILES` in seconds) of each series."""

@final
class Replay:
    """How a replay went."""

    @property
    def decisions(self) -> int: ...
    @property
    def same(self) -> int:
        """Decisions with the worker that was chosen then."""

    @property
    def same_predictions(self) -> int:
        """Those of them with the cached blocks that were predicted then."""

    @property
    def missing(self) -> int:
        """Events that the recording lacks: lost lines, and decisions that were not over."""

    @property
    def differences(self) -> list[tuple[int, str | None, str | None]]:
        """(number, worker then, worker now) of the first decisions that differ."""

    @property
    def workers(self) -> list[tuple[str, int, int]]:
        """(url, decisions then, decisions now), by url."""

@final
class Trace:
    """Requests over time."""

    @staticmethod
    def mooncake(text: str, block_size: int, name: str) -> Trace:
        """Read JSON lines, whose `hash_ids` stand for `block_size` tokens each.

        Raises `ValueError`, `name:line: ...`, for a line that cannot be read. Releases the GIL.
        """

    @staticmethod
    def agents(text: str, block_size: int, name: str, sessions: int | None) -> Trace:
        """Read JSON lines of agents' calls, for blocks of `block_size` tokens.

        `sessions`: so many of them, over and over, at the recorded rate; None for each once, as recorded. Raises
        `ValueError`, `name:line: ...`, for a line that cannot be read. Releases the GIL.
        """

    @staticmethod
    def recording(path: str, output_tokens: int) -> Trace:
        """Read the recording whose newest file is at `path`; answers of unknown length have `output_tokens`.

        Raises `ValueError`, `file:line: ...`, for what cannot be read. Releases the GIL.
        """

    def faster(self, factor: float) -> Trace:
        """The same with arrivals `factor` times as dense; delays after an answer stay. `ValueError` unless above 0."""

    @property
    def requests(self) -> int: ...
    @property
    def block_size(self) -> int:
        """Tokens."""

@final
class Simulation:
    """A run in a few numbers. Shares are from 0 to 1, times are milliseconds, spreads are (mean, p50, p90, p99)."""

    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int:
        """Requests that do not fit into an engine's cache. They count in nothing below but the balance."""

    @property
    def hit(self) -> float:
        """Cached prompt tokens over prompt tokens."""

    @property
    def predicted_hit(self) -> float | None:
        """The same as the policy predicted it; None where it does not look."""

    @property
    def over_predicted(self) -> float | None:
        """Prompt tokens predicted and not found, over prompt tokens."""

    @property
    def balance(self) -> float:
        """Requests of the busiest worker (for prompts) over the mean."""

    @property
    def first_token(self) -> tuple[float, float, float, float]:
        """From arrival to first token."""

    @property
    def token_mean(self) -> float:
        """From the first token to the last, by token."""

    @property
    def end_to_end(self) -> tuple[float, float, float, float]:
        """From arrival to last token."""

    @property
    def makespan(self) -> float:
        """From the first arrival to the last end."""

    @property
    def first_tokens(self) -> list[float]:
        """The time to first token of every request that was served, ascending."""

def simulate(
    trace: Trace,
    settings: Mapping[str, Any],
    *,
    engine: str,
    workers: int,
    decode_workers: int = 0,
    cache_blocks: int,
    routers: int = 1,
    staleness_ms: float = 0.0,
    progress: Callable[[int], object] | None = None,
) -> Simulation:
    """Run a trace through a scheduler and `workers` engines of the profile `engine`, in virtual time.

    `settings` are the arguments of `Scheduler` but for `journal` and `record`; blocks are those of the trace. With
    `decode_workers` the others serve prompts only. An engine caches `cache_blocks` blocks. The scheduler knows how
    many, and hears with each answer how much was cached. `progress` is called some 200 times, with the requests that
    are over.

    A balancer sends each request to any of `routers` (1 to `MAX_ROUTERS`), which hear of each other's loads so many
    milliseconds after they change (up to an hour), and of prefixes up to 50 ms later.

    Equal arguments give equal results. Raises `ValueError` for what is not accepted. Releases the GIL.
    """

def replay(
    path: str,
    *,
    policies: Sequence[tuple[Role, str]] = (),
    copy_cost: float | None = None,
    base_running: float | None = None,
) -> Replay:
    """Play the recording whose newest file is at `path` through a scheduler, with its own settings unless given.

    Raises `ValueError` for what cannot be read, with file and line. Releases the GIL.
    """
