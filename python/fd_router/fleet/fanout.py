"""Questions that every worker answers for itself and the router answers once: models and aborts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from fd_router.errors import BadRequestError, ModelNotFoundError
from fd_router.observe.logs import messages
from fd_router.upstream.engines import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fd_router.fleet.learning import Learner
    from fd_router.fleet.membership import Membership
    from fd_router.fleet.registry import Registry
    from fd_router.observe.logs import Log
    from fd_router.types import Instance
    from fd_router.upstream.engines import EngineApi

T = TypeVar("T")

MODELS_MAX_AGE = 10.0
"""Seconds for which a list of models is answered without asking again."""
MODELS_STALE_AGE = 60.0
"""Seconds for which it is answered while it is asked for again: nobody waits for a slow engine but the first."""


@dataclass(frozen=True, slots=True)
class _Union:
    """What the workers at `urls` said at a time."""

    taken_at: float
    urls: list[str]
    answer: dict[str, Any]


class Models:
    """The union of the workers' model lists."""

    def __init__(self, registry: Registry, learner: Learner, log: Log, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._learner = learner
        self._log = log
        self._clock = clock
        self._known: _Union | None = None
        self._asking: asyncio.Task[_Union] | None = None

    async def union(self) -> dict[str, Any]:
        """An OpenAI list object; of entries with one id, the first by worker url stands."""
        urls = [instance.url for instance in self._registry.all()]
        known = self._known if self._known is not None and self._known.urls == urls else None
        age = self._clock() - known.taken_at if known is not None else 0.0
        if known is not None and age < MODELS_MAX_AGE:
            return known.answer
        # A burst of questions asks the workers once.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._refresh(urls))
            self._asking.add_done_callback(self._refreshed)
        if known is not None and age < MODELS_STALE_AGE:
            return known.answer
        return (await asyncio.shield(self._asking)).answer

    async def entry(self, name: str) -> dict[str, Any]:
        """The entry of one model. Raises `ModelNotFoundError`."""
        for entry in (await self.union())["data"]:
            if entry["id"] == name:
                found: dict[str, Any] = entry
                return found
        raise ModelNotFoundError(name)

    def _refreshed(self, asking: asyncio.Task[_Union]) -> None:
        """Whoever waits for the answer has its failure too; often nobody does."""
        if not asking.cancelled() and (error := asking.exception()) is not None:
            self._log.error(messages.panic(error))

    async def _refresh(self, urls: list[str]) -> _Union:
        entries = await self._ask(urls)
        union = _Union(self._clock(), urls, {"object": "list", "data": entries or []})
        if entries is not None:
            self._known = union
        return union

    async def _ask(self, urls: list[str]) -> list[dict[str, Any]] | None:
        """The entries; None where there are workers and none of them answered."""
        lists = await asyncio.gather(*map(self._learner.entries, urls))
        entries: dict[str, dict[str, Any]] = {}
        for answer in lists:
            for entry in answer or ():
                entries.setdefault(entry["id"], entry)
        answered = not urls or any(answer is not None for answer in lists)
        return [entries[name] for name in sorted(entries)] if answered else None


async def ask_all(
    instances: list[Instance], ask: Callable[[Instance], Awaitable[T]]
) -> list[tuple[Instance, T | EngineError]]:
    """Ask every worker at once: its answer, or why there is none."""
    answers = await asyncio.gather(*map(ask, instances), return_exceptions=True)
    told: list[tuple[Instance, T | EngineError]] = []
    for instance, answer in zip(instances, answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, EngineError):
            raise answer
        told.append((instance, answer))
    return told


class Aborts:
    """Sends an abort to every worker and merges what they say, as FastDeploy's Python router does."""

    def __init__(self, members: Membership, api: EngineApi) -> None:
        self._members = members
        self._api = api

    async def abort(self, body: bytes) -> dict[str, list[Any]]:
        """`aborted` and `not_found` request ids, and `errors` as `{url, error}`.

        In PD mode decode's word counts, as decode holds the running answer. An id that any worker aborted is not
        `not_found`. Workers on probation are asked as well, as what runs there goes on. Raises `BadRequestError`.
        """
        check_abort(body)
        answers = await ask_all(self._members.watched(), lambda each: self._api.abort(each.url, body))
        aborted: dict[str, Any] = {}
        missing: dict[str, Any] = {}
        errors: list[Any] = []
        for instance, answer in answers:
            if isinstance(answer, EngineError):
                errors.append({"url": instance.url, "error": str(answer)})
            elif instance.role != "prefill":
                aborted |= {str(item): item for item in _ids(answer, "aborted")}
                missing |= {str(item): item for item in _ids(answer, "not_found")}
        not_found = [item for name, item in missing.items() if name not in aborted]
        return {"aborted": list(aborted.values()), "not_found": not_found, "errors": errors}


def _ids(answer: dict[str, Any], key: str) -> list[Any]:
    """A list of an engine's answer, which newer engines wrap in `result`."""
    inner = answer.get("result")
    found = (inner if isinstance(inner, dict) else answer).get(key)
    return found if isinstance(found, list) else []


def check_abort(body: bytes) -> None:
    """Raise `BadRequestError` unless the body asks to abort everything or names requests."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"Invalid JSON format: {error}") from error
    if not isinstance(payload, dict):
        raise BadRequestError("Invalid JSON format: not an object")
    names = payload.get("req_ids")
    if payload.get("abort_all") is not True and not (isinstance(names, list) and names):
        raise BadRequestError("must provide abort_all=true or req_ids")
