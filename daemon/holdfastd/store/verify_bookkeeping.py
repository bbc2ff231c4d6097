"""The checks of verify on rows without a checksum, which other rows imply: workspaces, counters, candidates and the trash."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.contract.kinds import KINDS, Kind
from holdfastd.store.engine import Connection
from holdfastd.store.sql import quoted
from holdfastd.store.verify import MAX_FOUND, Problem

# A workspace is made with its first commit, or before it with the first id that it allocates.
_WORKSPACES = """
    SELECT c.workspace, 'it has commits, but no row' FROM commits AS c
    LEFT JOIN workspace AS w ON w.name = c.workspace WHERE w.name IS NULL GROUP BY c.workspace
    UNION ALL
    SELECT k.workspace, 'it has a counter, but no row' FROM counter AS k
    LEFT JOIN workspace AS w ON w.name = k.workspace WHERE w.name IS NULL GROUP BY k.workspace
"""
_COMMITS = """
    SELECT DISTINCT commits.revision, 'its workspace differs from that of a change' FROM commits
    JOIN changes ON changes.revision = commits.revision WHERE changes.workspace <> commits.workspace
"""
_COUNTERS = "SELECT workspace, name, value FROM counter"
# The due time of a candidate is that of its blob's lease, or 0: at once.
_CANDIDATES = """
    SELECT c.digest, 'it is a candidate of the sweep, but no blob' FROM blob_candidate AS c
    LEFT JOIN blob AS b ON b.digest = c.digest WHERE b.digest IS NULL
    UNION ALL
    SELECT c.digest, 'it is due at another time than its lease ends' FROM blob_candidate AS c
    JOIN blob AS b ON b.digest = c.digest WHERE c.due_time <> 0 AND c.due_time <> b.lease_expire_time
"""
_TRASH = """
    SELECT t.path, 'a file in the trash is that of the blob ' || b.digest FROM blob_trash AS t
    JOIN blob AS b ON b.path = t.path AND b.path <> ''
    UNION ALL
    SELECT path, 'no file of a blob has this path' FROM blob_trash WHERE path NOT LIKE 'blobs/%' OR stored_bytes < 0
"""
_CHECKS = (
    ("workspace_damaged", _WORKSPACES),
    ("revision_workspace", _COMMITS),
    ("candidate_damaged", _CANDIDATES),
    ("trash_damaged", _TRASH),
)


def check(connection: Connection) -> Iterator[Problem]:
    """Compares these rows with the rows that imply them."""
    for reason, sql in _CHECKS:
        for subject, detail in connection.execute(sql).fetchmany(MAX_FOUND):
            yield Problem(reason, str(subject), str(detail))
    for workspace, name, value in connection.execute(_COUNTERS):
        if detail := _counter_problem(connection, workspace, name, value):
            yield Problem("counter_damaged", f"{workspace}/{name}", detail)


def _counter_problem(connection: Connection, workspace: str, name: str, value: int) -> str:
    kind = KINDS.get(name.partition(".")[0])  # of a field within an owner: "kind.field/owner"
    if kind is None:
        return "there is no kind of this name"
    highest = _highest_number(connection, kind, workspace) if kind.sequence_ids and name == kind.name else 0
    return f"its value is {value}, but {kind.id_prefix}{highest} was given" if not highest <= value < 2**63 - 1 else ""


def _highest_number(connection: Connection, kind: Kind, workspace: str) -> int:
    ids = connection.execute(f"SELECT id FROM {quoted(kind.name)} WHERE workspace = ?", (workspace,))
    digits = (id.removeprefix(kind.id_prefix) for (id,) in ids if id.startswith(kind.id_prefix))
    return max((int(each) for each in digits if each.isdecimal() and len(each) < 19), default=0)
