"""Reads the store's history, the tables `commits` and `changes`, for watches, retried requests and status.

`store/ledger.py` writes these tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from holdfastd.errors import DataLoss
from holdfastd.model import checksums
from holdfastd.model.mutations import NOTE, Change
from holdfastd.store import meta
from holdfastd.store.dialect import Dialect
from holdfastd.store.engine import Connection
from holdfastd.store.pages import fetch

_IMAGES = "SELECT ordinal, image, image_checksum, workspace, kind, id FROM changes WHERE revision = ? AND image IS NOT NULL"
_REVISIONS = (
    "SELECT count(*), (SELECT COALESCE(MAX(revision), 0) FROM changes) > (SELECT COALESCE(MAX(revision), 0) FROM commits)"
    " FROM commits WHERE revision > ? AND revision <= ?"
    " AND EXISTS (SELECT 1 FROM changes WHERE changes.revision = commits.revision GROUP BY changes.revision"
    # The last ordinal is searched for from the end: a damaged key may end the scan before it.
    # A damaged key may also repeat another ordinal, which the sum shows.
    " HAVING MIN(ordinal) = 0 AND 2 * SUM(ordinal) = COUNT(*) * (COUNT(*) - 1)"
    " AND COUNT(*) = 1 + (SELECT last.ordinal FROM changes AS last"
    " WHERE last.revision = commits.revision ORDER BY last.ordinal DESC LIMIT 1)"
    " AND MIN(changes.workspace) = commits.workspace AND MAX(changes.workspace) = commits.workspace)"
)
# A commit that a scan of the index finds and a search does not. Lists join commits by searches.
_HIDDEN = (
    "SELECT 1 FROM changes WHERE changes.revision > ? AND changes.revision <= ?"
    " AND NOT EXISTS (SELECT 1 FROM commits WHERE commits.revision = changes.revision) LIMIT 1"
)
SET_BACK = (
    "SELECT later.revision FROM commits AS later JOIN commits AS earlier ON earlier.revision = later.revision - 1"
    " WHERE later.commit_time < earlier.commit_time ORDER BY later.revision"
)


@dataclass(frozen=True, slots=True)
class Noted:
    """A change with the commit that made it."""

    revision: int
    ordinal: int
    change: Change
    actor: str
    commit_time: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """A change that cannot be read, as its row names it. `kind` and `id` may be wrong where the row itself is damaged."""

    revision: int
    ordinal: int
    kind: str
    id: str
    reason: str


def newest(connection: Connection) -> tuple[int, int]:
    """The newest revision and its commit's time; zeros in an empty store. DATA_LOSS (HISTORY_DAMAGED) without a valid revision.

    The time only keeps the next ones from decreasing, so 0 takes the place of a damaged one.
    """
    row = connection.execute("SELECT revision, commit_time FROM commits ORDER BY revision DESC LIMIT 1").fetchone()
    revision, time_ns = row or (0, 0)
    return _checked_revision(revision), time_ns if isinstance(time_ns, int) else 0


def newest_change(connection: Connection) -> Any:
    """The revision of the newest change, which is that of the newest commit; 0 in an empty store. Not an int when damaged."""
    return connection.execute("SELECT COALESCE(MAX(revision), 0) FROM changes").fetchone()[0]


def newest_of_record(connection: Connection, workspace: str, kind: str, id: str) -> int:
    """The action of the newest change of a record that the history has; 0 when it has none. Notes are no changes of it."""
    row = connection.execute(
        f"SELECT action FROM changes WHERE workspace = ? AND kind = ? AND id = ? AND action <> {NOTE}"
        " ORDER BY revision DESC, ordinal DESC LIMIT 1",
        (workspace, kind, id),
    ).fetchone()
    return row[0] if row else 0


def revision(connection: Connection) -> int:
    """The newest revision that this snapshot sees. DATA_LOSS (HISTORY_DAMAGED) when it is damaged."""
    return _checked_revision(connection.execute("SELECT COALESCE(MAX(revision), 0) FROM commits").fetchone()[0])


def _checked_revision(revision: Any) -> int:
    if isinstance(revision, int):
        return revision
    raise DataLoss(
        "The newest revision in the table commits is damaged. Run verify, and restore a backup.", reason="HISTORY_DAMAGED"
    )


def oldest_revision(connection: Connection) -> int:
    """The oldest revision that a watch may resume after. DATA_LOSS (META_DAMAGED) when it is damaged."""
    return meta.revision(connection, meta.OLDEST, revision(connection))


def set_oldest_revision(connection: Connection, revision: int) -> None:
    """Sets the oldest revision that a watch may resume after."""
    meta.write(connection, meta.OLDEST, str(revision))


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
    found = noted_set_back(connection)
    return find_set_back(connection) if found is None else found


def noted_set_back(connection: Connection) -> list[int] | None:
    """The value of `clock_set_back`; None when it is damaged."""
    try:
        value = meta.read(connection, meta.SET_BACK)
    except DataLoss:
        return None
    return (meta.revisions_in(value, revision(connection)) or None) if value else []


def find_set_back(connection: Connection) -> list[int]:
    """What `clock_set_back` should be, from the times of all commits."""
    return [revision for (revision,) in connection.execute(SET_BACK)]


def set_back_warning(revision: int) -> str:
    """What a reader of commit times is told. revision: the last of `clock_set_back`."""
    return (
        f"The clock was set back before revision {revision}, so commit times decrease there: the history is ordered by revision,"
        " and a filter on times finds commits of both sides."
    )


def note_clock_set_back(connection: Connection, revisions: Sequence[int]) -> None:
    """Sets `clock_set_back`."""
    if revisions:
        meta.write(connection, meta.SET_BACK, " ".join(map(str, revisions)))
    else:
        meta.clear(connection, meta.SET_BACK)


def time_of(connection: Connection, revision: int) -> int:
    """When a revision was committed; 0 when there is no such revision. DATA_LOSS (HISTORY_DAMAGED) when it is damaged."""
    row = connection.execute("SELECT commit_time FROM commits WHERE revision = ?", (revision,)).fetchone()
    if row is not None and not isinstance(row[0], int):
        raise damaged(revision, 0)
    return row[0] if row else 0


def images(connection: Connection, revision: int) -> dict[int, bytes]:
    """The images of a commit's changes, by ordinal. DATA_LOSS (HISTORY_DAMAGED) when one is damaged."""
    found = {}
    for ordinal, image, checksum, workspace, kind, id in connection.execute(_IMAGES, (revision,)):
        if not is_intact(workspace, kind, id, image, checksum):
            raise damaged(revision, ordinal)
        found[ordinal] = image
    return found


