"""Journal entries made from what callers give: messages, or the fields of a transcript entry."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import InvalidArgument, TooLarge
from holdfast.v1 import entry_pb2
from holdfast.values import fill

ENTRY_LIMIT_BYTES = 1 << 20
_CERTAINLY_FITS = ENTRY_LIMIT_BYTES // 4 - 4096  # characters; UTF-8 takes at most four bytes for one


def entry_of(value: entry_pb2.Entry | entry_pb2.Transcript | Mapping[str, object]) -> entry_pb2.Entry:
    """An entry to append. Raises TypeError for unknown fields, InvalidArgument for text that cannot be stored, TooLarge."""
    if isinstance(value, entry_pb2.Entry):
        entry = value
    elif isinstance(value, entry_pb2.Transcript):
        entry = entry_pb2.Entry(transcript=value)
    else:
        entry = entry_pb2.Entry()
        entry.transcript.SetInParent()
        fill(entry.transcript, "transcript", value)
    check_entry(entry)
    return entry


def check_entry(entry: entry_pb2.Entry) -> None:
    """Refuses what the daemon would refuse, before it spoils the batch that it would be part of."""
    check_text(entry.transcript)
    if not entry.transcript.role:
        raise _refused("role", "is required")
    if _characters(entry.transcript) > _CERTAINLY_FITS and (size := entry.ByteSize()) > ENTRY_LIMIT_BYTES:
        raise TooLarge(
            f"The entry has {size:,} bytes, the limit is {ENTRY_LIMIT_BYTES:,}. Put the content into a blob, append its digest.",
            metadata={"limit": str(ENTRY_LIMIT_BYTES), "size": str(size)},
        )


def check_text(transcript: entry_pb2.Transcript) -> None:
    """Refuses text with NUL characters, which no store of text takes."""
    for field in ("role", "content", "task_id", "phase"):
        if "\0" in getattr(transcript, field):
            raise _refused(field, "holds a NUL character; put such content into a blob")


def _characters(transcript: entry_pb2.Transcript) -> int:
    texts = (transcript.content, transcript.metadata, transcript.role, transcript.task_id, transcript.phase)
    return sum(len(each) for each in texts)


def _refused(field: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"transcript.{field} {why}.", reason="VALUE_INVALID", metadata={"field": field})
