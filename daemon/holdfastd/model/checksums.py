"""The checksums of stored messages, by which reads find damage. `docs/checksums.md` defines their bytes and order.

Each is a CRC-32 (that of zlib) of what a message says and where it belongs. It does not depend on the row, so it stays valid in
another table, another engine or an export. It finds damage, not forgery.
"""

from __future__ import annotations

import zlib
from typing import Any

from holdfastd.model.mutations import Change

CommitSaid = tuple[int, str, str, int | None, int | None]
"""Time, actor, request id, user and process id of a commit."""

NEVER = -1  # is no checksum
_BITS = 0xFFFFFFFF


def of(*parts: Any, data: bytes = b"") -> int:
    """The checksum of some texts and numbers, each ended by a NUL, and of the bytes after them. None counts as empty."""
    head = "".join(["\0" if part is None else f"{part}\0" for part in parts])
    return zlib.crc32(data, zlib.crc32(head.encode(errors="replace")))


def _text(value: int | None) -> int | str:
    return "" if value is None else value


def of_image(workspace: str, kind: str, id: str, image: bytes) -> int:
    """The checksum of a record's image, in the record's row and in the history."""
    return of(workspace, kind, id, data=image)


def of_change(
    workspace: str,
    place: tuple[int, int],
    change: Change,
    image_checksum: int | None,
    commit: CommitSaid,
) -> int:
    """The checksum of a change with its commit. The image is in it by its own checksum.

    place: revision and ordinal.
    """
    revision, ordinal = place
    kind, id, action, version, parent_kind, first, last, _ = change
    time_ns, actor, request_id, uid, pid = commit
    said = (
        f"{workspace}\0{revision}\0{ordinal}\0{kind}\0{id}\0{action}\0{version}\0{parent_kind}\0{first}\0{last}\0{_text(image_checksum)}\0"
        f"{time_ns}\0{actor}\0{request_id}\0{_text(uid)}\0{_text(pid)}\0"  # one text: the writer computes this for each change
    )
    return zlib.crc32(said.encode(errors="replace"))


def of_answer(key: tuple[str, str, str], revision: int, create_time: int, fingerprint: bytes, answer: bytes) -> int:
    """The checksum of a remembered answer. key: workspace, actor and request id."""
    said = f"{key[0]}\0{key[1]}\0{key[2]}\0{revision}\0{create_time}\0"
    try:
        return zlib.crc32(answer, zlib.crc32(fingerprint, zlib.crc32(said.encode(errors="replace"))))
    except TypeError:  # damage changed the type of a column
        return NEVER


def journal_seed(workspace: str, journal: str, parent_kind: str, parent_id: str) -> int:
    """The checksum of a journal's place, from which those of its entries start."""
    return of(workspace, journal, parent_kind, parent_id)


def of_entry(seed: int, number: int, image: bytes) -> int:
    """The checksum of an entry: the CRC-32 of its encoded message, started with the seed of its journal plus its number."""
    return zlib.crc32(image, (seed + number) & _BITS)
