"""Views: the values that the client returns. A view is a small object over a protobuf message, which it reads when it is asked.

`view_classes` makes the class of each message from its descriptor; `view_fields` has the properties of the fields. This module
has what all views share. `one_view` and `views_of` make views: they store the message and read nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from google.protobuf.message import Message

from holdfast.values.fields import message_of, plain, plain_field
from holdfast.values.view_text import html_table, one_line

if TYPE_CHECKING:
    from holdfast.values.view_fields import Place

V = TypeVar("V", bound="View")

# Methods of a message that read it: code that was written for messages may go on calling them.
_READING = frozenset(("ByteSize", "DESCRIPTOR", "HasField", "ListFields", "SerializeToString", "WhichOneof"))


class View:
    """A record, a journal's entry, a change, or a message inside one, as plain Python values.

    A field marked JSON is its decoded value, a time an aware datetime in UTC (`time_ns` has its nanoseconds), a list a list, a
    message inside it a view. What can be unset and is unset is None: optional fields, times, JSON, messages, members of a oneof.
    Every other field has its zero.

    Fields can be set; the value is checked and converted as in keyword arguments, and None clears. Lists and JSON values are
    decoded when they are first read and kept: changes inside them are written to the message when the view is saved, compared or
    copied, or when `message` is read. Views are equal if their messages are; like messages, they have no hash.
    """

    __slots__ = ("_kept", "_message")

    _name: ClassVar[str] = ""  # of the kind or message, as errors show it
    _places: ClassVar[Mapping[str, Place]] = {}
    _type: ClassVar[type[Message]]
    _repeats: ClassVar[str] = ""  # a member whose fields the view has as its own

    def __init__(self, message: Message | None = None, /, **fields: Any) -> None:
        """Makes a view of a message (default: a new one), which it shares, and sets fields.

        Raises TypeError for another type of message, and the errors of setting the fields.
        """
        made = self._type() if message is None else message_of(message)
        if not isinstance(made, self._type):
            raise TypeError(f"{type(self).__name__} is a view of {self._type.DESCRIPTOR.name}, not of {type(made).__name__}.")
        hold(self, made)
        for name, value in fields.items():
            setattr(self, name, value)

    def __holdfast_message__(self) -> Message:
        """Writes changed lists and JSON values to the message and returns it."""
        if (whole := whole_of(self)) is not None:
            message_of(whole)
        elif kept := kept_of(self):
            places = self._places
            for name, (value, before) in list(kept.items()):
                places[name].write_back(self, value, before)
        message: Message = held(self)
        return message

    def time_ns(self, name: str) -> int | None:
        """Returns a time in nanoseconds since 1970, as it is stored; None if it is unset. A datetime has only microseconds."""
        place = self._places.get(name)
        if place is None:
            raise _no_field(self, name)
        if not place.field.time:
            raise TypeError(f"{self._name}.{name} is not a time.")
        holder: Any = place.holder(self)
        return int(getattr(holder, name).ToNanoseconds()) if holder.HasField(name) else None

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of the fields, as `holdfast.plain` does; also `dict(view)`."""
        return plain(message_of(self))

    def keys(self) -> Sequence[str]:
        """The names of the fields in `dict(view)`."""
        return list(self.to_dict())

    def __getitem__(self, name: str) -> Any:
        if (place := self._places.get(name)) is None:
            raise KeyError(name)
        message_of(self)
        return plain_field(place.holder(self), name)

    __iter__ = None  # `__getitem__` takes names, so a view is no sequence

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, View | Message):
            return NotImplemented
        return bool(message_of(self) == message_of(other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self._set_fields())

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self._set_fields())

    def __copy__(self: V) -> V:
        return self._of(copied(message_of(self)))

    def __deepcopy__(self: V, memo: object) -> V:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), message_of(self).SerializeToString())

    def _of(self: V, message: Message) -> V:
        """A view like this one of another message."""
        return one_view(type(self), message)

    def _set_fields(self) -> Iterator[tuple[str, Any]]:
        """The names and values of the fields that are set. Large JSON is not decoded: its text stands for it."""
        message_of(self)
        for name, place in self._places.items():
            if name != self._repeats and place.is_set(self):
                yield name, place.shown(self)

    # For type checkers, a view has only the fields of its class.
    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name == "_kept":
                return None
            if name in _READING:
                return getattr(self._read_as(), name)
            raise _no_field(self, name)

        def __setattr__(self, name, value):
            if (place := self._places.get(name)) is None:
                raise _no_field(self, name)
            place.assign(self, value)

    def _read_as(self) -> Message:
        """The message whose reading methods the view has."""
        return self.__holdfast_message__()


hold = View._message.__set__  # type: ignore[attr-defined]
held = View._message.__get__  # type: ignore[attr-defined]
keep = View._kept.__set__  # type: ignore[attr-defined]
new = object.__new__


def kept_of(view: View) -> dict[str, tuple[Any, Any]] | None:
    """The lists, JSON values and members that a view keeps, each with what it was before changes; None before the first."""
    found = view._kept  # type: ignore[attr-defined]
    return None if isinstance(found, View) else found


def whole_of(view: View) -> View | None:
    """The entry that keeps what its part decodes: `entry.transcript.metadata` is `entry.metadata`. None for other views."""
    found = view._kept  # type: ignore[attr-defined]
    return found if isinstance(found, View) else None


def forget(view: View) -> None:
    """Drops what the view keeps, because its message was replaced."""
    keep(view, None)


def one_view(view_class: type[V], message: Any) -> V:
    """Returns a view of a message, which it shares."""
    view = new(view_class)
    hold(view, message)
    return view


def views_of(view_class: type[V], messages: Sequence[Any]) -> list[V]:
    """Returns a view of each message. Takes a third less time for each than `one_view`."""
    views = list(map(new, repeat(view_class, len(messages))))
    any(map(hold, views, messages))
    return views


def copied(message: Any) -> Any:
    """Returns a copy of a message."""
    made = type(message)()
    made.CopyFrom(message)
    return made


def restored(view_class: type[V], content: bytes) -> V:
    """Returns a pickled view."""
    return one_view(view_class, view_class._type.FromString(content))


def _no_field(view: View, name: str) -> AttributeError:
    near = get_close_matches(name, view._places, n=3)
    known = f"Did you mean {' or '.join(near)}?" if near else f"Its fields are: {', '.join(view._places)}."
    return AttributeError(f"{type(view).__name__} has no field {name!r}. {known}")
