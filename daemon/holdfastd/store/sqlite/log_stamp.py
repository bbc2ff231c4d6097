"""Stamps that tell whether a write-ahead log was written over the database file beside it.

SQLite applies any valid log to any database of the same name. After a kill the log stays; when a backup is then copied over the
database file alone, the log's pages would be mixed with those of the backup. So a row of `meta` has a stamp, which the first
batch after a checkpoint replaces. A log begins anew only after a complete checkpoint, so the first commit of every log has a
stamp. That row also names the stamp that the database file had when the log began. `belongs` compares it with the row in the
file itself.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from holdfastd.store.meta import LOG_STAMP
from holdfastd.store.sqlite.connection import Connection

log = logging.getLogger(__name__)

_SALTS = slice(16, 24)  # of the log's header: new when the log begins anew (https://sqlite.org/fileformat2.html#walformat)
_HEADER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Stamp:
    """One stamp, as the row has it.

    before: the previous stamp. salts: those of the log just before the batch with this stamp; "-" without a log. base: the stamp
    that the database file had when that log began. first: the first stamp in that log.
    """

    stamp: str = "-"
    before: str = "-"
    salts: str = "-"
    base: str = "-"
    first: str = "-"

    def next(self, salts: str) -> Stamp:
        """The stamp that follows, for a batch that finds a log with these salts."""
        same_log = salts == self.salts != "-"
        return Stamp(
            stamp=secrets.token_hex(8),
            before=self.stamp,
            salts=salts,
            base=self.base if same_log else self.before,
            first=self.first if same_log else self.stamp,
        )


DAMAGED = Stamp("?", "?", "?", "?", "?")
_VALUE = re.compile(rb"(-|\?|[0-9a-f]{16})( (-|\?|[0-9a-f]{16})){4}")


def belongs(in_file: Stamp, with_log: Stamp, salts: str) -> bool:
    """Whether the log was written over this database file.

    in_file: the stamp in the file alone. with_log: the stamp after the log was applied. salts: those of the log. A damaged stamp
    tells nothing, and refuses no log.
    """
    if DAMAGED in (in_file, with_log):
        return True
    if in_file.stamp in (with_log.stamp, with_log.before):
        return True
    if salts != with_log.salts:  # the log began with the newest stamp
        return False
    return in_file.stamp in (with_log.base, with_log.first) or in_file.salts == salts


def read_stamp(connection: Connection) -> Stamp:
    """The newest stamp that the connection sees; the default one when there is none; DAMAGED when it cannot be read."""
    # The + keeps SQLite from using the index: a new stamp changes only the row, so with a foreign log the index may lack it.
    row = connection.execute("SELECT CAST(value AS BLOB) FROM meta WHERE +name = ?", (LOG_STAMP,)).fetchone()
    if row is None:
        return Stamp()
    return Stamp(*row[0].decode().split(" ")) if _VALUE.fullmatch(row[0] or b"") else DAMAGED


class Stamps:
    """Writes the stamps of one database, in the batches that may begin a new log. Belongs to the writer's thread."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._stamped = -1  # checkpoints that had ended when the newest stamp was written
        self._ended = 0
        self._is_due = False
        self._changes = 0

    def begin(self, connection: Connection, ended: int, begun: int) -> None:
        """Call it after BEGIN, with the number of checkpoints that have ended, read first, and that were begun."""
        self._ended = ended
        self._is_due = begun > self._stamped
        self._changes = connection.total_changes

    def write_if_due(self, connection: Connection) -> None:
        """Call it before COMMIT. Writes a stamp, unless no checkpoint has run since the last one or the batch changed nothing."""
        self._is_due = self._is_due and connection.total_changes != self._changes
        if self._is_due:
            newest = read_stamp(connection)
            if newest == DAMAGED:
                log.warning("The value of log_stamp in the table meta is damaged. It is replaced.")
            stamp = newest.next(read_salts(self._log))
            value = " ".join((stamp.stamp, stamp.before, stamp.salts, stamp.base, stamp.first))
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (LOG_STAMP, value),
            )

    def committed(self) -> None:
        """Call it after COMMIT."""
        if self._is_due:
            self._stamped = self._ended


def read_salts(log: Path) -> str:
    """The salts of a log; "-" when there is no log or it is empty."""
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "-"
    try:
        return os.pread(descriptor, _HEADER_BYTES, 0)[_SALTS].hex() or "-"
    finally:
        os.close(descriptor)
