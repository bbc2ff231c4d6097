"""Reads the store's history, the tables `commits` and `changes`, for watches, retried requests and status.

`store/ledger.py` writes these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from holdfastd.model.mutations import Change
from holdfastd.store.dialect import Dialect
from holdfastd.store.engine import Connection
from holdfastd.store.pages import fetch

# Names in `meta`.
_OLDEST = "oldest_revision"
_SET_BACK = "clock_set_back"  # the first revision of each era but the first one, in order


@dataclass(frozen=True, slots=True)
class Noted:
    """A change with the commit that made it."""

    revision: int
    ordinal: int
    change: Change
    actor: str
    commit_time: int


def newest(connection: Connection) -> tuple[int, int]:
    """The newest revision and its commit's time; zeros in an empty store."""
    row = connection.execute("SELECT revision, commit_time FROM commits ORDER BY revision DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else (0, 0)


def revision(connection: Connection) -> int:
    """The newest revision that this snapshot sees."""
    return int(connection.execute("SELECT COALESCE(MAX(revision), 0) FROM commits").fetchone()[0])


def oldest_revision(connection: Connection) -> int:
    """The oldest revision that a watch may resume after."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_OLDEST,)).fetchone()
    return int(row[0]) if row else 0


def set_oldest_revision(connection: Connection, revision: int) -> None:
    """Sets the oldest revision that a watch may resume after."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_OLDEST, str(revision)),
    )


class Era(NamedTuple):
    """The revisions from `first` to `last`. Within an era, commit times never decrease."""

    first: int
    last: int


def eras(connection: Connection) -> list[Era]:
    """All eras, in order. There is more than one when the clock was set back by more than an hour."""
    begins = [1, *clock_set_back(connection), revision(connection) + 1]
    return [Era(first, next_first - 1) for first, next_first in pairwise(begins)]


def clock_set_back(connection: Connection) -> list[int]:
    """The revisions whose time is before that of the revision before."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_SET_BACK,)).fetchone()
    return [int(each) for each in row[0].split()] if row else []


def note_clock_set_back(connection: Connection, revisions: Sequence[int]) -> None:
    """Adds revisions to `clock_set_back`."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = meta.value || ' ' || excluded.value",
        (_SET_BACK, " ".join(map(str, revisions))),
    )


def time_of(connection: Connection, revision: int) -> int:
    """When a revision was committed; 0 when there is no such revision."""
    row = connection.execute("SELECT commit_time FROM commits WHERE revision = ?", (revision,)).fetchone()
    return int(row[0]) if row else 0


def images(connection: Connection, revision: int) -> dict[int, bytes]:
    """The images of a commit's changes, by ordinal."""
    return dict(connection.execute("SELECT ordinal, image FROM changes WHERE revision = ? AND image IS NOT NULL", (revision,)))


@lru_cache(maxsize=256)
def page_sql(dialect: Dialect, kinds: int, ids: int) -> str:
    """The statement of `page` for this number of kinds and ids."""
    by_kind = f" AND changes.kind IN ({', '.join('?' * kinds)})" if kinds else ""
    by_id = f" AND changes.id IN ({', '.join('?' * ids)})" if ids else ""
    # Use the record index only for one record; for a workspace SQLite would sort every page. The expression forces a range
    # scan of the primary key.
    workspace = "changes.workspace" if kinds == ids == 1 else dialect.walked("changes.workspace")
    return (
        "SELECT changes.revision, ordinal, kind, id, action, version, parent_kind, first_number, last_number, image,"
        " commits.actor, commits.commit_time FROM changes JOIN commits ON commits.revision = changes.revision"
        f" WHERE (changes.revision, ordinal) > (?, ?) AND changes.revision <= ? AND {workspace} = ?"
        f"{by_kind}{by_id} ORDER BY changes.revision, ordinal LIMIT ?"
    )


def page(
    connection: Connection,
    workspace: str,
    kinds: Sequence[str],
    ids: Sequence[str],
    after: tuple[int, int],
    until: int,
    limit: int,
    limit_bytes: int,
) -> list[Noted]:
    """Changes after the place `after` (revision, ordinal) and up to the revision `until`, in order.

    Empty `kinds` or `ids` mean all. At most `limit` changes; fewer when their rows exceed `limit_bytes`.
    """
    cursor = connection.execute(
        page_sql(connection.dialect, len(kinds), len(ids)), (*after, until, workspace, *kinds, *ids, limit)
    )
    rows, _ = fetch(cursor, limit_bytes)
    return [
        Noted(revision, ordinal, Change(kind, id, action, version, parent_kind, first, last, image), actor, time_ns)
        for revision, ordinal, kind, id, action, version, parent_kind, first, last, image, actor, time_ns in rows
    ]
