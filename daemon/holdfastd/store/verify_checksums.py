"""The checks of verify that recompute checksums: of entries, history and remembered answers. Each reads its whole table.

`checks` lists all checks of rows.

Rows that an earlier version wrote have no checksums until the job `checksums` has filled them in. After it has, a row without
one is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Journal
from holdfastd.errors import DataLoss
from holdfastd.model import checksums
from holdfastd.model.mutations import Change
from holdfastd.store import changes, checksum_fill, entries, meta, salvage, verify, verify_bookkeeping
from holdfastd.store.engine import Connection
from holdfastd.store.pages import DamagedImage
from holdfastd.store.sql import quoted
from holdfastd.store.verify import MAX_FOUND, Problem, TableCheck

_CHANGES = (
    f"SELECT changes.revision, ordinal, changes.workspace, {', '.join(Change._fields)}, image_checksum, changes.checksum,"
    " commits.commit_time, commits.actor, commits.request_id, peer_uid, peer_pid"
    " FROM changes JOIN commits ON commits.revision = changes.revision ORDER BY changes.revision, ordinal"
)
PARENTS = (
    "SELECT journal_id, workspace, parent_kind, parent_id FROM journal WHERE journal = ? AND journal_id > ?"
    " ORDER BY journal_id LIMIT ?"
)
ROWS_AT_ONCE = 10_000  # of small rows
_ANSWERS = "SELECT workspace, actor, request_id, revision, create_time, fingerprint, answer, checksum FROM request"


def entries_of(journal: Journal) -> TableCheck:
    """The check that each entry has its checksum, and that its columns, which filters use, say the same as its image."""

    def check(connection: Connection) -> Iterator[Problem]:
        complete = checksum_fill.is_complete(connection)
        found: set[Problem] = set()
        for problem in _entry_problems(connection, journal, complete):
            if problem not in found:  # after a scan that failed, entries are checked again
                found.add(problem)
                yield problem
            if len(found) == MAX_FOUND:
                return

    return check


def _entry_problems(connection: Connection, journal: Journal, complete: bool) -> Iterator[Problem]:
    """The problems of all entries. When a scan of the table fails, the entries are read again by their numbers."""
    try:
        for place, row in _entries(connection, journal):
            if detail := _entry_problem(connection, journal, place, row, complete):
                yield Problem("entry_damaged", f"{place[2]}/{place[3]}", f"{journal.name} entry {row[0]}: {detail}")
    except connection.Error as error:
        fault = connection.engine.translate(error)
        if not isinstance(fault, DataLoss):
            raise
        yield Problem("table_unreadable", journal.name, f"{fault.fault} The entries are read one by one.")
        for place in _parents(connection, journal):
            yield from _problems_around_damage(connection, journal, place, complete)


def _parents(connection: Connection, journal: Journal) -> Iterator[Any]:
    after = 0
    while places := connection.execute(PARENTS, (journal.name, after, ROWS_AT_ONCE)).fetchall():
        yield from places
        after = places[-1][0]


def by_number_sql(journal: Journal) -> tuple[str, str]:
    """The statements for the next numbers of a journal's entries, and for the entries in a range of numbers."""
    table = quoted(journal.name)
    return (
        f"SELECT number FROM {table} WHERE journal_id = ? AND number > ? ORDER BY number LIMIT ?",
        f"SELECT number, image, checksum FROM {table} WHERE journal_id = ? AND number BETWEEN ? AND ? ORDER BY number",
    )


def _problems_around_damage(connection: Connection, journal: Journal, place: Any, complete: bool) -> Iterator[Problem]:
    subject, (numbers_sql, rows_sql) = f"{place[2]}/{place[3]}", by_number_sql(journal)

    def read(first: int, last: int) -> list[salvage.Row]:
        return connection.execute(rows_sql, (place[0], first, last)).fetchall()

    for numbers in _numbers(connection, numbers_sql, place[0]):
        if numbers is None:
            detail = f"the index of its {journal.name} entries cannot be read: they are not checked"
            yield Problem("entry_unreadable", subject, detail)
            return
        for row in salvage.rows(connection, numbers, read):
            if isinstance(row, salvage.Unreadable):
                yield Problem("entry_unreadable", subject, f"{journal.name} entries {row}: their rows cannot be read")
            elif detail := _entry_problem(connection, journal, place, row, complete):
                yield Problem("entry_damaged", subject, f"{journal.name} entry {row[0]}: {detail}")


