"""Contents that a field cannot hold: puts them into blobs before a write, and reads them back whole.

An entry holds at most 1 MiB and no NUL characters or lone surrogates, a phase output at most 2 MiB. The contract names for each
such field the blob that may stand in place of it (`in_place_of`). The functions take an entry, or the message of an entry or
record. A message cannot hold lone surrogates, so `whole` shows U+FFFD in place of each; views (`values/exact.py`), `text_of` and
`open_content` are exact.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import Any, BinaryIO, Protocol, TypeVar

from google.protobuf.message import Message

from holdfast.blobs.collection import Blobs
from holdfast.contract.kinds import Field, fields_of
from holdfast.errors import DataLoss, HoldfastError, InvalidArgument, NotFound, TooLarge
from holdfast.v1 import entry_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import unfit
from holdfast.values.entries import ENTRY_LIMIT_BYTES, EntryLike, check_entry, entry_of, unchecked
from holdfast.values.exact import with_texts
from holdfast.values.fields import json_field, message_of
from holdfast.values.view import View
from holdfast.wire.agreement import UPGRADE_DAEMON
from holdfast.wire.connection import Connection
from holdfast.wire.pages import Gaps

SINCE = 4  # the API version that has blobs in place of fields

M = TypeVar("M", bound=Message)
Made = TypeVar("Made", covariant=True)
MakeValues = Callable[[Sequence[entry_pb2.Entry]], Iterable[Made]]  # faster for several entries than for each
_AT_ONCE = 256  # entries whose values are made together; those of a whole page would take memory


class ValuesOf(Protocol[Made]):
    """Yields the values of entries, in order. With contents whole, one at a time: they may not fit into memory together."""

    def __call__(self, entries: Sequence[entry_pb2.Entry], gaps: Gaps) -> Iterator[Made]: ...


def value_of(entry: Message) -> Any:
    """The message that has the fields: that of the journal for an entry, else the message itself."""
    return getattr(entry, entry.WhichOneof("value") or "transcript") if isinstance(entry, entry_pb2.Entry) else entry


@cache
def _places(message_type: Any) -> Mapping[str, Field]:
    """The blobs of a message that stand in place of a field, by the name of that field."""
    return {each.in_place_of: each for each in fields_of(message_type).values() if each.in_place_of}


def places_of(message: Message) -> Mapping[str, Field]:
    """The blobs that may stand in place of the message's fields, by the name of that field."""
    return _places(message.DESCRIPTOR)


def text_of(given: View | Message, blobs: Blobs, field: str = "") -> str:
    """Returns the text of a field exactly as it was given, from the message or its blob; of `data`, its JSON text.

    The default is `content`, or the `message` of an event. Raises DataLoss if the blob is damaged or missing.
    """
    entry: Message = message_of(given)
    message = value_of(entry)
    name = field or _default(message)
    place = places_of(message).get(name)
    digest = getattr(message, place.name) if place is not None else ""
    return _text(blobs, digest, entry) if digest else str(getattr(message, name))


def open_content(given: View | Message, blobs: Blobs, field: str = "") -> BinaryIO:
    """Returns the text of a field as a readable, seekable binary file of UTF-8, which fetches what is read of it.

    Lone surrogates are three bytes each. Raises DataLoss if the blob is missing; reading raises it for damage.
    """
    entry: Message = message_of(given)
    message = value_of(entry)
    name = field or _default(message)
    place = places_of(message).get(name)
    digest = getattr(message, place.name) if place is not None else ""
    if not digest:
        return io.BytesIO(unfit.bytes_of(getattr(message, name)))
    try:
        return blobs.open(digest)
    except NotFound as error:
        raise _lost(entry, digest, error) from error


def whole(entry: M, blobs: Blobs) -> M:
    """Returns the message with its fields filled from their blobs: a copy, or the message itself if it has no blobs.

    Raises DataLoss, which names the entry or record, if a blob is damaged or missing.
    """
    return whole_with_texts(entry, blobs)[0]


def whole_with_texts(entry: M, blobs: Blobs) -> tuple[M, dict[str, str]]:
    """As `whole`, and the texts that the message cannot hold exactly, by field; for `exact.with_texts`."""
    filled = type(entry)()
    filled.CopyFrom(entry)
    message, texts = value_of(filled), dict[str, str]()
    digests = {name: digest for name, place in places_of(message).items() if (digest := getattr(message, place.name))}
    for name, digest in digests.items():
        text = _text(blobs, digest, entry)
        shown = unfit.shown(text)
        setattr(message, name, shown)
        if shown != text:
            texts[name] = text
    return (filled if digests else entry), texts


