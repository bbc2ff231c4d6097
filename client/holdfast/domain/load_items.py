"""Makes the items of a load from views, messages, or dicts of their fields, which may have the fields that the daemon sets.

In a dict, times may be RFC 3339 text, as `holdfast list --json` prints them, and a `Path` is a file: for a digest the content of
the blob (decompressed by its name), for any other field its value. A field and the blob that stands in its place may both be
there, as `holdfast tail --json` prints them: the text counts, because the blob may be another store's.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.blobs.collection import Blobs
from holdfast.blobs.contents import Contents, clear_blob, places_of, value_of
from holdfast.blobs.packed import type_of, unpacked, unpacked_text
from holdfast.blobs.sources import Source
from holdfast.contract.kinds import Field, Journal, Kind, Shape
from holdfast.errors import InvalidArgument, TooLarge
from holdfast.v1 import entry_pb2, record_pb2
from holdfast.v1.admin_service_pb2 import LoadItem
from holdfast.v1.blob_service_pb2 import BlobPutHeader, BlobServicePutResponse
from holdfast.values import unfit
from holdfast.values.exact import texts_of
from holdfast.values.fields import Json, fill, message_of
from holdfast.values.json_text import from_json
from holdfast.wire.connection import Connection

ACTOR = "@actor"
INLINE_BYTES = 64 << 10  # of a file whose text is kept in the field itself
FIELD_BYTES = 2 << 20  # of a file whose text no blob can hold
RECORD_TEXT_BYTES = 1 << 20  # a longer text of a record goes into a blob, where the kind has one for it
_OF_ENTRY = ("number", "revision", "create_time", "parent_kind", "parent_id")


class Uploads:
    """Puts contents into the blobs of a store."""

    def __init__(self, connection: Connection) -> None:
        self.contents = Contents(connection)
        self.blobs = self.contents.blobs
        self.assumed: list[str] = []

    def take_assumed(self) -> list[str]:
        """The digests of what was not stored since the last time; empty unless nothing is stored."""
        taken, self.assumed[:] = self.assumed[:], []
        return taken

    def put(self, source: Source) -> str:
        """Returns the digest of a source, which is stored."""
        return self.blobs.upload(BlobPutHeader(), source).digest

    def put_texts(self, message: Message, texts: Mapping[str, str]) -> None:
        """Puts texts that a message cannot hold into blobs, which stand in place of its fields."""
        for name, text in texts.items():
            place, encoded = places_of(message)[name], unfit.bytes_of(text)
            message.ClearField(name)
            clear_blob(message, place)
            setattr(message, place.name, self.blobs.put(encoded).digest)
            if place.type_field:
                setattr(message, place.type_field, unfit.media_type(encoded))


class _Unsent(Blobs):
    """Computes digests and stores nothing."""

    def __init__(self, connection: Connection, assumed: list[str]) -> None:
        super().__init__(connection)
        self._assumed = assumed

    def upload(self, header: BlobPutHeader, source: Source) -> BlobServicePutResponse:
        """The digest of a source, which is read to its end."""
        hashed = hashlib.sha256()
        for chunk in source.chunks():
            hashed.update(chunk)
        self._assumed.append(f"sha256:{hashed.hexdigest()}")
        return BlobServicePutResponse(digest=self._assumed[-1])


class NoUploads(Uploads):
    """Reads all contents but stores none, for a dry run; `assumed` has their digests."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.blobs = self.contents.blobs = _Unsent(connection, self.assumed)


class RecordItems:
    """Makes items with records of one kind."""

    def __init__(self, kind: Kind, uploads: Uploads) -> None:
        self._kind = kind
        self._uploads = uploads

    def item(self, given: Any) -> LoadItem:
        """Returns an item. Raises InvalidArgument, which names the field, TooLarge, and the errors of `Blobs.put`."""
        value = message_of(given)
        item, record = LoadItem(), record_pb2.Record()
        message = getattr(record, self._kind.name)
        message.SetInParent()
        if isinstance(value, Message):
            if value.DESCRIPTOR != message.DESCRIPTOR:
                raise TypeError(f"Load a {message.DESCRIPTOR.name}, not a {value.DESCRIPTOR.name}.")
            message.CopyFrom(value)
            self._uploads.put_texts(message, texts_of(given))
            _keep_texts(message)
        else:
            values, item.actor = _parted(value)
            fill_from(message, self._kind, _without_other_blobs(self._kind, values), self._uploads)
        self._move_large(message)
        item.record.CopyFrom(record)
        return item

    def _move_large(self, message: Message) -> None:
        """Puts texts into blobs that the record cannot hold."""
        for name, place in places_of(message).items():
            text = getattr(message, name)
            if len(text) * 4 > RECORD_TEXT_BYTES and len(encoded := text.encode()) > RECORD_TEXT_BYTES:
                message.ClearField(name)
                setattr(message, place.name, self._uploads.blobs.put(encoded).digest)