def _numbers(connection: Connection, sql: str, journal_id: int) -> Iterator[list[int] | None]:
    """The numbers of a journal's entries, some at a time; None when damage prevents to read them."""
    after = 0

    def read() -> list[salvage.Row]:
        return connection.execute(sql, (journal_id, after, ROWS_AT_ONCE)).fetchall()

    while rows := salvage.attempt(connection, read):
        yield [number for (number,) in rows]
        after = rows[-1][0]
    if rows is None:
        yield None


def _entries(connection: Connection, journal: Journal) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Journal id, workspace, parent kind and parent id of each entry; its number, image and checksum."""
    sql = (
        "SELECT e.journal_id, j.workspace, j.parent_kind, j.parent_id, e.number, e.image, e.checksum"
        f" FROM {quoted(journal.name)} AS e LEFT JOIN journal AS j ON j.journal_id = e.journal_id"
    )
    for row in connection.execute(sql):
        yield tuple(row[:4]), tuple(row[4:])


def _entry_problem(connection: Connection, journal: Journal, place: Any, row: Any, complete: bool) -> str:
    journal_id, workspace, parent_kind, parent_id = place
    number, image, checksum = row
    seed = checksums.journal_seed(workspace, journal.name, parent_kind, parent_id)
    found = entries.image_of(connection, journal, journal_id, seed, number, image, checksum)
    if isinstance(found, DamagedImage):
        return found.reason
    if complete and (image is None or checksum is None):
        return "it has no image or no checksum"
    try:
        same = found == entries.from_columns(connection, journal, journal_id, number)
    except (TypeError, ValueError) as error:
        return f"its columns are damaged: {error}"
    return "" if same else "its columns differ from its image"


def history(connection: Connection) -> Iterator[Problem]:
    """Checks each change of the history, its image and its commit against their checksums."""
    complete = checksum_fill.is_complete(connection)
    found = 0
    for (
        revision,
        ordinal,
        workspace,
        *fields,
        image_checksum,
        checksum,
        time_ns,
        actor,
        request_id,
        uid,
        pid,
    ) in connection.execute(_CHANGES):
        change = Change(*fields)
        known = checksums.of_change(
            workspace, (revision, ordinal), change, image_checksum, (time_ns, actor, request_id, uid, pid)
        )
        intact = changes.is_intact(workspace, change.kind, change.id, change.image, image_checksum)
        intact = intact and isinstance(time_ns, int)
        if not intact or checksum not in (None, known) or (complete and checksum is None):
            yield Problem("history_damaged", f"{change.kind}/{change.id}", _named(revision, ordinal))
            found += 1
        if found == MAX_FOUND:
            return


def _named(revision: object, ordinal: object) -> str:
    """A change as the refusal of a Watch names it, and as lists of the audit do, which count from 1."""
    in_audit = f"audit {revision}.{ordinal + 1}, which is " if isinstance(ordinal, int) else ""
    return f"{in_audit}change {ordinal} of revision {revision}"


def answers(connection: Connection) -> Iterator[Problem]:
    """Checks each remembered answer against its checksum."""
    complete = checksum_fill.is_complete(connection)
    found = 0
    for workspace, actor, request_id, *row, checksum in connection.execute(_ANSWERS):
        if checksum != checksums.of_answer((workspace, actor, request_id), *row) and (complete or checksum is not None):
            yield Problem("answer_damaged", f"request/{request_id}", f"the answer remembered for {actor} in {workspace}")
            found += 1
        if found == MAX_FOUND:
            return


def values(store_id: str) -> TableCheck:
    """The check that the table `meta` has only values that this store may have."""

    def check(connection: Connection) -> Iterator[Problem]:
        for name, detail in meta.check(connection, store_id, changes.revision(connection)):
            yield Problem("meta_damaged", f"meta/{name}", detail)

    return check


def checks(store_id: str) -> dict[str, TableCheck]:
    """All checks of rows, by the name of their phase."""
    return {
        "database": verify.database,
        "meta": values(store_id),
        "revisions": verify.revisions,
        "history": history,
        "answers": answers,
        "journals": verify.journals,
        **{f"entries of journal {name}": entries_of(journal) for name, journal in STORED_JOURNALS.items()},
        "links": verify.links,
        "bookkeeping": verify_bookkeeping.check,
        **{f"records of kind {name}": verify.images(kind) for name, kind in KINDS.items()},
    }
