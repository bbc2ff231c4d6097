"""Translates SQLite's errors: to ours by their result code, and to the constraint that refused a statement.

sqlcipher3 gives only primary result codes (`SQLITE_CONSTRAINT`, never `SQLITE_CONSTRAINT_UNIQUE`; `SQLITE_IOERR`, never
`SQLITE_IOERR_FSYNC`). So a UNIQUE constraint is recognised by SQLite's message, which names its columns. The message of a FOREIGN
KEY constraint names nothing, so references are looked up before the statement. Every I/O error of the writer counts as a failed
fsync.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sqlcipher3.dbapi2 as sqlite

from holdfastd import descriptors
from holdfastd.errors import VERIFY_AND_RESTORE, Cancelled, DataLoss, DiskFull, Exhausted, HoldfastError, SetupError
from holdfastd.store.engine import Constraint

Error = sqlite.Error

# "UNIQUE constraint failed: task.workspace, task.id", also for a primary key. For an index on expressions it names the index.
_UNIQUE = re.compile(r"UNIQUE constraint failed: (\w+\.\w+(?:, \w+\.\w+)*)")


# The constraints that compare a row with others, which an index finds. The others look only at the row itself.
_BETWEEN_ROWS = re.compile(r"UNIQUE constraint failed|FOREIGN KEY constraint failed")


def error_code(error: Exception) -> int:
    """SQLite's primary result code; 0 when the error did not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def refusal(error: Exception) -> Constraint | None:
    """The UNIQUE, CHECK, NOT NULL or FOREIGN KEY constraint that refused the statement; None when it was another error."""
    if error_code(error) != sqlite.SQLITE_CONSTRAINT:
        return None
    match = _UNIQUE.fullmatch(str(error))
    return Constraint(tuple(name.split(".")[1] for name in match[1].split(", ")) if match else ())


def is_io_failure(error: Exception) -> bool:
    """Whether it is an I/O error; on the writer's connection this may be a failed fsync (see the head of this module)."""
    return error_code(error) == sqlite.SQLITE_IOERR


def is_sql_error(error: Exception) -> bool:
    """Whether SQLite could not understand a statement, for example because no column has that name."""
    return error_code(error) == sqlite.SQLITE_ERROR


def schema_damaged() -> DataLoss:
    """The error of a statement that names a table or a column whose definition is damaged."""
    return DataLoss(
        "The definition of a table in the database is damaged. Run verify, and restore a backup.", reason="DATABASE_DAMAGED"
    )


def translate(error: Exception) -> HoldfastError | None:
    """Our error for SQLite's, by its code; None when a caller could do nothing about it.

    A constraint between rows means damage here: commands look for what it would refuse, and catch what a caller can cause.
    """
    code = error_code(error)
    if not code and isinstance(error, sqlite.OperationalError):
        # The driver's own error, without a code of SQLite's: a text column does not hold UTF-8. The store writes only UTF-8.
        return _not_text()
    if code == sqlite.SQLITE_FULL:
        return DiskFull("The disk is full; nothing was written. Free some space and try again.")
    if code == sqlite.SQLITE_INTERRUPT:
        return Cancelled("The caller has gone; the read was interrupted.")
    if code in (sqlite.SQLITE_CORRUPT, sqlite.SQLITE_NOTADB):
        return DataLoss(
            "The database file is damaged or is not a database. Run verify, and restore a backup.", reason="DATABASE_DAMAGED"
        )
    if code == sqlite.SQLITE_CONSTRAINT and _BETWEEN_ROWS.match(str(error)):
        return _contradicted(error)
    if code == sqlite.SQLITE_IOERR:
        return DataLoss("The disk reported an error. Check the system's log and the disk.", reason="IO_ERROR")
    if code == sqlite.SQLITE_CANTOPEN and (lack := descriptors.lack_now()) is not None:
        return lack
    if code in (sqlite.SQLITE_CANTOPEN, sqlite.SQLITE_READONLY, sqlite.SQLITE_PERM):
        return SetupError("The database cannot be opened for writing. Check the owner and the mode of the data directory.")
    if code == sqlite.SQLITE_BUSY:
        return Exhausted("The database is busy; try again.", reason="DATABASE_BUSY", retry_delay_s=0.1)
    return None


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Translates the errors that SQLite raises inside the block, which applies no command.

    Errors that `translate` does not know pass unchanged, as do those of constraints.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # in SQLite's message, which quotes the text of the schema
        raise _not_text() from error
    except Error as error:
        if refusal(error) is not None or (known := translate(error)) is None:
            raise
        raise known from error


def _contradicted(error: Exception) -> DataLoss:
    """The error of a write that a constraint refused although the rows that the daemon found allow it."""
    constraint = refusal(error)
    columns = f" ({', '.join(constraint.columns)})" if constraint and constraint.columns else ""
    return DataLoss(
        f"A constraint{columns} refuses this write although the rows that were found allow it, so an index of the database is"
        f" damaged. Nothing was written. {VERIFY_AND_RESTORE}",
        reason="DATABASE_DAMAGED",
    )


def _not_text() -> DataLoss:
    return DataLoss(
        "A text in the database is damaged: it is not UTF-8. Run verify, and restore a backup.", reason="DATABASE_DAMAGED"
    )
