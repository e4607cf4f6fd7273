"""Orders about workers: what holds them, what ends them, and what they keep others from doing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fd_router._core import Lease, Request
from fd_router.config import Config, ManagerConfig, ServerConfig
from fd_router.errors import OrderConflictError, RegistrationError, UnknownWorkerError
from fd_router.fleet.admission import Admission
from fd_router.fleet.conduct import Conduct
from fd_router.fleet.last_probes import LastProbes, Probe
from fd_router.fleet.membership import Membership
from fd_router.fleet.networks import Networks
from fd_router.fleet.orders import REMOVED_SECS, Orders
from fd_router.fleet.registration import to_body
from fd_router.fleet.registry import Registry
from fd_router.fleet.states import States
from fd_router.observe.logs.lasting import Lasting
from fd_router.types import Instance
from rig import core

if TYPE_CHECKING:
    from fd_router.types import Source

REQUEST = Request.scan(b'{"prompt": "hello"}', False)


class Scene:
    """A fleet without a network: everything of it is real but the clock, the log and the metrics."""

    def __init__(self, workers: int = 2, **manager: Any) -> None:
        self.now = 0.0
        self.gone: list[str] = []
        config = Config(ServerConfig(port=1), replace(ManagerConfig(), **manager))
        self.scheduler = core.scheduler({"mixed": "request_num"})
        quiet: Any = SimpleNamespace(
            info=print,
            warn=print,
            error=print,
            flip=print,
            ejected=print,
            passed_over=print,
            probe=print,
            lasting=Lasting(print),
        )
        self.quiet = quiet
        self.registry = Registry(self.scheduler)
        self.conduct = Conduct(
            config.manager.eject_after_failures,
            registry=self.registry,
            log=quiet,
            metrics=quiet,
            clock=self.clock,
            later=lambda *_: None,
            chance=lambda: 0.0,
        )
        self.members = Membership(config, self.registry, self.conduct, quiet, quiet)
        self.orders = Orders(
            self.members,
            self.conduct,
            self.scheduler,
            quiet,
            clock=self.clock,
            wall=self.wall,
            limit=config.manager.max_workers,
        )
        self.probes = LastProbes(self.members.knows, quiet, self.wall)
        self.states = States(
            self.members, self.conduct, self.orders, self.probes, clock=self.clock, wall=self.wall
        )
        self.members.on_state = self.conduct.on_change = self.orders.on_change = self.states.note
        self.states.on_gone = self.gone.append
        self.urls = [self.join(number) for number in range(workers)]

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1000.0 + self.now

    def admission(self, prober: Any) -> Admission:
        """The gate before this fleet, with a prober of the test's."""
        learner: Any = SimpleNamespace(ahead=lambda _: None, settled=lambda _: None)
        return Admission(
            self.members,
            self.orders,
            prober,
            None,
            learner=learner,
            log=self.quiet,
            networks=Networks(()),
            clock=self.clock,
            splitwise=False,
        )

    def join(self, number: int) -> str:
        instance = Instance("mixed", "127.0.0.1", 8000 + number)
        self.members.admit(instance, self.now)
        return instance.url

    def pass_time(self, secs: float) -> None:
        self.now += secs
        asyncio.run(self.orders.round(0.0))

    def select(self) -> Lease | None:
        return self.scheduler.select("mixed", REQUEST)

    def lose(self, url: str) -> None:
        self.probes.note(url, Probe(0.1, well=False, status=503))
        self.members.judge(url, False, self.now, served=True)

    def state(self, url: str) -> str | None:
        return next((state for each, state, _ in self.states.all() if each == url), None)

    def since(self, url: str) -> float:
        return next(since for each, _, since in self.states.all() if each == url)

    def why(self, url: str) -> str:
        state: Any = self.state(url)
        return self.states.why(url, state, 0)


def test_a_drained_worker_is_never_chosen_not_even_as_the_last() -> None:
    scene = Scene(2)
    first, second = scene.urls
    scene.orders.drain(first)
    leases = [scene.select() for _ in range(4)]
    assert {lease.url for lease in leases if lease} == {second}
    scene.orders.eject(second)
    assert scene.select() is None
    assert scene.scheduler.count("mixed") == 0
    assert scene.members.missing() == "every mixed worker is taken out by order"
    assert scene.registry.counts()["mixed"] == 2
    scene.orders.undrain(first)
    assert scene.members.missing() is None
    assert (lease := scene.select()) is not None
    assert lease.url == first


def test_draining_until_the_last_lease_is_back() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    lease = scene.select()
    assert lease is not None
    scene.now = 5.0
    scene.orders.drain(url)
    assert (scene.state(url), scene.since(url)) == ("draining", 1005.0)
    scene.pass_time(10)
    assert scene.state(url) == "draining"
    lease.release()
    scene.pass_time(1)
    assert (scene.state(url), scene.since(url)) == ("drained", 1016.0)
    scene.orders.drain(url)
    assert scene.since(url) == 1016.0, "the same again changes nothing"


