"""Commits and changes in SQL: the store's history, from the first commit on.

Written once a commit; read by watches, by history, by retried requests and by verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from holdfastd.model.commands import Commit
from holdfastd.model.mutations import Change
from holdfastd.store import meta
from holdfastd.store.connection import Connection

OLDEST = "oldest_revision"


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
    return int(meta.get(connection, OLDEST) or 0)


def time_of(connection: Connection, revision: int) -> int:
    """When a revision was committed; 0 when there is no such revision."""
    row = connection.execute("SELECT commit_time FROM commits WHERE revision = ?", (revision,)).fetchone()
    return int(row[0]) if row else 0


def images(connection: Connection, revision: int) -> dict[int, bytes]:
    """The images that a commit left, by their change's ordinal."""
    return dict(connection.execute("SELECT ordinal, image FROM changes WHERE revision = ? AND image IS NOT NULL", (revision,)))


def add(connection: Connection, revision: int, time_ns: int, command: Commit, changes: Sequence[Change]) -> None:
    """Writes a commit's own row and those of its changes."""
    connection.execute(
        "INSERT INTO commits (revision, commit_time, workspace, actor, request_id) VALUES (?, ?, ?, ?, ?)",
        (revision, time_ns, command.workspace, command.actor, command.request_id),
    )
    connection.executemany(
        "INSERT INTO changes (revision, ordinal, workspace, kind, id, action, version, parent_kind, first_number, last_number,"
        " image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                revision,
                ordinal,
                command.workspace,
                each.kind,
                each.id,
                each.action,
                each.version,
                each.parent_kind,
                each.first_number,
                each.last_number,
                each.image,
            )
            for ordinal, each in enumerate(changes)
        ],
    )


@lru_cache(maxsize=256)
def _page_sql(kinds: int, ids: int) -> str:
    by_kind = f" AND changes.kind IN ({', '.join('?' * kinds)})" if kinds else ""
    by_id = f" AND changes.id IN ({', '.join('?' * ids)})" if ids else ""
    return (
        "SELECT changes.revision, ordinal, kind, id, action, version, parent_kind, first_number, last_number, image,"
        " commits.actor, commits.commit_time FROM changes JOIN commits ON commits.revision = changes.revision"
        " WHERE (changes.revision, ordinal) > (?, ?) AND changes.revision <= ? AND changes.workspace = ?"
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
) -> list[Noted]:
    """Changes after a (revision, ordinal) and up to a revision, in order; empty `kinds` or `ids` mean all."""
    rows = connection.execute(_page_sql(len(kinds), len(ids)), (*after, until, workspace, *kinds, *ids, limit))
    return [
        Noted(revision, ordinal, Change(kind, id, action, version, parent_kind, first, last, image), actor, time_ns)
        for revision, ordinal, kind, id, action, version, parent_kind, first, last, image, actor, time_ns in rows
    ]
