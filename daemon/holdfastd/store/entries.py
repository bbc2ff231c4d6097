"""The images of journal entries: checked against their checksums, or built from the columns of entries that have none.

The use cases fetch rows with `query.read_entries` and `query.list_entries`, and pass them to `checked` in the same snapshot.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from holdfast.contract.kinds import Journal
from holdfast.v1 import journal_service_pb2
from holdfastd.model.checksums import of_entry
from holdfastd.model.entries import create_time, entry_codec
from holdfastd.store.engine import Connection
from holdfastd.store.pages import DamagedImage, Image
from holdfastd.store.sql import quoted

Row = tuple[int, bytes | None, int | None]  # number, image, checksum


def checked(connection: Connection, journal: Journal, journal_id: int, seed: int, rows: Iterable[Row]) -> list[tuple[int, Image]]:
    """The number and the image of each entry of one journal. seed: as `checksums.journal_seed`."""
    crc32 = zlib.crc32  # as `of_entry`, without a call for each entry
    return [
        (number, image)
        if image.__class__ is bytes and crc32(image, (seed + number) & 0xFFFFFFFF) == checksum
        else (number, image_of(connection, journal, journal_id, seed, number, image, checksum))
        for number, image, checksum in rows
    ]


def image_of(
    connection: Connection, journal: Journal, journal_id: int, seed: int, number: int, image: bytes | None, checksum: int | None
) -> Image:
    """The image of one entry. An entry that an earlier version wrote may have no image, and no checksum."""
    try:
        found = from_columns(connection, journal, journal_id, number) if image is None else image
    except (TypeError, ValueError) as error:
        return DamagedImage(str(error))
    if not isinstance(found, bytes) or checksum not in (None, of_entry(seed, number, found)):
        return DamagedImage("it is damaged: its checksum differs")
    return found


def from_columns(connection: Connection, journal: Journal, journal_id: int, number: int) -> bytes:
    """The image of an entry, built from its columns. ValueError or TypeError when they are damaged."""
    names = ", ".join(quoted(field.name) for field in journal.columns)
    row = connection.execute(
        f"SELECT revision, create_time, {names} FROM {quoted(journal.name)} WHERE journal_id = ? AND number = ?",
        (journal_id, number),
    ).fetchone()
    if row is None:
        raise ValueError("it has gone")
    revision, created, *values = row
    frame = journal_service_pb2.JournalServiceReadResponse()
    entry = entry_codec(journal).add(frame.entries, number, revision, create_time(created), values)
    return entry.SerializeToString()