def _default(message: Message) -> str:
    return "content" if "content" in places_of(message) else "message"


def _bytes(blobs: Blobs, digest: str, entry: Message) -> bytes:
    try:
        return blobs.get(digest)
    except (NotFound, DataLoss) as error:
        raise _lost(entry, digest, error) from error


def _text(blobs: Blobs, digest: str, entry: Message) -> str:
    """The text in a blob. Raises DataLoss also for bytes that are no text, which another client may have put there."""
    try:
        return unfit.text_from(_bytes(blobs, digest, entry))
    except UnicodeDecodeError as error:
        raise _lost(entry, digest, DataLoss(f"it holds bytes that are no text: {error}.")) from error


def _lost(entry: Message, digest: str, error: HoldfastError) -> DataLoss:
    said = f"The content of {_named(entry)} cannot be read, its blob {digest}: {error.message}"
    return DataLoss(said, reason="CONTENT_DAMAGED", metadata={**error.metadata, "digest": digest})


def _named(entry: Message) -> str:
    if not isinstance(entry, entry_pb2.Entry):
        return f"{entry.DESCRIPTOR.name} {getattr(entry, 'id', '')}"
    parent = f" of {entry.parent_kind} {entry.parent_id}" if entry.parent_id else ""
    return f"{entry.WhichOneof('value')} entry {entry.number}{parent}"


def as_stored(made: MakeValues[Made]) -> ValuesOf[Made]:
    """Returns the function that yields the values of entries without the contents that are in blobs."""

    def values_of(entries: Sequence[entry_pb2.Entry], gaps: Gaps) -> Iterator[Made]:
        for start in range(0, len(entries), _AT_ONCE):
            yield from made(entries[start : start + _AT_ONCE])

    return values_of


def _whole_or_noted(entry: entry_pb2.Entry, blobs: Blobs, gaps: Gaps) -> tuple[entry_pb2.Entry, dict[str, str]] | None:
    try:
        return whole_with_texts(entry, blobs)
    except DataLoss as error:
        gaps.note([Unreadable(kind=entry.WhichOneof("value") or "", id=str(entry.number), reason=error.message)])
        return None


class Contents:
    """Puts contents into the blobs of a store and fills them in. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.blobs = Blobs(connection)

    def filled(self, journal: str, made: MakeValues[Made]) -> ValuesOf[Made]:
        """Returns the function that yields the values of a journal's entries whole; those with a damaged content are left out."""
        value, blobs = attrgetter(journal), self.blobs
        digests = [attrgetter(each.name) for each in places_of(getattr(entry_pb2.Entry(), journal)).values()]
        if not digests:
            return as_stored(made)

        def values_of(entries: Sequence[entry_pb2.Entry], gaps: Gaps) -> Iterator[Made]:
            for start in range(0, len(entries), _AT_ONCE):
                some = entries[start : start + _AT_ONCE]
                messages = list(map(value, some))  # kept while they are used: protobuf need not make them again for the caller
                if not any(any(map(each, messages)) for each in digests):
                    yield from made(some)
                    continue
                for entry in some:
                    if (found := _whole_or_noted(entry, blobs, gaps)) is not None:
                        yield from (with_texts(each, found[1]) for each in made([found[0]]))

        return values_of

    def stored(self, value: EntryLike, journal: str = "transcript") -> entry_pb2.Entry:
        """Returns an entry to append. What its fields cannot hold is put into blobs, which the entry names.

        Raises TypeError for unknown fields, InvalidArgument, TooLarge, and the errors of `Blobs.put`.
        """
        try:
            entry = entry_of(value, journal)
        except (InvalidArgument, TooLarge) as error:
            return self._stored_apart(value, journal, error)
        return self._stored_apart(value, journal, None) if _needs_more(journal)(getattr(entry, journal)) else entry

    def stored_text(self, text: str, kind: str) -> str | None:
        """Puts a text of a record of that kind into a blob and returns the digest.

        None if the daemon is too old to keep it in place of a field.
        """
        return self.blobs.put(unfit.bytes_of(text), kind=kind).digest if self._connection.supports(SINCE) else None

    def settle(self, message: Message) -> None:
        """Clears one of a field and its blob if a message has both: the field if it says the same as the blob."""
        for name, place in places_of(message).items():
            if getattr(message, place.name) and (text := getattr(message, name)):
                if self._is_same(text, message, place):
                    message.ClearField(name)
                else:
                    clear_blob(message, place)

    def _is_same(self, text: str, message: Message, place: Field) -> bool:
        """Whether a text is that of the blob: what `whole` has filled in, unless the caller changed it."""
        digest, encoded = getattr(message, place.name), text.encode()
        if digest == f"sha256:{hashlib.sha256(encoded).hexdigest()}":
            return True
        if "\ufffd" not in text:
            return False
        return unfit.shown(_text(self.blobs, digest, message)) == text

    def _stored_apart(self, value: EntryLike, journal: str, error: InvalidArgument | None) -> entry_pb2.Entry:
        entry, apart = _parted(value, journal)
        message = getattr(entry, journal)
        self.settle(message)
        apart |= _unfit_of(message)
        while entry.ByteSize() > ENTRY_LIMIT_BYTES and (name := _largest(message)):
            apart[name] = _taken(message, name)
        check_entry(entry, journal)
        if apart and not self._connection.supports(SINCE):
            raise _too_old(error, journal, apart)
        for name, content in apart.items():
            self._put(message, places_of(message)[name], content, journal)
        return entry

    def _put(self, message: Message, place: Field, content: bytes, journal: str) -> None:
        setattr(message, place.name, self.blobs.put(content, kind=journal).digest)
        if place.type_field:
            setattr(message, place.type_field, unfit.media_type(content))


