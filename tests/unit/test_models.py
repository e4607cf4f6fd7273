"""What is known of the workers' models, and what the scheduler is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from fd_router.errors import ModelNotFoundError
from fd_router.fleet.models import ModelLists
from fd_router.fleet.registration import parse_instance, to_item
from fd_router.types import Instance
from fd_router.upstream.model_list import ModelList

A = Instance("mixed", "127.0.0.1", 8001)
B = Instance("mixed", "127.0.0.1", 8002)


class Scene:
    """Lists over a scheduler that notes what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[list[str] | None, bool]] = {}
        self.cold: list[str] = []
        self.asked: list[str] = []
        self.useless: list[str] = []
        everything: Any = self
        self.lists = ModelLists(everything)
        self.lists.wanted = self.asked.append
        self.lists.outdated = self.useless.append

    def tell_models(self, url: str, models: Any, *, others: bool = False) -> None:
        self.told[url] = (None if models is None else list(models), others)

    def forget_prefixes(self, url: str) -> None:
        self.cold.append(url)

    def join(self, instance: Instance, *names: str) -> None:
        self.lists.joined(instance, anew=True)
        if names:
            assert self.lists.listed(instance.url, names, others=False)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_new_worker_is_asked_and_told_of_when_it_answers(scene: Scene) -> None:
    scene.join(A)
    assert (scene.asked, scene.told) == ([A.url], {})
    assert scene.lists.listed(A.url, ("m", "lora"), others=False)
    assert scene.told == {A.url: (["m", "lora"], False)}
    assert not scene.lists.listed(A.url, ("m", "lora"), others=False), "no news"
    assert scene.lists.of(A.url) == ("m", "lora")


def test_a_worker_without_a_list_takes_everything_until_it_has_one(scene: Scene) -> None:
    scene.join(A)
    assert scene.lists.not_listed(A.url)
    assert scene.told == {A.url: (None, False)}
    assert not scene.lists.not_listed(A.url), "no news"
    assert scene.lists.listed(A.url, ("m",), others=True)
    assert scene.told == {A.url: (["m"], True)}
    assert not scene.lists.not_listed(A.url), "it is slow, or busy: what it listed stands"
    assert scene.lists.of(A.url) == ("m",)


def test_a_worker_that_ended_is_to_be_asked_before_it_gets_a_request(scene: Scene) -> None:
    scene.join(A, "m")
    assert not scene.lists.unsure(A.url)
    scene.lists.ended(A.url)
    assert scene.lists.unsure(A.url)
    assert scene.useless == [A.url], "what it was asked before"
    scene.lists.ended(A.url)
    assert scene.useless == [A.url], "nobody has asked since"
    scene.lists.listed(A.url, ("n",), others=False)
    assert scene.told == {A.url: (["n"], False)}
    assert scene.cold == [A.url], "another engine"
    assert not scene.lists.unsure(A.url)
    served = [scene.lists.serves(A.url, model) for model in ("n", "m", None, "default")]
    assert served == [True, False, True, True]


def test_so_is_one_that_was_lost_and_is_back(scene: Scene) -> None:
    scene.join(A, "m")
    scene.told.clear()
    scene.join(A)
    assert scene.lists.unsure(A.url)
    assert scene.told == {A.url: (["m"], False)}
    assert scene.asked == [A.url, A.url]
    scene.lists.not_listed(A.url)
    assert scene.told == {A.url: (None, False)}, "it answers, and has no list any more"
    assert scene.lists.serves(A.url, "x")
    scene.lists.joined(A, anew=False)
    assert scene.told == {A.url: (None, False)}, "a heartbeat says nothing"


def test_an_adapter_more_is_the_same_engine(scene: Scene) -> None:
    scene.join(A, "m")
    assert scene.lists.listed(A.url, ("m", "lora"), others=False)
    assert scene.cold == []


