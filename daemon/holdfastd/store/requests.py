"""Answers that are kept so that a retried request applies once.

Scoped to workspace and actor; only successes are kept, in the transaction that made them. An answer is the results
without the records, for those are found again in the images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from holdfastd.errors import InvalidArgument
from holdfastd.model.commands import AllocateIds, Commit, ExpireRequests
from holdfastd.store.engine import Connection

KEYS_A_STATEMENT = 64

RequestKey = tuple[str, str, str]  # workspace, actor, request id
Row = tuple[int, bytes, bytes]  # revision, fingerprint, answer
Answer = tuple[int, list[list[object]]]

COLUMNS = ("workspace", "actor", "request_id", "revision", "create_time", "fingerprint", "answer")


@cache
def _find_sql(count: int) -> str:
    keys = ", ".join(["(?, ?, ?)"] * count)
    return (
        "SELECT workspace, actor, request_id, revision, fingerprint, answer FROM request"
        f" WHERE (workspace, actor, request_id) IN (VALUES {keys})"
    )


def find(connection: Connection, keys: Sequence[RequestKey]) -> dict[RequestKey, Row | None]:
    """What is kept of each of these requests; None where nothing is."""
    found: dict[RequestKey, Row | None] = dict.fromkeys(keys)
    for start in range(0, len(keys), KEYS_A_STATEMENT):
        some = keys[start : start + KEYS_A_STATEMENT]
        for workspace, actor, request_id, *row in connection.execute(_find_sql(len(some)), tuple(chain.from_iterable(some))):
            found[workspace, actor, request_id] = (row[0], row[1], row[2])
    return found


def answer_of(row: Row, command: Commit | AllocateIds) -> Answer:
    """The revision and answer that are kept; INVALID_ARGUMENT (REQUEST_ID_REUSED) when they are another request's."""
    revision, fingerprint, answer = row
    if fingerprint != command.fingerprint:
        raise InvalidArgument(
            f"request_id {command.request_id!r} was used for another request, at revision {revision}."
            " Use a new id for each request.",
            reason="REQUEST_ID_REUSED",
            revision=revision,
        )
    return revision, json.loads(answer)


def row_of(command: Commit | AllocateIds, revision: int, now_ns: int, answer: Sequence[Sequence[object]]) -> Sequence[Any]:
    """What `add` keeps of an answer."""
    key = (command.workspace, command.actor, command.request_id)
    return (*key, revision, now_ns, command.fingerprint, json.dumps(answer).encode())


def add(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Keeps answers."""
    connection.insert_rows("request", COLUMNS, rows)


def expire(connection: Connection, command: ExpireRequests, now_ns: int) -> int:
    """Forgets the oldest answers that either of the command's bounds gives up, at most `limit`; returns how many."""
    by_revision = connection.execute("SELECT commit_time FROM commits WHERE revision = ?", (command.before_revision,)).fetchone()
    bound = max(command.before_time, by_revision[0] if by_revision else command.before_time)
    deleted = connection.execute(
        "DELETE FROM request WHERE (workspace, actor, request_id) IN"
        " (SELECT workspace, actor, request_id FROM request WHERE create_time < ? ORDER BY create_time LIMIT ?)",
        (bound, command.limit),
    )
    return int(deleted.rowcount)
