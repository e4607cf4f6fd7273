"""What outlives a process is whole, and comes back as it was."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.config import LogConfig
from fd_router.fleet.registration import instance_from_mapping
from fd_router.fleet.registration.fields import FIELDS
from fd_router.observe.logs import Log
from fd_router.state import registrations
from fd_router.state.registrations import Registrations, decode, encode
from fd_router.state.store import FileStore, MemoryStore
from fd_router.types import Instance
from rig import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCES = [
    Instance("prefill", "10.0.0.1", 8000),
    Instance("decode", "[2001:db8::1]", 8001, "https", metrics_port="9"),
    Instance(
        "prefill",
        "10.0.0.2",
        8000,
        "https",
        "1",
        "2",
        ("ipc", "rdma"),
        ("3", "4"),
        ("0", "1"),
        "5",
        2,
        9,
        "2.5",
        ("m", "n"),
        ("/tokenize",),
    ),
    Instance("decode", "10.0.0.3", 8000, transfer_protocol=(), rdma_ports=(), device_ids=()),
]


ORDERS = {"http://10.0.0.1:8000": {"order": "drain", "given": 1.5, "remove": False}}


@pytest.fixture
def memory() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


def test_instances_come_back_as_they_were() -> None:
    back = [instance_from_mapping(body, splitwise=True) for body in decode(encode(INSTANCES, {}))[0]]
    # A worker without a metrics port has its own from then on, as registering does.
    assert back == [
        replace(instance, metrics_port=instance.metrics_port or str(instance.port)) for instance in INSTANCES
    ]


def test_every_field_of_a_registration_is_kept() -> None:
    """The third instance sends them all."""
    ((body,), _) = decode(encode(INSTANCES[2:3], {}))
    assert tuple(sorted(body)) == tuple(sorted(FIELDS))


def test_orders_are_kept_and_older_files_have_none() -> None:
    assert decode(encode([], ORDERS)) == ([], ORDERS)
    assert decode(b'{"version":1,"workers":[1]}') == ([1], {})


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b'{"version":2,"workers":[]}', b'{"version":1,"workers":3}', b'{"version":1'],
)
def test_what_is_no_such_document_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's own error is one
        decode(data)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "b" / "state.json")
    assert store.read() is None
    for data in (b"one", b"", b"three"):
        store.write(data)
        assert store.read() == data
    (tmp_path / "a" / "b" / ".state.json.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.write(b"four")
    assert store.read() == b"three"


def test_a_file_is_for_its_user_only_and_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    folder = tmp_path / "state"
    folder.mkdir()
    for name in (".state.json.new", "state.json"):
        (folder / name).symlink_to(elsewhere)
    FileStore(folder / "state.json").write(b"one")
    assert elsewhere.read_bytes() == b"untouched"
    assert (folder / "state.json").stat(follow_symlinks=False).st_mode == stat.S_IFREG | 0o600
    assert [each.name for each in folder.iterdir()] == ["state.json"]


def test_what_a_writer_left_that_died_at_it_goes(tmp_path: Path) -> None:
    left = tmp_path / ".state.json.new"
    left.write_bytes(b"half a p")

    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise OSError(errno.ENOSPC, "full")

    store = FileStore(tmp_path / "state.json")
    with pytest.raises(OSError, match="full"):
        store.write_pieces(pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_of_the_process_that_wrote_there_first(tmp_path: Path) -> None:
    """As long as it lives; its own files are not in each other's way, and others may read."""
    first = FileStore(tmp_path / "state.json")
    first.write(b"one")
    first.beside("snapshot").write(b"two")
    second = FileStore(tmp_path / "state.json")
    for _ in range(2):
        with pytest.raises(OSError, match="another router writes here"):
            second.write(b"three")
    assert second.read() == b"one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["snapshot", "state.json"]


def test_memory_keeps_the_last_piece(memory: MemoryStore) -> None:
    assert memory.read() is None
    for data in (b"one", b"", b"x" * 1_000_000, b"four"):
        memory.write(data)
        assert memory.read() == data


@pytest.mark.parametrize("torn", [b"", b"\0" * 8, b"\xff" * 100])
def test_a_writer_that_dies_at_it_leaves_the_piece_before(memory: MemoryStore, torn: bytes) -> None:
    memory.write(b"one")
    memory.write(b"two")
    for slot in memory._slots:
        if b"two" in os.pread(slot, 100, 0):
            os.ftruncate(slot, 0)
            os.pwrite(slot, torn, 0)
    assert memory.read() == b"one"
    memory.write(b"three")
    assert memory.read() == b"three"


def _write(store: MemoryStore) -> None:
    store.write(b"from a child")


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_memory_is_shared_with_a_process_however_it_is_made(memory: MemoryStore, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=_write, args=(memory,))
    child.start()
    child.join(30)
    assert memory.read() == b"from a child"


class Broken:
    """A store that fails so often."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.pieces: list[bytes] = []

    def read(self) -> bytes | None:
        raise OSError("broken")

    def write(self, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("full")
        self.pieces.append(data)


def run(scene: Any, store: Broken) -> str:
    lines: list[str] = []
    log = Log(LogConfig())
    log.error = lambda message, tags="", **facts: lines.append(message)

    async def all_of_it() -> None:
        await scene(Registrations(store, lambda: INSTANCES[:1], lambda: ORDERS, log))

    asyncio.run(all_of_it())
    log.close()
    return "\n".join(lines)


def test_nothing_is_written_before_all_are_back() -> None:
    store = Broken(0)

    async def scene(kept: Registrations) -> None:
        kept.changed()
        await asyncio.sleep(0.05)
        assert store.pieces == []
        kept.begin()
        for _ in range(10):
            kept.changed()
        await kept.close()

    assert run(scene, store) == ""
    assert 1 <= len(store.pieces) <= 2


def test_what_cannot_be_kept_is_told_once() -> None:
    store = Broken(2)

    async def scene(kept: Registrations) -> None:
        assert kept.load() == ([], {})
        kept.begin()
        for _ in range(3):
            kept.changed()
            await kept.close()

    told = run(scene, store)
    assert told.count("registrations that were kept cannot be read: broken") == 1
    assert told.count("registrations cannot be kept: full") == 1
    assert len(store.pieces) == 1


def test_what_could_not_be_kept_is_kept_once_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has to change for that, and the end does not wait for it."""
    monkeypatch.setattr(registrations, "AGAIN_SECS", 0.01)
    store = Broken(2)

    async def scene(kept: Registrations) -> None:
        kept.begin()
        kept.changed()
        await asyncio.to_thread(wait_for, lambda: store.pieces)
        store.failures = 10**9
        kept.changed()
        await asyncio.wait_for(kept.close(), 10)

    assert run(scene, store).count("registrations cannot be kept: full") == 2
    assert len(store.pieces) == 1