def test_what_a_worker_registers_with_stands(scene: Scene) -> None:
    given = Instance("mixed", "127.0.0.1", 8001, models=("m", "alias"))
    scene.join(given)
    assert (scene.asked, scene.told) == ([], {A.url: (["m", "alias"], False)})
    scene.lists.ended(A.url)
    assert not scene.lists.listed(A.url, ("n",), others=False)
    assert not scene.lists.not_listed(A.url)
    assert scene.told == {A.url: (["m", "alias"], False)}
    scene.lists.joined(A, anew=False)
    assert scene.asked == [A.url], "it says so no more"
    assert scene.lists.listed(A.url, ("n",), others=False)


def test_where_nobody_is_asked_who_was_given_nothing_takes_everything(scene: Scene) -> None:
    scene.lists.asks = False
    scene.join(A)
    assert scene.told == {A.url: (None, False)}
    scene.lists.joined(Instance("mixed", "127.0.0.1", 8001, models=("m",)), anew=False)
    assert scene.told == {A.url: (["m"], False)}
    scene.lists.joined(A, anew=False)
    assert scene.told == {A.url: (None, False)}, "it says so no more"
    scene.join(A)
    assert not scene.lists.unsure(A.url), "it is not asked after a loss either"
    assert scene.asked == []


def test_who_is_known_to_serve_nothing_like_it(scene: Scene) -> None:
    lists = scene.lists
    assert not lists.unserved("x"), "nobody is there"
    scene.join(A, "m")
    assert lists.unserved("x")
    assert not lists.unserved("m")
    assert not lists.unserved(None)
    assert not lists.unserved("default"), "whatever is there"
    scene.join(B)
    assert not lists.unserved("x"), "nobody knows yet"
    lists.listed(B.url, ("n",), others=True)
    assert not lists.unserved("x"), "it takes any name"
    lists.listed(B.url, ("n",), others=False)
    assert lists.unserved("x")
    lists.ended(B.url)
    assert not lists.unserved("n"), "it may be back"
    lists.forget(B.url)
    assert lists.unserved("n")
    lists.expect(B)
    assert not lists.unserved("n"), "it is expected"


def test_the_partner_serves_what_the_chosen_worker_serves(scene: Scene) -> None:
    scene.join(A, "m", "lora")
    partner = scene.lists.partner_model
    assert partner(A.url, "lora") == "lora"
    assert [partner(A.url, name) for name in (None, "default", "any-name")] == ["m", "m", "m"]
    assert (partner(B.url, None), partner(B.url, "x")) == (None, "x"), "nothing is known of it"


@pytest.mark.parametrize(
    ("entries", "names", "others"),
    [
        ([{"id": "m"}, {"id": "lora"}, {"id": "m"}], ("m", "lora"), False),
        ([{"id": "/m", "root": "/m", "owned_by": "FastDeploy"}], ("/m",), True),
        ([{"id": "m", "root": "/m", "owned_by": "FastDeploy"}], ("m",), False),
        ([{"id": "/m", "root": "/m", "owned_by": "vllm"}], ("/m",), False),
    ],
)
def test_a_list(entries: list[dict[str, Any]], names: tuple[str, ...], others: bool) -> None:
    found = ModelList(entries)
    assert (found.names, found.takes_others) == (names, others)


def test_models_in_a_registration() -> None:
    body = b'{"role":"mixed","host_ip":"127.0.0.1","port":8001,"models":["m","n","m"]}'
    instance = parse_instance(body, splitwise=False)
    assert instance.models == ("m", "n")
    assert to_item(instance)["models"] == ["m", "n"]
    assert "models" not in to_item(A)
    for none in (b"null", b"[]"):
        assert parse_instance(body.replace(b'["m","n","m"]', none), splitwise=False).models is None


def test_the_error_has_the_shape_that_openai_clients_read() -> None:
    error = ModelNotFoundError("x\n" + 1000 * "y")
    assert error.status == 404
    payload: Any = error.payload()
    assert payload["error"]["code"] == "model_not_found"
    assert payload["error"]["type"] == "invalid_request_error"
    assert len(payload["error"]["message"]) < 400
    assert "\n" not in payload["error"]["message"]
