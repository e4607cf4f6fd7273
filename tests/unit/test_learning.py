"""Questions for models: one at a time for each worker, sent ahead, dropped when they are of no use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fd_router._core import UpstreamError
from fd_router.fleet import learning
from fd_router.fleet.learning import Learner
from fd_router.fleet.registry import Registry
from fd_router.types import Instance
from fd_router.upstream.engines import EngineError
from fd_router.upstream.model_list import ModelList
from rig.core import scheduler

A = Instance("mixed", "127.0.0.1", 8001)
TURNS = 10


class Engines:
    """Answers questions when it is told to."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[ModelList]] = []

    async def __call__(self, _upstream: object, _url: str, *, key: str, timeout_secs: float) -> ModelList:
        assert (key, timeout_secs) == ("sesame", 5.0)
        question: asyncio.Future[ModelList] = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        return await question

    async def answer(self, what: BaseException | str, which: int = -1) -> None:
        question = self.questions[which]
        if isinstance(what, str):
            question.set_result(ModelList([{"id": name} for name in what.split()]))
        else:
            question.set_exception(what)
        await turns()


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)

    error = info


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def failure(kind: str) -> UpstreamError:
    error = UpstreamError(kind)
    error.kind, error.received = kind, False
    return error


class Scene:
    """A registry and a learner over engines that answer when they are told to."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.now = 100.0
        self.log = Log()
        log: Any = self.log
        self.registry = Registry(scheduler({"mixed": "round_robin"}))
        upstream: Any = None
        self.learner = Learner(
            self.registry,
            upstream,
            log,
            lambda: self.now,
            timeout_secs=5.0,
            enabled=True,
            key="sesame",
        )

    @property
    def models(self) -> tuple[str, ...] | None:
        return self.registry.models.of(A.url)

    async def join(self, names: str) -> None:
        self.registry.put(A)
        await turns()
        await self.engines.answer(names)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    engines = Engines()
    monkeypatch.setattr(learning, "read_model_list", engines)
    return engines


def test_an_answer_that_came_ahead_is_taken_as_the_worker_joins(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        scene.learner.ahead(A)
        await turns()
        await engines.answer("m lora")
        assert scene.models is None
        scene.registry.put(A)
        assert scene.models == ("m", "lora"), "in the same step"
        scene.learner.settled(A.url)
        assert len(engines.questions) == 1
        assert scene.log.lines == [f"[fd-router] register: {A.url} serves m, lora"]

    asyncio.run(run())


def test_a_worker_that_is_not_admitted_leaves_nothing(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        scene.learner.ahead(A)
        await turns()
        scene.learner.settled(A.url)
        await turns()
        assert engines.questions[0].cancelled()
        assert not scene.learner._asking

    asyncio.run(run())


def test_who_wants_to_know_shares_a_question(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        scene.registry.put(A)
        asked = [asyncio.create_task(scene.learner.entries(A.url)) for _ in range(3)]
        await scene.learner.round()
        await turns()
        await engines.answer("m")
        assert await asyncio.gather(*asked) == 3 * [[{"id": "m"}]]
        assert len(engines.questions) == 1

    asyncio.run(run())


def test_an_engine_that_ended_is_asked_first(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        await scene.join("m")
        await scene.learner.round()
        await turns()
        scene.registry.refused(A.url)
        confirming = asyncio.create_task(scene.learner.confirm(A.url, "m"))
        await turns()
        assert len(engines.questions) == 3, "what it was asked before is of no use"
        await engines.answer("m", which=1)
        assert not confirming.done()
        await engines.answer("n", which=2)
        assert await confirming is False
        assert scene.models == ("n",)

    asyncio.run(run())


def test_nobody_listens_there(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        await scene.join("m")
        scene.registry.refused(A.url)
        for _ in range(2):
            confirming = asyncio.create_task(scene.learner.confirm(A.url, "m"))
            await turns()
            await engines.answer(failure("refused"))
            with pytest.raises(UpstreamError, match="refused"):
                await confirming
        confirming = asyncio.create_task(scene.learner.confirm(A.url, "m"))
        await turns()
        await engines.answer(EngineError("status 500"))
        assert await confirming is True, "it answers, and may serve anything"
        assert scene.models is None

    asyncio.run(run())


def test_a_new_worker_that_does_not_answer_is_one_without_a_list(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FIRST_ANSWER_SECS", 0.0)

    async def run() -> None:
        scene = Scene(engines)
        scene.registry.put(A)
        assert scene.registry.models.untold(A.url)
        while scene.registry.models.untold(A.url):
            await turns()
        assert "takes any: no answer within 0 s" in scene.log.lines[0]
        await engines.answer("m")
        assert scene.models == ("m",), "late, and not in vain"

    asyncio.run(run())


def test_an_answer_of_404_is_a_reason_to_ask_and_not_for_each(engines: Engines) -> None:
    async def run() -> None:
        scene = Scene(engines)
        await scene.join("m")
        for _ in range(3):
            scene.registry.models.doubted(A.url)
            await turns()
            if not engines.questions[-1].done():
                await engines.answer("m n")
        assert len(engines.questions) == 2
        assert scene.models == ("m", "n")
        scene.now += learning.DOUBT_SECS
        scene.registry.models.doubted(A.url)
        await turns()
        assert len(engines.questions) == 3
        await scene.learner.close()

    asyncio.run(run())
