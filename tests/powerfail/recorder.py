"""`python -m tests.powerfail.recorder MOUNTPOINT LOG`: a file system in memory that logs every change and every sync.

One thread answers all requests, so the log is one order of everything, the clients' ledgers included. A sync takes a few
milliseconds, and opening a directory sometimes as long, so that a power cut can fall between. Prints `ready` once it is mounted.
SIGTERM or an unmount ends it.

A number N written to the file `.ledgers/kill` has the process killed by SIGKILL that makes the N-th change or sync after that.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.powerfail import fuse, records
from tests.powerfail.fuse import Mount, Opcode, Request
from tests.powerfail.records import Noted, Record, SyncBegan, SyncEnded
from tests.powerfail.tree import Tree

KILL = "kill"
_SYNC_FACTORS = (0.1, 0.3, 1, 3)  # so that a sync is often overtaken by later ones
_SLOW_OPENS = 0.3
_SIZE_SET, _MODE_SET, _MTIME_SET, _MTIME_NOW = 1 << 3, 1 << 0, 1 << 5, 1 << 8


class Late(Exception):
    """The answer to a request is sent after `delay_s`; `token` is that of the sync that ends then, 0 for none."""

    def __init__(self, body: bytes, delay_s: float, token: int = 0) -> None:
        super().__init__()
        self.body = body
        self.delay_s = delay_s
        self.token = token


class Recorder:
    """Answers the requests of one mount until `end` is called."""

    def __init__(self, mount: Mount, log: IO[bytes], preload: Path | None, sync_s: float, rng: random.Random) -> None:
        self._mount = mount
        self._log = log
        self._sync_s = sync_s
        self._rng = rng
        self._tokens = 0
        self._kill_in = 0
        self._late: list[tuple[float, int, bytes, int]] = []  # due, unique, body, token
        self._ended = False
        self._tree = Tree(self._record, preload)
        self._handlers = self._handlers_by_opcode()

    def _handlers_by_opcode(self) -> dict[int, Callable[[Request], bytes]]:
        def nothing(_: Request) -> bytes:
            return b""

        return {
            Opcode.INIT: fuse.initialized,
            Opcode.LOOKUP: self._look_up,
            Opcode.GETATTR: self._get_attributes,
            Opcode.SETATTR: self._set_attributes,
            Opcode.MKDIR: self._make_directory,
            Opcode.CREATE: self._create,
            Opcode.UNLINK: self._unlink,
            Opcode.RMDIR: self._remove_directory,
            Opcode.RENAME: self._rename,
            Opcode.RENAME2: self._rename_with_flags,
            Opcode.LINK: self._link,
            Opcode.OPEN: lambda _: fuse.opened(),
            Opcode.OPENDIR: self._open_directory,
            Opcode.READ: self._read,
            Opcode.WRITE: self._write,
            Opcode.READDIR: self._read_directory,
            Opcode.STATFS: lambda _: fuse.file_system(),
            Opcode.FSYNC: self._sync,
            Opcode.FSYNCDIR: self._sync,
            **dict.fromkeys((Opcode.RELEASE, Opcode.RELEASEDIR, Opcode.FLUSH, Opcode.ACCESS), nothing),
        }

    def serve(self) -> None:
        while not self._ended:
            try:
                request = self._mount.receive(self._until_next_late_s())
            except EOFError:
                return
            self._send_late()
            if request is not None and request.opcode not in fuse.UNANSWERED:
                self._answer(request)

    def end(self, *_: object) -> None:
        self._ended = True

    def _answer(self, request: Request) -> None:
        armed = self._kill_in > 0
        try:
            body, failure = self._handlers.get(request.opcode, _unsupported)(request), 0
        except Late as late:
            heapq.heappush(self._late, (time.monotonic() + late.delay_s, request.unique, late.body, late.token))
            body = None
        except OSError as error:
            body, failure = b"", error.errno or errno.EIO
        if armed and self._kill_in <= 0:
            os.kill(request.pid, signal.SIGKILL)
        if body is not None:
            self._mount.answer(request.unique, body, failure)

    def _until_next_late_s(self) -> float:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else 1.0

    def _send_late(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, unique, body, token = heapq.heappop(self._late)
            if token:
                self._record(SyncEnded(token))
            self._mount.answer(unique, body)

    def _record(self, record: Record) -> None:
        if isinstance(record, Noted) and record.ledger == KILL:
            self._kill_in = int(record.data)
            return
        records.append(self._log, record)
        self._kill_in -= not isinstance(record, Noted | SyncEnded)

    def _look_up(self, request: Request) -> bytes:
        return fuse.entry(self._tree.child(request.ino, request.text()[0]).attributes)

    def _get_attributes(self, request: Request) -> bytes:
        return fuse.attributed(self._tree[request.ino].attributes)

    def _set_attributes(self, request: Request) -> bytes:
        valid, _, _, size, _, _, mtime, _, _, nanos, _, mode = request.unpack("<IIQQQQQQIIII")
        node = self._tree[request.ino]
        if valid & _SIZE_SET:
            self._tree.truncate(request.ino, size)
        if valid & _MODE_SET:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if valid & _MTIME_SET:
            node.mtime_ns = time.time_ns() if valid & _MTIME_NOW else mtime * 10**9 + nanos
        return self._get_attributes(request)

    def _make_directory(self, request: Request) -> bytes:
        mode, umask = request.unpack("<II")
        node = self._tree.make(request.ino, request.text(8)[0], stat.S_IFDIR | mode & ~umask)
        return fuse.entry(node.attributes)

    def _create(self, request: Request) -> bytes:
        _, mode, umask, _ = request.unpack("<IIII")
        node = self._tree.make(request.ino, request.text(16)[0], stat.S_IFREG | stat.S_IMODE(mode) & ~umask)
        return fuse.entry(node.attributes) + fuse.opened()

    def _unlink(self, request: Request) -> bytes:
        self._tree.remove(request.ino, request.text()[0], directory=False)
        return b""

    def _remove_directory(self, request: Request) -> bytes:
        self._tree.remove(request.ino, request.text()[0], directory=True)
        return b""

    def _rename(self, request: Request, names_at: int = 8) -> bytes:
        (new_parent,) = request.unpack("<Q")
        name, new_name = request.text(names_at)
        self._tree.rename(request.ino, name, new_parent, new_name)
        return b""

    def _rename_with_flags(self, request: Request) -> bytes:
        if request.unpack("<QI")[1]:
            raise OSError(errno.EINVAL, "no flag is supported")
        return self._rename(request, names_at=16)

    def _link(self, request: Request) -> bytes:
        (ino,) = request.unpack("<Q")
        return fuse.entry(self._tree.link(ino, request.ino, request.text(8)[0]).attributes)

    def _open_directory(self, _: Request) -> bytes:
        if self._rng.random() < _SLOW_OPENS:
            raise Late(fuse.opened_directory(), self._pause_s())
        return fuse.opened_directory()

    def _read(self, request: Request) -> bytes:
        _, offset, size = request.unpack("<QQI")
        return bytes(self._tree[request.ino].content[offset : offset + size])

    def _write(self, request: Request) -> bytes:
        _, offset, size = request.unpack("<QQI")
        self._tree.write(request.ino, offset, bytes(request.body[40 : 40 + size]))
        return fuse.written(size)

    def _read_directory(self, request: Request) -> bytes:
        _, offset, size = request.unpack("<QQI")
        return fuse.listing(self._tree.entries(request.ino), offset, size)

    def _sync(self, request: Request) -> bytes:
        if self._tree[request.ino].ledger:
            return b""
        self._tokens += 1
        self._record(SyncBegan(request.ino, self._tokens))
        raise Late(b"", self._pause_s(), self._tokens)

    def _pause_s(self) -> float:
        return self._sync_s * self._rng.choice(_SYNC_FACTORS)


def _unsupported(_: Request) -> bytes:
    raise OSError(errno.ENOSYS, "not supported")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powerfail.recorder", description=__doc__.splitlines()[0])
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--preload", type=Path, help="a directory whose content is durable from the start")
    parser.add_argument("--sync-ms", type=float, default=4.0, help="mean duration of a sync (default: 4)")
    parser.add_argument("--seed", default="0", help="of the durations")
    options = parser.parse_args()
    mount = Mount(options.mountpoint)
    try:
        with options.log.open("wb", buffering=1 << 20) as log:
            recorder = Recorder(mount, log, options.preload, options.sync_ms / 1000, random.Random(options.seed))
            signal.signal(signal.SIGTERM, recorder.end)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("ready", flush=True)
            recorder.serve()
    finally:
        mount.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