def is_intact(workspace: str, kind: str, id: str, image: bytes | None, checksum: int | None) -> bool:
    """Whether an image of the history is as it was written. An earlier version wrote images without a checksum."""
    if image is None:
        return checksum is None
    return isinstance(image, bytes) and checksum in (None, checksums.of_image(workspace, kind, id, image))


def damaged(revision: int, ordinal: int) -> DataLoss:
    """The error of a change that cannot be read."""
    return DataLoss(
        f"Change {ordinal} of revision {revision} is damaged in the history. Run verify, and restore a backup. To go on without"
        f" it, watch from after_revision={revision}.",
        reason="HISTORY_DAMAGED",
        revision=revision,
        ordinal=ordinal,
    )


_COLUMNS = (
    "SELECT changes.revision, ordinal, changes.kind, id, action, version, parent_kind, first_number, last_number, image,"
    " image_checksum, checksum, commits.commit_time, commits.actor, commits.request_id, peer_uid, peer_pid"
    " FROM changes JOIN commits ON commits.revision = changes.revision"
)
OF_RECORD = (
    f"{_COLUMNS} WHERE changes.workspace = ? AND changes.kind = ? AND id = ? AND action <> {NOTE}"
    " ORDER BY changes.revision DESC, ordinal DESC"
)