class EntryItems:
    """Makes items with entries of one journal. parent: kind and id of the parent of entries that name none."""

    def __init__(self, journal: Journal, uploads: Uploads, parent: tuple[str, str]) -> None:
        self._journal = journal
        self._uploads = uploads
        self._parent = parent

    def item(self, given: Any) -> LoadItem:
        """Returns an item. Raises as `RecordItems.item`, also when an entry names no parent."""
        value = message_of(given)
        item, entry = LoadItem(), entry_pb2.Entry()
        if isinstance(value, entry_pb2.Entry):
            entry.CopyFrom(value)
            self._uploads.put_texts(value_of(entry), texts_of(given))
            _keep_texts(value_of(entry))
            whole = self._uploads.contents.stored(entry, self._journal.name)
        else:
            values, item.actor = _parted(value)
            _fill_entry(entry, {name: values[name] for name in _OF_ENTRY if name in values}, self._journal)
            rest = {name: each for name, each in values.items() if name not in _OF_ENTRY}
            whole = self._stored(_without_other_blobs(self._journal, rest))
        item.entry.CopyFrom(whole)
        if not isinstance(value, entry_pb2.Entry):
            item.entry.MergeFrom(entry)
        item.entry.ClearField("revision")
        self._set_parent(item.entry)
        return item

    def _stored(self, values: dict[str, Any]) -> entry_pb2.Entry:
        made = prepared(self._journal, values, self._uploads)
        try:
            return self._uploads.contents.stored(made, self._journal.name)
        except TypeError as error:
            raise _refused(error) from None

    def _set_parent(self, entry: entry_pb2.Entry) -> None:
        kind, id = self._parent
        if id and not entry.parent_id:
            entry.parent_kind, entry.parent_id = kind, id
        if not entry.parent_kind or not entry.parent_id:
            raise InvalidArgument(
                "The entry names no parent: set parent_kind and parent_id in it, or say the parent of all"
                " (--parent session:ID, `parent=`).",
                reason="FIELD_REQUIRED",
                metadata={"field": "parent_id"},
            )


def _parted(value: Any) -> tuple[dict[str, Any], str]:
    """The fields of a dict that are set, and the actor that it names."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"An item is one JSON object, not {type(value).__name__}.", reason="VALUE_INVALID")
    actor = value.get(ACTOR) or ""
    if not isinstance(actor, str):
        raise InvalidArgument(f"{ACTOR} is a name, not {actor!r}.", reason="VALUE_INVALID")
    return {name: each for name, each in value.items() if each is not None and name != ACTOR}, actor


def _keep_texts(message: Message) -> None:
    """Clears the blob of each field that is set too. It may be another store's; the text is put again if it needs a blob."""
    for name, place in places_of(message).items():
        text, digest = getattr(message, name), getattr(message, place.name)
        if text and digest:
            if "\ufffd" in text and digest != f"sha256:{hashlib.sha256(text.encode()).hexdigest()}":
                raise InvalidArgument(
                    f"{name}: a view shows U+FFFD in place of lone surrogates, so it cannot be copied. Load the JSON that"
                    " `holdfast tail --json` prints, or a dict with the exact text.",
                    reason="VALUE_INVALID",
                    metadata={"field": name},
                )
            clear_blob(message, place)


def _without_other_blobs(shape: Shape, values: dict[str, Any]) -> dict[str, Any]:
    """As `_keep_texts`, for a dict."""
    for place in shape.blobs:
        if place.in_place_of and values.get(place.in_place_of) not in (None, "") and place.name in values:
            values = {name: each for name, each in values.items() if name not in (place.name, place.size_field, place.type_field)}
    return values


def fill_from(message: Message, shape: Shape, values: Mapping[str, Any], uploads: Uploads) -> None:
    """Sets the fields of a message. Raises InvalidArgument, which names the field."""
    try:
        fill(message, shape.name, prepared(shape, values, uploads))
    except TypeError as error:
        raise _refused(error) from None