@pytest.mark.parametrize("what", ["drain", "eject"])
def test_neither_heartbeats_nor_loss_and_return_undo_an_order(what: str) -> None:
    scene = Scene(2, forget_after_secs=10.0)
    first, second = scene.urls
    getattr(scene.orders, what)(first)
    state = "drained" if what == "drain" else "ejected"
    for _ in range(10):
        scene.join(0)
        assert scene.state(first) == state
    scene.lose(first)
    scene.lose(second)
    assert scene.why(first) == "by order; its probes fail: status 503"
    for _ in range(5):
        scene.pass_time(10)
        scene.members.judge(first, False, scene.now, served=False)
        scene.members.judge(second, False, scene.now, served=False)
    assert scene.state(first) == state, "who is taken out is not forgotten"
    assert scene.state(second) is None
    assert scene.gone[-1] == second
    scene.members.judge(first, True, scene.now, served=False)
    assert scene.state(first) == state
    assert first in scene.registry
    assert scene.select() is None


def test_with_the_go_router_s_way_of_forgetting_too() -> None:
    scene = Scene(2, forget_after_secs=0.0)
    first, second = scene.urls
    scene.orders.drain(first)
    for url in scene.urls:
        scene.lose(url)
    assert scene.state(first) == "drained"
    assert not scene.members.knows(second)


def test_a_removed_worker_stays_away_while_it_registers() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    assert not scene.orders.refuses(url)
    scene.orders.drain(url, remove=True)
    assert not scene.members.knows(url)
    for _ in range(30):
        scene.pass_time(5)
        assert scene.orders.refuses(url)
    assert scene.state(url) == "drained"
    after = Scene(0)
    after.orders.restore(scene.orders.kept())
    after.orders.settle()
    assert after.orders.refuses(url), "the next process knows it, too"
    assert after.state(url) == "drained"
    scene.pass_time(REMOVED_SECS)
    assert scene.state(url) is None
    assert not scene.orders.refuses(url)
    scene.join(0)
    assert scene.state(url) == "up"
    assert scene.select() is not None


@pytest.mark.parametrize("source", ["register", "cluster"])
@pytest.mark.parametrize("well", [True, False])
def test_a_worker_that_is_removed_while_it_registers_stays_away(source: Source, *, well: bool) -> None:
    """Its heartbeat is at the gate, and waits for the probe, when its last request ends."""
    scene = Scene(1)
    (url,) = scene.urls
    (instance,) = scene.registry.all()

    class Prober:
        async def verdict(self, *_: object) -> tuple[bool, Probe]:
            scene.orders.drain(url, remove=True)
            return well, Probe(0.1, well=well, status=200)

    async def arrive(admission: Admission) -> None:
        if source == "register":
            await admission.register(orjson.dumps(to_body(instance)), "")
        else:
            newer = orjson.loads(orjson.dumps(to_body(replace(instance, models=("other",)))))
            with pytest.raises(RegistrationError, match="was removed by order"):
                await admission.admit_of_cluster(url, newer)

    asyncio.run(arrive(scene.admission(Prober())))
    assert not scene.members.knows(url)
    assert scene.orders.refuses(url)
    assert scene.state(url) == "drained"


def test_a_worker_that_leaves_by_other_means_has_no_order() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.drain(url)
    scene.members.leave(url)
    scene.orders.left(url)
    assert scene.orders.urls() == []
    scene.join(0)
    assert scene.state(url) == "up"


def test_orders_that_do_not_fit() -> None:
    scene = Scene(2)
    first, second = scene.urls
    for give in (scene.orders.drain, scene.orders.eject, scene.orders.undrain, scene.orders.readmit):
        with pytest.raises(UnknownWorkerError, match="http://nobody is not registered"):
            give("http://nobody")
    scene.orders.drain(first)
    scene.orders.eject(second)
    with pytest.raises(OrderConflictError, match="drained already"):
        scene.orders.eject(first)
    with pytest.raises(OrderConflictError, match="/workers/undrain"):
        scene.orders.readmit(first)
    with pytest.raises(OrderConflictError, match="/workers/readmit"):
        scene.orders.undrain(second)
    scene.orders.drain(second)
    assert scene.state(second) == "drained", "who is ejected may be drained"


def test_an_ejected_worker_is_readmitted() -> None:
    scene = Scene(2, eject_after_failures=2)
    first, _ = scene.urls
    for _ in range(2):
        scene.conduct.failed(first, "reset_before_head")
    assert scene.state(first) == "ejected"
    assert "2 requests in a row failed, the last by reset_before_head; out for" in scene.why(first)
    assert (first, "mixed", False) in scene.members.up()
    scene.orders.readmit(first)
    assert (scene.state(first), scene.conduct.of(first)) == ("up", None)