@lru_cache(maxsize=256)
def page_sql(dialect: Dialect, kinds: int, ids: int) -> str:
    """The statement of `page` for this number of kinds and ids."""
    by_kind = f" AND changes.kind IN ({', '.join('?' * kinds)})" if kinds else ""
    by_id = f" AND changes.id IN ({', '.join('?' * ids)})" if ids else ""
    # Use the record index only for one record; for a workspace SQLite would sort every page. The expression forces a range
    # scan of the primary key.
    workspace = "changes.workspace" if kinds == ids == 1 else dialect.walked("changes.workspace")
    return (
        f"{_COLUMNS} WHERE (changes.revision, ordinal) > (?, ?) AND changes.revision <= ? AND {workspace} = ?"
        f"{by_kind}{by_id} ORDER BY changes.revision, ordinal LIMIT ?"
    )


def page(
    connection: Connection,
    workspace: str,
    kinds: Collection[str],
    ids: Collection[str],
    after: tuple[int, int],
    until: int,
    limit: int,
    limit_bytes: int,
) -> tuple[list[Noted | Damaged], bool]:
    """Changes after the place `after` (revision, ordinal) and up to the revision `until`, in order, and whether more follow.

    Empty `kinds` or `ids` mean all. At most `limit` changes; fewer when their rows exceed `limit_bytes`. DATA_LOSS
    (HISTORY_DAMAGED) when one is damaged and its row does not even have a place.
    """
    cursor = connection.execute(
        page_sql(connection.dialect, len(kinds), len(ids)), (*after, until, workspace, *kinds, *ids, limit)
    )
    rows, all_rows = fetch(cursor, limit_bytes)
    found = [_noted(workspace, row) or _damaged_row(workspace, row) for row in rows]
    return found, len(rows) == limit or not all_rows


def of_record(connection: Connection, workspace: str, kind: str, id: str) -> Iterator[Change]:
    """The intact changes of a record, newest first, without notes.

    One without a checksum, as an earlier version wrote it, counts as intact.
    """
    for row in connection.execute(OF_RECORD, (workspace, kind, id)):
        noted = _noted(workspace, row)
        if noted is not None:
            yield noted.change


def check_revisions(connection: Connection, after: int, until: int) -> None:
    """DATA_LOSS (HISTORY_DAMAGED) when a revision after `after` and up to `until` has no commit or lacks a change.

    A damaged workspace, revision or ordinal hides a change from a query for its workspace. So it is compared with that of the
    commit. Also raised when changes follow the newest commit: then the commits after it are not found.
    """
    count, has_later = connection.execute(_REVISIONS, (after, until)).fetchone()
    is_hidden = connection.execute(_HIDDEN, (after, until)).fetchone() is not None
    if is_hidden or has_later or count != max(0, until - after):
        what = f"{count} of the {until - after} revisions from {after + 1} to {until} are whole"
        what += ", and changes follow the newest commit" if has_later else ""
        what += ", and an index does not find all commits" if is_hidden else ""
        raise DataLoss(
            f"The history is damaged: {what}. Run verify, and restore a backup. To go on without them, watch from"
            f" after_revision={until}.",
            reason="HISTORY_DAMAGED",
            revision=after + 1,
        )


def _damaged_row(workspace: str, row: Sequence[Any]) -> Damaged:
    """The change of a row of `page_sql` that `_noted` refuses."""
    revision, ordinal, kind, id, *_, image, image_checksum, _, _, _, _, _, _ = row
    if not isinstance(revision, int) or not isinstance(ordinal, int):
        raise damaged(revision, ordinal)
    is_image = not is_intact(workspace, kind, id, image, image_checksum)
    what = "its image" if is_image else "its row or that of its commit"
    return Damaged(revision, ordinal, str(kind), str(id), f"{what} is damaged in the history")


def _noted(workspace: str, row: Sequence[Any]) -> Noted | None:
    """The change of a row of `page_sql`; None when it is damaged."""
    revision, ordinal, *fields, image_checksum, checksum, time_ns, actor, request_id, uid, pid = row
    change = Change(*fields)
    known = checksums.of_change(workspace, (revision, ordinal), change, image_checksum, (time_ns, actor, request_id, uid, pid))
    if checksum not in (None, known) or not isinstance(time_ns, int):
        return None
    if not is_intact(workspace, change.kind, change.id, change.image, image_checksum):
        return None
    return Noted(revision, ordinal, change, actor, time_ns)
