"""The part of the FUSE protocol that the recorder needs, spoken with the kernel over /dev/fuse without a library.

The layouts are those of <linux/fuse.h>, protocol 7.31. Requests are answered in any order; each names its answer by `unique`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

DEVICE = Path("/dev/fuse")
_BUFFER_BYTES = (1 << 20) + 4096
_MNT_DETACH = 2
_HEADER_IN = struct.Struct("<IIQQIIIHH")
_HEADER_OUT = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_BLOCK_BYTES = 4096
_CACHED_S = 1 << 30  # only the kernel changes the tree, so what it has cached stays true
_KEEP_CACHE = 2
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BATCH_FORGET = 42
    RENAME2 = 45


UNANSWERED = (Opcode.FORGET, Opcode.INTERRUPT, Opcode.BATCH_FORGET)


class Request(NamedTuple):
    opcode: int
    unique: int
    ino: int
    pid: int
    body: memoryview

    def text(self, start: int = 0) -> list[str]:
        """The file names in the body from `start` on."""
        return [os.fsdecode(each) for each in bytes(self.body[start:]).split(b"\0")[:-1]]

    def unpack(self, layout: str) -> tuple[int, ...]:
        """The integers at the start of the body."""
        return struct.unpack_from(layout, self.body)


class Attributes(NamedTuple):
    ino: int
    mode: int
    links: int
    size_bytes: int
    mtime_ns: int

    def pack(self) -> bytes:
        seconds, nanos = divmod(self.mtime_ns, 10**9)
        blocks = -(-self.size_bytes // 512)
        times = (seconds, seconds, seconds, nanos, nanos, nanos)
        owner = (os.getuid(), os.getgid())
        return _ATTRIBUTES.pack(self.ino, self.size_bytes, blocks, *times, self.mode, self.links, *owner, 0, _BLOCK_BYTES, 0)


class Mount:
    """A FUSE file system at `place`. For one thread."""

    def __init__(self, place: Path) -> None:
        """Mounts it. Raises OSError without /dev/fuse or without the right to mount."""
        self._place = os.fsencode(place.resolve())
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._device = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},max_read=1048576"
        if self._libc.mount(b"powerfail", self._place, b"fuse", 0, options.encode()):
            number = ctypes.get_errno()
            os.close(self._device)
            raise OSError(number, os.strerror(number), str(place))
        self._poll = select.poll()
        self._poll.register(self._device, select.POLLIN)

    def receive(self, timeout_s: float) -> Request | None:
        """Returns the next request, or None when there is none within `timeout_s`. Raises EOFError after an unmount."""
        self._poll.poll(timeout_s * 1000)
        try:
            raw = os.read(self._device, _BUFFER_BYTES)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise EOFError from error
            if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT):  # ENOENT: the request was taken back
                return None
            raise
        length, opcode, unique, ino, _, _, pid, _, _ = _HEADER_IN.unpack_from(raw)
        return Request(opcode, unique, ino, pid, memoryview(raw)[_HEADER_IN.size : length])

    def answer(self, unique: int, body: bytes, error: int = 0) -> None:
        """Answers a request. Does nothing when its process was killed meanwhile."""
        try:
            os.write(self._device, _HEADER_OUT.pack(_HEADER_OUT.size + len(body), -error, unique) + body)
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def close(self) -> None:
        """Unmounts it, also while files are open."""
        self._libc.umount2(self._place, _MNT_DETACH)
        os.close(self._device)


def initialized(request: Request) -> bytes:
    """The answer to INIT: writes of up to 1 MiB, no cache of written data in the kernel."""
    _, minor, readahead, flags = request.unpack("<IIII")
    wanted = flags & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
    body = struct.pack("<IIIIHHIIHHII", 7, min(minor, 31), readahead, wanted, 64, 48, 1 << 20, 1, 256, 0, 0, 0)
    return body.ljust(64, b"\0")


def entry(attributes: Attributes) -> bytes:
    """The answer to what makes or looks up a name."""
    return struct.pack("<QQQQII", attributes.ino, 0, _CACHED_S, _CACHED_S, 0, 0) + attributes.pack()


def attributed(attributes: Attributes) -> bytes:
    return struct.pack("<QII", _CACHED_S, 0, 0) + attributes.pack()


def opened() -> bytes:
    return struct.pack("<QII", 0, _KEEP_CACHE, 0)


def opened_directory() -> bytes:
    return struct.pack("<QII", 0, 0, 0)


def written(size_bytes: int) -> bytes:
    return struct.pack("<II", size_bytes, 0)


def file_system() -> bytes:
    """The answer to STATFS: 16 GiB, all free."""
    blocks, files = 1 << 22, 1 << 20
    layout = struct.pack("<QQQQQIIII", blocks, blocks, blocks, files, files, _BLOCK_BYTES, 255, _BLOCK_BYTES, 0)
    return layout.ljust(80, b"\0")


def listing(entries: list[tuple[str, int, int]], offset: int, size_bytes: int) -> bytes:
    """The entries (name, inode, mode) after the first `offset`, as many as fit."""
    found = bytearray()
    for place, (name, ino, mode) in enumerate(entries[offset:], start=offset + 1):
        raw = os.fsencode(name)
        packed = struct.pack("<QQII", ino, place, len(raw), stat.S_IFMT(mode) >> 12) + raw
        packed += bytes(-len(packed) % 8)
        if len(found) + len(packed) > size_bytes:
            break
        found += packed
    return bytes(found)