def clear_blob(message: Message, place: Field) -> None:
    """Clears a blob's digest, size and media type."""
    for name in (place.name, place.size_field, place.type_field):
        if name:
            message.ClearField(name)


def _parted(value: EntryLike, journal: str) -> tuple[entry_pb2.Entry, dict[str, bytes]]:
    """An entry of the caller's values, which is not the caller's, and the texts with lone surrogates, which it cannot hold."""
    apart: dict[str, bytes] = {}
    if isinstance(value, Mapping):
        fields = fields_of(getattr(entry_pb2.Entry(), journal).DESCRIPTOR)
        named = [each.in_place_of for each in fields.values() if each.in_place_of in value]
        apart = {name: content for name in named if (content := _with_surrogates(fields[name], value[name])) is not None}
        value = {name: each for name, each in value.items() if name not in apart}
    entry = entry_pb2.Entry()
    entry.CopyFrom(unchecked(value, journal))
    return entry, apart


def _with_surrogates(field: Field, value: object) -> bytes | None:
    """The bytes of a text or JSON value if it has lone surrogates; None for any other value, also an invalid one."""
    if not field.json:
        return unfit.bytes_of(value) if isinstance(value, str) and unfit.has_surrogates(value) else None
    with suppress(ValueError, TypeError):
        try:
            json_field(value)
        except ValueError:
            return unfit.json_bytes(value)
    return None


@cache
def _needs_more(journal: str) -> Callable[[Message], bool]:
    """Returns the check whether a message that passed `check_entry` names a blob, or has JSON that a field cannot hold."""
    none = getattr(entry_pb2.Entry(), journal)
    fields, names = fields_of(none.DESCRIPTOR), places_of(none)
    digests = attrgetter(*(each.name for each in names.values()))
    unset, documents = digests(none), [name for name in names if fields[name].json]

    def check(message: Message) -> bool:
        return digests(message) != unset or any(unfit.is_unfit_json(getattr(message, name)) for name in documents)

    return check if documents else lambda message: bool(digests(message) != unset)


def _is_unfit(message: Message, name: str) -> bool:
    field = fields_of(message.DESCRIPTOR)[name]
    text = getattr(message, name)
    return unfit.is_unfit_json(text) if field.json else unfit.is_unfit(text)


def _unfit_of(message: Message) -> dict[str, bytes]:
    return {name: _taken(message, name) for name in places_of(message) if _is_unfit(message, name)}


def _largest(message: Message) -> str:
    """The field with the longest text that a blob can stand in place of; empty if all are empty."""
    sizes: Sequence[tuple[int, str]] = [(len(getattr(message, name)), name) for name in places_of(message)]
    length, name = max(sizes, default=(0, ""))
    return name if length else ""


def _taken(message: Message, name: str) -> bytes:
    """The bytes of a field, which is cleared."""
    content = unfit.bytes_of(getattr(message, name))
    message.ClearField(name)
    return content


def _too_old(error: InvalidArgument | None, journal: str, apart: Mapping[str, bytes]) -> InvalidArgument:
    """The error for a content that only a newer daemon can keep."""
    said = error.message if error is not None else f"{journal}.{min(apart)} holds text that a field cannot hold."
    advice = f"A daemon of API version {SINCE} keeps such content in a blob. {UPGRADE_DAEMON}"
    kind = type(error) if error is not None else InvalidArgument
    metadata = error.metadata if error is not None else {"field": min(apart)}
    return kind(f"{said} {advice}", reason="" if error is None else error.reason, metadata=metadata)
