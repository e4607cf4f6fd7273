"""Calls to every engine at once: those of FastDeploy that pause engines and change their weights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from fd_router.errors import NoWorkerError
from fd_router.fleet.fanout import ask_all
from fd_router.observe.logs import messages
from fd_router.upstream.engines import CALLS_AT_ONCE, EngineError, parsed

if TYPE_CHECKING:
    from fd_router.fleet.membership import Membership
    from fd_router.observe.logs import Log
    from fd_router.types import Instance
    from fd_router.upstream.engines import Answer, EngineApi


class ControlCall(NamedTuple):
    """One of FastDeploy's calls; `empties` tells whether an engine's cache is worth nothing after it."""

    method: str
    path: str
    empties: bool
    meaning: str


CALLS = (
    ControlCall("POST", "/v1/pause", False, "make no more tokens; what runs is aborted"),
    ControlCall("POST", "/v1/resume", False, "go on"),
    ControlCall("GET", "/v1/is_paused", False, "whether it is paused"),
    ControlCall("POST", "/v1/sleep", True, "give the GPU's memory back, `?tags=weight,kv_cache`"),
    ControlCall("POST", "/v1/wakeup", True, "take it again, with the same tags"),
    ControlCall("POST", "/v1/update_weights", True, 'take new weights, `{"version": ...}`'),
    ControlCall("GET", "/update_model_weight", True, "take weights again, in older versions"),
    ControlCall("GET", "/clear_load_weight", True, "let them go, in older versions"),
)
"""As in FastDeploy's `fastdeploy/entrypoints/openai/api_server.py`."""


class ControlCalls:
    """Passes calls on."""

    def __init__(self, members: Membership, api: EngineApi, log: Log) -> None:
        self._members = members
        self._api = api
        self._log = log
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)

    async def send(self, call: ControlCall, query: bytes, body: bytes) -> tuple[bool, list[dict[str, Any]]]:
        """Whether every worker said 2xx, and what each said: `url`, `role`, and `status` with `answer`, or `error`.

        Workers on probation are asked as well: one that sleeps may fail its probes for it. Raises `NoWorkerError`.
        """
        instances = self._members.watched()
        if not instances:
            raise NoWorkerError("no worker is registered")
        target = call.path + (f"?{query.decode('latin-1')}" if query else "")
        answers = await ask_all(instances, lambda each: self._ask(call, each.url, target, body))
        told = [_told(instance, answer) for instance, answer in answers]
        failed = [each for each in told if not 200 <= each.get("status", 0) < 300]
        tell = self._log.warn if failed else self._log.info
        tell(messages.called(call.method, call.path, len(told), len(failed)))
        return not failed, told

    async def _ask(self, call: ControlCall, url: str, target: str, body: bytes) -> Answer:
        async with self._turns:
            try:
                return await self._api.control(call.method, url + target, body)
            finally:
                # Whatever came of it: one that failed half-way has lost its cache too.
                if call.empties:
                    self._members.registry.emptied(url)


def _told(instance: Instance, answer: Answer | EngineError) -> dict[str, Any]:
    told: dict[str, Any] = {"url": instance.url, "role": instance.role}
    if isinstance(answer, EngineError):
        return told | {"error": str(answer)}
    try:
        said = parsed(answer.content) if answer.content else None
    except EngineError:
        said = answer.content.decode("utf-8", "replace")
    return told | {"status": answer.status, "answer": said}
