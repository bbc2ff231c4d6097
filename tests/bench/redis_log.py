"""Redis with a synced append-only file (`appendfsync always`), if redis-server is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.crew import Job, repeat
from tests.bench.entries import CONTENT, ROLE
from tests.bench.plan import Workplace
from tests.bench.rival import BATCH, Rival, Unavailable

if TYPE_CHECKING:
    import redis

NAME = "Redis"
PATIENCE_S = 10.0
_SETTINGS = ("--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no")


@contextmanager
def open_rival(place: Workplace) -> Iterator[Rival]:
    """Starts an empty server. Raises Unavailable when the server or the Python package is missing."""
    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable(NAME, "redis-server is not installed")
    try:
        import redis
    except ImportError:
        raise Unavailable(NAME, "the Python package redis is not installed") from None
    socket_path, directory = place.sockets / "redis.sock", place.data / "redis"
    directory.mkdir()
    where = ("--unixsocket", str(socket_path), "--dir", str(directory))
    server = subprocess.Popen([program, *_SETTINGS, *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        version = _await_answer(redis.Redis(unix_socket_path=str(socket_path)))
        yield Rival(f"{NAME} {version}, appendfsync always", prepare, (socket_path,))
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def _await_answer(client: redis.Redis) -> str:
    """Waits until the server answers; returns its version."""
    import redis

    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            about: Any = client.info("server")
        except redis.ConnectionError:
            if time.monotonic() > give_up:
                raise Unavailable(NAME, "redis-server does not start") from None
            time.sleep(0.02)
        else:
            return str(about["redis_version"])


def prepare(index: int, socket_path: Path) -> Mapping[str, Job]:
    """One process with its own connection and stream."""
    import redis

    client, stream = redis.Redis(unix_socket_path=str(socket_path)), f"session-{index}"
    return {
        "one": lambda seconds: repeat(_add_one(client, stream), seconds),
        "hundred": lambda seconds: repeat(_add_many(client, stream), seconds),
    }


def _add_one(client: redis.Redis, stream: str) -> Callable[[], int]:
    return lambda: int(client.xadd(stream, {"role": ROLE, "content": CONTENT}) is not None)


def _add_many(client: redis.Redis, stream: str) -> Callable[[], int]:
    """Adds a hundred entries in one MULTI, sent at once."""

    def add() -> int:
        with client.pipeline(transaction=True) as batch:
            for _ in range(BATCH):
                batch.xadd(stream, {"role": ROLE, "content": CONTENT})
            return len(batch.execute())

    return add