def _fill_entry(entry: entry_pb2.Entry, values: Mapping[str, Any], journal: Journal) -> None:
    times = {name: _time(name, each) if name == "create_time" else each for name, each in values.items()}
    try:
        fill(entry, journal.name, times)
    except TypeError as error:
        raise _refused(error) from None


def prepared(shape: Shape, values: Mapping[str, Any], uploads: Uploads) -> dict[str, Any]:
    """The values as `fill` takes them: text of times read, files read or uploaded, texts that no field can hold in blobs."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = shape.by_name.get(name)
        if field is None:
            known = ", ".join(each.name for each in shape.fields)
            raise InvalidArgument(
                f"{shape.name} has no field {name!r}. Its fields are: {known}.",
                reason="FIELD_UNKNOWN",
                metadata={"field": name},
            )
        if isinstance(value, Path):
            found |= _from_file(shape, field, value, uploads, values)
        elif isinstance(value, str) and _needs_blob(shape, field, value):
            found |= _in_blob(shape, field, value, uploads)
        else:
            found[name] = _plain(field, value)
    return found


def _plain(field: Field, value: Any) -> Any:
    if field.time:
        return _time(field.name, value)
    if field.member is not None and isinstance(value, list):
        return [_member(field.member, each) for each in value]
    return value


def _member(shape: Shape, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    known = {name: each for name, each in value.items() if each is not None}
    return {name: _plain(shape.by_name[name], each) if name in shape.by_name else each for name, each in known.items()}


def _refused(error: TypeError) -> InvalidArgument:
    return InvalidArgument(f"{str(error).removesuffix('.')}.", reason="VALUE_INVALID")


def _time(name: str, value: Any) -> Any:
    if value is None or isinstance(value, datetime.datetime | Timestamp):
        return value
    time = Timestamp()
    try:
        time.FromJsonString(value)
    except (ValueError, TypeError):
        raise InvalidArgument(
            f"{name}: {value!r} is not a time. Write RFC 3339 text such as 2026-01-31T12:00:00Z.",
            reason="VALUE_INVALID",
            metadata={"field": name},
        ) from None
    return time


def _place(shape: Shape, field: Field) -> Field | None:
    """The blob that may stand in place of a field."""
    return next((each for each in shape.blobs if each.in_place_of == field.name), None)


def _needs_blob(shape: Shape, field: Field, text: str) -> bool:
    """Whether a kind's text has characters that its field cannot hold. Entries are made by `Contents.stored`, which does this."""
    apart = isinstance(shape, Kind) and not field.json and _place(shape, field) is not None
    return apart and ("\0" in text or unfit.has_surrogates(text))


def _in_blob(shape: Shape, field: Field, text: str, uploads: Uploads) -> dict[str, Any]:
    place = _place(shape, field)
    assert place is not None
    return {place.name: uploads.blobs.put(unfit.bytes_of(text)).digest}


def _from_file(shape: Shape, field: Field, path: Path, uploads: Uploads, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a file gives: a digest, with its content type if the kind has a field for it, or a text."""
    if field.blob:
        typed = field.name.removesuffix("_digest") + "_type"
        found: dict[str, Any] = {field.name: uploads.put(unpacked(path))}
        if typed in shape.by_name and not values.get(typed) and (known := type_of(path)):
            found[typed] = known
        return found
    place = _place(shape, field)
    start = _start_of(path, FIELD_BYTES if place is None else INLINE_BYTES)
    if start is None and place is not None:
        found = {place.name: uploads.put(unpacked_text(path))}
        return found | ({place.type_field: unfit.TEXT} if place.type_field else {})
    if start is None:
        raise TooLarge(
            f"{field.name}: {path} has more than {FIELD_BYTES:,} bytes. Keep it as an artifact.",
            metadata={"limit": str(FIELD_BYTES), "field": field.name},
        )
    return {field.name: _json_of(field, start, path) if field.json else start}


def _start_of(path: Path, most: int) -> str | None:
    """The text of a file; None if it has more than `most` bytes."""
    read = bytearray()
    for chunk in unpacked_text(path).chunks():
        read += chunk
        if len(read) > most:
            return None
    return read.decode()


def _json_of(field: Field, text: str, path: Path) -> Json:
    try:
        from_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"{field.name}: {path} is not JSON: {error}.", reason="VALUE_INVALID", metadata={"field": field.name}
        ) from None
    return Json(text)