def test_a_worker_on_probation_is_readmitted_by_its_next_probe() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    for _ in range(3):
        scene.lose(url)
        scene.now += 400
        scene.members.judge(url, True, scene.now, served=False)
        assert scene.state(url) == "up"
    for _ in range(3):
        scene.lose(url)
        scene.members.judge(url, True, scene.now, served=False)
    assert scene.state(url) == "probation", "it comes and goes"
    scene.orders.readmit(url)
    scene.members.judge(url, True, scene.now, served=False)
    assert scene.state(url) == "up"


def test_who_is_taken_out_is_no_reserve_of_the_fleet() -> None:
    """Of three with one drained, the other two cannot both be spared."""
    scene = Scene(3, eject_after_failures=1)
    first, second, third = scene.urls
    scene.conduct.failed(first, "reset_before_head")
    assert scene.state(first) == "ejected"
    scene.orders.drain(second)
    scene.orders.drain(third)
    assert scene.state(first) == "up", "nobody else is left"


def test_orders_outlive_a_process() -> None:
    before = Scene(3)
    first, second, third = before.urls
    before.orders.drain(first, remove=False)
    before.orders.eject(second)
    after = Scene(0)
    kept: dict[str, Any] = dict(before.orders.kept())
    kept["http://nonsense"] = {"order": "sing"}
    kept["http://stranger"] = {"order": "drain", "given": 1, "remove": True, "removed": None}
    kept["http://broken"] = {"order": "drain", "given": 1, "remove": True, "removed": {"role": 7}}
    after.orders.restore(kept)
    for number in range(3):
        after.join(number)
    after.orders.settle()
    assert set(after.orders.urls()) == {first, second}, "of whom nobody knows, nothing is ordered"
    after.pass_time(1)
    assert [after.state(url) for url in (first, second, third)] == ["drained", "ejected", "up"]


def test_orders_are_bounded() -> None:
    scene = Scene(0, max_workers=2)
    urls = []
    for number in range(5):
        urls.append(scene.join(number))
        scene.orders.drain(urls[-1], remove=True)
    assert len(scene.orders.urls()) == 2
    assert [scene.orders.refuses(url) for url in urls] == [False, False, False, True, True]


def test_a_worker_that_stays_does_not_make_room() -> None:
    scene = Scene(2, max_workers=2)
    first, second = scene.urls
    scene.orders.drain(first)
    scene.lose(first)
    with pytest.raises(RegistrationError, match="2 workers are registered"):
        scene.join(2)
    scene.orders.undrain(first)
    scene.join(2)
    assert scene.state(first) is None
    assert scene.state(second) == "up"


def test_states_of_a_worker_of_the_register_file() -> None:
    scene = Scene(0, forget_after_secs=1.0)
    instance = Instance("mixed", "127.0.0.1", 8000)
    scene.members.await_first(instance, scene.now)
    scene.members.of_file(instance.url, "engine")
    assert scene.state(instance.url) == "unready"
    assert scene.why(instance.url) == "named by the register file, and not up yet: not probed yet"
    for _ in range(5):
        scene.now += 10
        scene.probes.note(instance.url, Probe(0.1, well=False, kind="refused", why="refused"))
        scene.members.judge(instance.url, False, scene.now, served=False)
    assert scene.why(instance.url) == "named by the register file, and not up yet: refused"
    assert scene.members.registered() == []
    scene.members.judge(instance.url, True, scene.now, served=False)
    assert (scene.state(instance.url), scene.since(instance.url)) == ("up", 1050.0)
    scene.lose(instance.url)
    assert (scene.state(instance.url), scene.why(instance.url)) == ("probation", "status 503")
    scene.members.drop(instance.url)
    assert scene.state(instance.url) is None
    scene.members.drop(instance.url)


def test_who_registered_as_well_stays_when_the_file_names_it_no_more() -> None:
    scene = Scene(0)
    file = Instance("mixed", "127.0.0.1", 8000)
    scene.members.admit(file, scene.now, "file")
    scene.members.of_file(file.url, None)
    assert scene.members.registered() == []
    assert scene.members.source(file.url) == "file"
    scene.join(0)
    assert [each.url for each in scene.members.registered()] == [file.url]
    scene.members.drop(file.url)
    assert (scene.state(file.url), scene.members.source(file.url)) == ("up", "register")


def test_who_refuses_for_load_is_unready() -> None:
    scene = Scene(2)
    first, _ = scene.urls
    head: Any = SimpleNamespace(status=429, headers=[(b"retry-after", b"7")])
    scene.conduct.answered(first, head)
    assert scene.state(first) == "unready"
    assert scene.why(first) == "a request was answered 429; passed over for 7.0 s more"


