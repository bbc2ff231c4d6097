"""Answers that are kept so that a retried request applies once.

Scoped to workspace and actor; only successes are kept, in the transaction that made them. An answer is the results
without the records, for those are found again in the images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from holdfastd.errors import InvalidArgument
from holdfastd.model.commands import ExpireRequests
from holdfastd.store.connection import Connection

Answer = tuple[int, list[list[object]]]


def recall(connection: Connection, workspace: str, actor: str, request_id: str, fingerprint: bytes) -> Answer | None:
    """The revision and answer of an earlier request with this id; None when there is none.

    INVALID_ARGUMENT (REQUEST_ID_REUSED) when that request had another body.
    """
    row = connection.execute(
        "SELECT revision, fingerprint, answer FROM request WHERE workspace = ? AND actor = ? AND request_id = ?",
        (workspace, actor, request_id),
    ).fetchone()
    if row is None:
        return None
    revision, known, answer = row
    if known != fingerprint:
        raise InvalidArgument(
            f"request_id {request_id!r} was used for another request, at revision {revision}. Use a new id for each request.",
            reason="REQUEST_ID_REUSED",
            revision=revision,
        )
    return revision, json.loads(answer)


def remember(
    connection: Connection,
    workspace: str,
    actor: str,
    request_id: str,
    fingerprint: bytes,
    revision: int,
    now_ns: int,
    answer: Sequence[Sequence[object]],
) -> None:
    """Keeps an answer."""
    connection.execute(
        "INSERT INTO request (workspace, actor, request_id, revision, create_time, fingerprint, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (workspace, actor, request_id, revision, now_ns, fingerprint, json.dumps(answer).encode()),
    )


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
