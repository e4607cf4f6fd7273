"""Names of the register file: what is one, where it leads to, and what becomes of a worker that moves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fd_router.errors import RegistrationError
from fd_router.fleet import register_file
from fd_router.fleet.register_file import RegisterFile, resolve
from fd_router.fleet.registration import host_name, instance_from_mapping, with_host
from fd_router.observe.logs.lasting import Lasting

if TYPE_CHECKING:
    from pathlib import Path

    from fd_router.types import Instance


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("engine-1", "engine-1"),
        ("engine-1.fleet.svc.cluster.local.", "engine-1.fleet.svc.cluster.local."),
        ("https://engine", "engine"),
        ("http://Engine_1.example", "Engine_1.example"),
        ("10.0.0.5", None),
        ("::1", None),
        ("[::1]", None),
        ("10.0.0.300", None),
        ("1.2.3", None),
        ("a b", None),
        ("a..b", None),
        ("-a", None),
        ("http://", None),
        ("engine:80", None),
        ("user@engine", None),
        ("engine/path", None),
        ("x" * 64 + ".example", None),
        (5, None),
        (None, None),
    ],
)
def test_what_is_a_name(sent: object, name: str | None) -> None:
    entry = {"role": "mixed", "Host_IP": sent, "port": 80}
    assert host_name(entry) == name
    if name is None:
        assert with_host(entry, "10.0.0.1") == entry
    else:
        instance = instance_from_mapping(with_host(entry, "10.0.0.1"), splitwise=False)
        assert (instance.host, instance.scheme) == ("10.0.0.1", "https" if "https" in str(sent) else "http")


def test_what_is_no_mapping_has_no_name() -> None:
    assert host_name(["host_ip"]) is None
    assert with_host("x", "10.0.0.1") == "x"


def test_the_resolver_prefers_ipv4() -> None:
    assert asyncio.run(resolve("localhost"))[0] == "127.0.0.1"


class Fleet:
    """Admission and members in one; `well` are the urls that are let in, of others it is known what they are."""

    def __init__(self) -> None:
        self.registry: set[str] = set()
        self.known: set[str] = set()
        self.well: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []

    async def admit_of_file(self, instance: Instance, name: str | None) -> None:
        self.asked.append((instance.url, name))
        self.known.add(instance.url)
        if instance.url not in self.well:
            raise RegistrationError(503, f"{instance.url} service is not healthy")
        self.registry.add(instance.url)

    def knows(self, url: str) -> bool:
        return url in self.known

    def drop(self, url: str, to: str | None = None) -> None:
        self.known.discard(url)
        self.registry.discard(url)


class Names:
    """A resolver that the test tells the truth."""

    def __init__(self) -> None:
        self.addresses: list[str] | OSError = []
        self.asked = 0

    async def resolve(self, _name: str) -> list[str]:
        self.asked += 1
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses


def test_a_worker_moves_with_its_name_while_it_is_away(tmp_path: Path) -> None:
    path = tmp_path / "register.yaml"
    path.write_text(yaml.safe_dump({"instances": [{"role": "mixed", "host_ip": "engine", "port": 80}]}))
    fleet, names, errors, overs = Fleet(), Names(), list[str](), list[str]()
    log: Any = SimpleNamespace(info=lambda _: None, error=errors.append, lasting=Lasting(overs.append))
    double: Any = fleet
    file = RegisterFile(str(path), double, double, log, splitwise=False, resolver=names.resolve)
    one, two = "http://10.0.0.1:80", "http://10.0.0.2:80"

    async def scene() -> None:
        names.addresses = OSError("no such name")
        for _ in range(3):
            await file.round()
        assert errors == ["Failed to register instance from index 0: no such name"], "told once"
        assert fleet.known == set()
        names.addresses = ["10.0.0.1", "10.0.0.2"]
        await file.round()
        assert (fleet.known, fleet.registry) == ({one}, set())
        assert fleet.asked == [(one, "engine")]
        asked = names.asked
        await file.round()
        assert names.asked > asked, "it is not in service"
        assert len(fleet.asked) == 1, "the monitor's probes will tell when it is"
        (over,) = overs
        assert "over: instance 0 of the register file cannot be registered; " in over
        fleet.registry.add(one)
        asked = names.asked
        await file.round()
        assert names.asked == asked, "nobody moves who serves"
        fleet.registry.clear()
        names.addresses = ["10.0.0.2", "10.0.0.1"]
        await file.round()
        assert fleet.known == {one}, "its address is one of the name's still"
        names.addresses = ["10.0.0.2"]
        fleet.well.add(two)
        await file.round()
        assert (fleet.known, fleet.registry) == ({two}, {two})
        names.addresses = []
        fleet.registry.clear()
        await file.round()
        assert fleet.known == {two}, "without an address it stays where it was"
        path.write_text("instances: []")
        await file.round()
        assert fleet.known == set()

    asyncio.run(scene())


def test_a_file_that_was_emptied_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "register.yaml"
    text = yaml.safe_dump({"instances": [{"role": "mixed", "host_ip": "10.0.0.1", "port": 80}]})
    path.write_text(text)
    fleet, errors, overs = Fleet(), list[str](), list[str]()
    fleet.well.add("http://10.0.0.1:80")
    log: Any = SimpleNamespace(info=lambda _: None, error=errors.append, lasting=Lasting(overs.append))
    double: Any = fleet
    file = RegisterFile(str(path), double, double, log, splitwise=False)

    async def scene() -> None:
        await file.round()
        path.write_text("")  # as `> file` does before it writes
        for _ in range(3):
            await file.round()
        assert fleet.registry == fleet.well
        assert len(errors) == 1
        assert overs == []
        fleet.drop("http://10.0.0.1:80")  # unregistered
        path.write_text(text + "# changed")
        await file.round()
        assert fleet.registry == fleet.well, "a change of the file brings it back"
        (over,) = overs
        assert "over: the register file cannot be used; " in over
        assert over.endswith(", and was met 3 times")
        path.write_text("instances: []")
        await file.round()
        assert fleet.registry == set()

    asyncio.run(scene())


def test_an_entry_with_a_mistake_takes_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "register.yaml"
    entry = {"role": "mixed", "host_ip": "engine", "port": 80}
    path.write_text(yaml.safe_dump({"instances": [entry]}))
    fleet, names, errors, overs = Fleet(), Names(), list[str](), list[str]()
    fleet.well |= {"http://10.0.0.1:80", "http://10.0.0.2:80"}
    names.addresses = ["10.0.0.1"]
    log: Any = SimpleNamespace(info=lambda _: None, error=errors.append, lasting=Lasting(overs.append))
    double: Any = fleet
    file = RegisterFile(str(path), double, double, log, splitwise=False, resolver=names.resolve)

    async def scene() -> None:
        await file.round()
        path.write_text(yaml.safe_dump({"instances": [{**entry, "models": "no list"}]}))
        for _ in range(3):
            await file.round()
        assert fleet.registry == {"http://10.0.0.1:80"}
        assert len(errors) == 1, "told once"
        names.addresses = OSError("not now")
        path.write_text(yaml.safe_dump({"instances": [{**entry, "models": ["m"]}]}))
        await file.round()
        assert fleet.registry == {"http://10.0.0.1:80"}
        names.addresses = ["10.0.0.2"]
        await file.round()
        assert fleet.registry == {"http://10.0.0.2:80"}, "it says so when it can be made out"

    asyncio.run(scene())


def test_names_that_are_slow_do_not_keep_others_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_file, "RESOLVE_SECS", 0.05)
    path = tmp_path / "register.yaml"
    hosts = ["slow-1", "slow-2", "good"]
    entries = [{"role": "mixed", "host_ip": host, "port": 80} for host in hosts]
    path.write_text(yaml.safe_dump({"instances": entries}))
    fleet = Fleet()
    fleet.well.add("http://10.0.0.1:80")
    log: Any = SimpleNamespace(info=lambda _: None, error=lambda _: None, lasting=Lasting(print))
    double: Any = fleet

    async def scene() -> None:
        slot = asyncio.Semaphore(1)  # as a resolver with few threads has it

        async def resolver(name: str) -> list[str]:
            async with slot:
                if name == "good":
                    return ["10.0.0.1"]
                await asyncio.sleep(0.12)
                raise OSError("no such name")

        file = RegisterFile(str(path), double, double, log, splitwise=False, resolver=resolver)
        for _ in range(20):
            await file.round()
        assert fleet.registry == fleet.well

    asyncio.run(scene())