def test_probes_of_strangers_are_not_kept() -> None:
    counted: list[tuple[str, bool]] = []
    metrics: Any = SimpleNamespace(probe=lambda *probe: counted.append(probe))
    probes = LastProbes(lambda url: url == "http://known", metrics, lambda: 7.0)
    for url in ("http://stranger", "http://known"):
        probes.note(url, Probe(0.1, well=True))
    assert probes.of("http://stranger") is None
    assert probes.of("http://known") == (7.0, Probe(0.1, well=True))
    assert counted == [("", True), ("http://known", True)], "whoever asks to register makes no series"


def test_what_the_file_takes_out_or_moves_keeps_no_order_behind() -> None:
    scene = Scene(1)
    scene.members.on_dropped = scene.orders.dropped
    here, there = (Instance("mixed", host, 9000) for host in ("127.0.0.1", "127.0.0.2"))
    scene.members.admit(here, scene.now, "file")
    scene.members.of_file(here.url, "engine")
    scene.orders.drain(here.url)
    scene.members.drop(here.url, there.url)
    scene.members.admit(there, scene.now, "file")
    scene.members.of_file(there.url, "engine")
    scene.pass_time(1.0)
    assert (scene.state(here.url), scene.state(there.url)) == (None, "drained")
    assert {lease.url for lease in (scene.select(), scene.select()) if lease} == set(scene.urls)
    scene.members.drop(there.url)
    assert (scene.orders.urls(), scene.state(there.url)) == ([], None)


def test_the_file_is_no_sign_of_life_of_a_removed_worker() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.drain(url, remove=True)
    scene.pass_time(1.0)
    for _ in range(2):
        assert scene.orders.refuses(url, own=False)
        scene.pass_time(REMOVED_SECS / 2)
    assert not scene.orders.refuses(url, own=False)


def test_a_heartbeat_does_not_undo_the_models_of_the_file() -> None:
    scene = Scene(0)
    of_file = Instance("mixed", "127.0.0.1", 9000, models=("name",))
    scene.members.admit(of_file, scene.now, "file")
    scene.members.of_file(of_file.url, None, of_file.models)
    scene.members.admit(replace(of_file, models=None), scene.now)
    assert scene.registry.models.of(of_file.url) == ("name",)
    scene.members.admit(replace(of_file, models=("own",)), scene.now)
    assert scene.registry.models.of(of_file.url) == ("own",)


def test_an_order_of_another_replica() -> None:
    scene, other = Scene(2), Scene(2)
    first, second = scene.urls
    scene.orders.drain(first, remove=True)
    scene.orders.eject(second)
    kept = scene.orders.kept()
    for url in (first, second):
        other.orders.take(url, kept[url])
    assert (other.state(first), other.state(second)) == ("drained", "ejected")
    assert not other.members.knows(first), "removed there, and so here"
    assert other.orders.refuses(first)
    assert other.orders.kept()[second] == kept[second]
    other.orders.take(second, None)
    assert other.state(second) == "up"
    other.orders.take(second, {"order": "dance"})
    other.orders.take("http://127.0.0.1:1", None)
    assert other.orders.urls() == [first]


def test_drained_is_who_has_nothing_under_way_at_any_replica() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.elsewhere = lambda: {url: 1}
    scene.orders.drain(url)
    scene.pass_time(60)
    assert scene.state(url) == "draining"
    scene.orders.elsewhere = dict
    scene.pass_time(1)
    assert scene.state(url) == "drained"


def test_others_have_time_to_hear_of_an_order() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.hearsay_secs = lambda: 2.0
    scene.orders.drain(url, remove=True)
    scene.pass_time(1)
    assert scene.state(url) == "draining"
    scene.pass_time(1)
    assert scene.state(url) == "drained"
    assert not scene.members.knows(url)


def test_a_removed_worker_that_others_hear_stays_out() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.drain(url, remove=True)
    for _ in range(4):
        scene.pass_time(REMOVED_SECS / 2)
        scene.orders.heard(url)
    assert scene.orders.urls() == [url]
    scene.pass_time(REMOVED_SECS)
    assert scene.orders.urls() == []


def test_what_others_have_ordered_is_not_ended_for_want_of_the_worker() -> None:
    scene = Scene(1)
    (url,) = scene.urls
    scene.orders.take("http://127.0.0.1:1", {"order": "drain", "given": 1, "remove": False, "removed": None})
    scene.orders.drain(url)
    scene.orders.shared = lambda _: True
    scene.orders.settle()
    assert len(scene.orders.urls()) == 2
    scene.orders.shared = lambda _: False
    scene.orders.settle()
    assert scene.orders.urls() == [url]
