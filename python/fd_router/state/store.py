"""Where bytes are kept that outlive a process: in a folder, or in memory that the supervisor holds.

Either way a reader finds the last whole piece that was written, and never half of one: whoever writes may die at it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
import threading
import zlib
from contextlib import suppress
from multiprocessing import reduction
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEAD = struct.Struct("<QQL")
"""Number of the piece, its length, and the CRC-32 of both and of the bytes that follow."""


class Store(Protocol):
    """Keeps one piece of bytes."""

    def read(self) -> bytes | None:
        """The last piece, None if there is none. Raises `OSError`."""

    def write(self, data: bytes) -> None:
        """Replace it. One call at a time. Raises `OSError`, and then keeps the one before."""


class _Claim:
    """A folder into which one process at a time writes: the first to do so, as long as it lives.

    Another one would leave files of both there, in turn. The kernel lets go of what a process held, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._taken = False

    def take(self) -> None:
        """Make the folder, and keep it from others. Raises `OSError` where another process has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._turn:
            self._taken = self._taken or self._lock()

    def _lock(self) -> bool:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(folder)
            if error.errno == errno.EWOULDBLOCK:
                raise OSError(errno.EBUSY, "another router writes here", str(self._folder)) from None
            # A file system that has no locks on folders is as good as any other for one router.
        return True


class FileStore:
    """A file, which outlives the router, for the eyes of its user only. The folder is made when it is needed."""

    def __init__(self, path: Path, claim: _Claim | None = None) -> None:
        self._path = path
        self._claim = claim or _Claim(path.parent)

    def __reduce__(self) -> Any:
        return FileStore, (self._path,)

    def beside(self, name: str) -> FileStore:
        """Another file in the folder."""
        return FileStore(self._path.with_name(name), self._claim)

    def read(self, limit: int | None = None) -> bytes | None:
        """See `Store.read`. Raises `OSError` for a file of more than `limit` bytes, too."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return file.read()
        return None

    def write(self, data: bytes) -> None:
        """See `Store.write`."""
        self.write_pieces([data])

    def write_pieces(self, pieces: Iterable[bytes]) -> int:
        """The same, of data that is made meanwhile. Returns its bytes; whatever goes wrong, nothing is left over."""
        self._claim.take()
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            # Of a process that died at it, or a link to somewhere else: never written into.
            fresh.unlink(missing_ok=True)
            with open(fresh, "xb", opener=_private) as file:
                size = sum(map(file.write, pieces))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        return size


class MemoryStore:
    """Memory behind two descriptors, which are written in turn. It lives as long as a process has them.

    To be made in the supervisor; a worker process inherits it, or has it sent by `multiprocessing`.
    """

    def __init__(self) -> None:
        self._slots = [_memory(f"fd-router-{number}") for number in range(2)]

    def __getstate__(self) -> Any:
        return [reduction.DupFd(slot) for slot in self._slots]

    def __setstate__(self, state: Any) -> None:
        self._slots = [slot.detach() for slot in state]

    def read(self) -> bytes | None:
        """See `Store.read`."""
        return self._newest()[1]

    def write(self, data: bytes) -> None:
        """See `Store.write`."""
        number = self._newest()[0] + 1
        slot = self._slots[number % 2]
        head = _HEAD.pack(number, len(data), _check(number, data))
        os.ftruncate(slot, 0)
        _write_all(slot, data, _HEAD.size)
        _write_all(slot, head, 0)

    def _newest(self) -> tuple[int, bytes | None]:
        return max((_read_slot(slot) for slot in self._slots), key=lambda found: found[0])

    def close(self) -> None:
        """Give the descriptors back."""
        for slot in self._slots:
            os.close(slot)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _memory(name: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _read_slot(slot: int) -> tuple[int, bytes | None]:
    """The number of the piece in a slot, and the piece; 0 for one that was never written to its end."""
    size = os.fstat(slot).st_size
    whole = os.pread(slot, size, 0)
    if len(whole) < _HEAD.size:
        return 0, None
    number, length, check = _HEAD.unpack_from(whole)
    data = whole[_HEAD.size :]
    return (number, data) if len(data) == length and check == _check(number, data) else (0, None)


def _check(number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<QQ", number, len(data))))


def _write_all(slot: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(slot, rest, at)
        at += done
        rest = rest[done:]
