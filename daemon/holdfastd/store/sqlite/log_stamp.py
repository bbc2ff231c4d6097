"""Stamps that tell whether a write-ahead log was written over the database file beside it.

SQLite applies any valid log to any database of the same name. After a kill the log stays; when a backup is then copied over the
database file alone, the log's pages would be mixed with those of the backup. So a row of `meta` has a stamp, which the first
batch after a checkpoint replaces. A log begins anew only after a complete checkpoint, so the first commit of every log has a
stamp. That row also names the stamp that the database file had when the log began. `belongs` compares it with the row in the
file itself.

A copy that `VACUUM INTO` or a dump made has the same rows, and so the same stamp, on other pages. So the row also has a checksum
of the header that the file had when the log began (https://sqlite.org/fileformat2.html#the_database_header: schema cookie, change
counter, size, free pages). Only a checkpoint of this log changes that header, to the one of a frame in the log. `fits` demands
one of these.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfastd.store.meta import LOG_STAMP
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.held_file import HeldFile
from holdfastd.store.sqlite.log_watch import FRAME_HEADER_BYTES, LOG_HEADER_BYTES, SALTS

log = logging.getLogger(__name__)

_DATABASE_HEADER_BYTES = 100
_FRAME_SALTS = slice(8, 16)
# The row as it is on a page: the name, then the six fields of `Stamp`.
_ROW = re.compile(rb"log_stamp[0-9a-f?-]+(?: [0-9a-f?-]+){4} ([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One stamp, as the row has it.

    before: the previous stamp. salts: those of the log just before the batch with this stamp; "-" without a log. base: the stamp
    that the database file had when that log began. first: the first stamp in that log. header: the checksum that the header of
    the database file had when the stamp was written.
    """

    stamp: str = "-"
    before: str = "-"
    salts: str = "-"
    base: str = "-"
    first: str = "-"
    header: str = "-"

    def next(self, salts: str, header: str) -> Stamp:
        """The stamp that follows, for a batch that finds a log with these salts and a database file with this header."""
        same_log = salts == self.salts != "-"
        return Stamp(
            stamp=secrets.token_hex(8),
            before=self.stamp,
            salts=salts,
            base=self.base if same_log else self.before,
            first=self.first if same_log else self.stamp,
            header=header,
        )


DAMAGED = Stamp("?", "?", "?", "?", "?", "?")
_VALUE = re.compile(rb"(-|\?|[0-9a-f]{16})( (-|\?|[0-9a-f]{16})){4}( (-|\?|[0-9a-f]{8}))?")


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


def fits(database: Path, log: Path) -> bool:
    """Whether the log was written over a file with this header, or a checkpoint of the log wrote the header.

    True for a log that an older version or a migration began, without such a checksum in its first commit. (No migration after
    0008 writes to `meta`, since that would bring an older stamp into its log.) A checksum from a later commit may be of a header
    that a checkpoint had written but not synced, so that a power cut took it back. True also for a log whose first commit is
    torn, as a power cut during its sync leaves it: SQLite ignores that log, and a page may still have the row of an older one.
    """
    with database.open("rb") as file:
        header = checksum_of(file.read(_DATABASE_HEADER_BYTES))
    with log.open("rb") as file:
        first = _headers_in_first_commit(file.fileno())
        if not first or header in first or header in _headers_of_first_pages(file.fileno()):
            return True
        return not _has_commit(file.fileno())


def checksum_of(header: bytes) -> str:
    return f"{zlib.crc32(header):08x}"


def _headers_in_first_commit(log: int) -> set[str]:
    """The checksums in the rows of stamps in the first commit of the log. Free space of a page may have rows of older stamps."""
    found = set[str]()
    for offset, frame_header, page_bytes in _frames(log):
        page = os.pread(log, page_bytes, offset + FRAME_HEADER_BYTES)
        found.update(match[1].decode() for match in _ROW.finditer(page))
        if any(frame_header[4:8]):  # the last frame of a commit has the size of the database here
            return found
    return set()


def _headers_of_first_pages(log: int) -> Iterator[str]:
    """The checksums of the headers of all first pages in the log."""
    for offset, frame_header, _ in _frames(log):
        if int.from_bytes(frame_header[:4]) == 1:
            yield checksum_of(os.pread(log, _DATABASE_HEADER_BYTES, offset + FRAME_HEADER_BYTES))


def _has_commit(log: int) -> bool:
    """Whether all frames of the first commit have their checksums (https://sqlite.org/fileformat2.html#checksum_algorithm)."""
    header = os.pread(log, LOG_HEADER_BYTES, 0)
    words = ">" if header[3] & 1 else "<"  # the order of bytes in which the sums are made; they are stored in ">"
    sums = _summed((0, 0), header[:24], words)
    for offset, frame_header, page_bytes in _frames(log):
        page = os.pread(log, page_bytes, offset + FRAME_HEADER_BYTES)
        if len(page) < page_bytes:
            return False
        sums = _summed(sums, frame_header[:8] + page, words)
        if sums != struct.unpack(">II", frame_header[16:24]):
            return False
        if any(frame_header[4:8]):
            return True
    return False


def _summed(sums: tuple[int, int], content: bytes, words: str) -> tuple[int, int]:
    first, second = sums
    for one, other in struct.iter_unpack(f"{words}II", content):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _frames(log: int) -> Iterator[tuple[int, bytes, int]]:
    """Offset, header and page size of each frame that was written since the log began anew."""
    header = os.pread(log, LOG_HEADER_BYTES, 0)
    page_bytes, offset = int.from_bytes(header[8:12]), LOG_HEADER_BYTES
    while (frame := os.pread(log, FRAME_HEADER_BYTES, offset))[_FRAME_SALTS] == header[SALTS] != b"":
        yield offset, frame, page_bytes
        offset += FRAME_HEADER_BYTES + page_bytes


def read_stamp(connection: Connection) -> Stamp:
    """The newest stamp that the connection sees; the default one when there is none; DAMAGED when it cannot be read."""
    # The + keeps SQLite from using the index: a new stamp changes only the row, so with a foreign log the index may lack it.
    row = connection.execute("SELECT CAST(value AS BLOB) FROM meta WHERE +name = ?", (LOG_STAMP,)).fetchone()
    if row is None:
        return Stamp()
    return Stamp(*row[0].decode().split(" ")) if _VALUE.fullmatch(row[0] or b"") else DAMAGED


class Stamps:
    """Writes the stamps of one database, in the batches that may begin a new log. Belongs to the writer's thread."""

    def __init__(self, database: Path, log: Path) -> None:
        self._database = database
        self._log = log
        self._held: HeldFile | None = None  # the database file
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
            stamp = newest.next(read_salts(self._log), self._read_header())
            value = " ".join((stamp.stamp, stamp.before, stamp.salts, stamp.base, stamp.first, stamp.header))
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (LOG_STAMP, value),
            )

    def _read_header(self) -> str:
        self._held = self._held or HeldFile(self._database)
        return checksum_of(self._held.read_at(0, _DATABASE_HEADER_BYTES))

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
        return os.pread(descriptor, LOG_HEADER_BYTES, 0)[SALTS].hex() or "-"
    finally:
        os.close(descriptor)
