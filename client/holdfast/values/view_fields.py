"""The fields of views: how each type of field is read from the message, set, and written back after a change in place.

A `Place` says where a field is and makes the property of the view's class. Text and numbers are read by functions in C alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message

from holdfast.contract.kinds import Field
from holdfast.values.fields import DecodedText, fill, json_value, message_of, utc_time
from holdfast.values.json_text import to_escaped_json, to_json
from holdfast.values.view import View, held, hold, keep, kept_of, new, one_view, views_of, whole_of

_DECODED_CHARACTERS = 2000  # `repr` decodes JSON text up to this length
ClassOf = Callable[[Any], type[View]]  # the view class of a message's descriptor


def _no_class(descriptor: Any) -> type[View]:
    raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Place:
    """A field of a view without presence: text, a number, a boolean. The other types are subclasses.

    `inside` is the member of an entry's oneof that has the field; empty if the view's own message has it.
    """

    field: Field
    inside: str = ""

    def holder(self, view: View) -> Any:
        """The message that has the field."""
        return getattr(held(view), self.inside) if self.inside else held(view)

    def made_property(self) -> Any:
        """The property of the view's class."""
        return property(attrgetter(".".join(each for each in ("_message", self.inside, self.field.name) if each)), self.assign)

    def is_set(self, view: View) -> bool:
        """Whether the field has a value other than its zero."""
        return bool(getattr(self.holder(view), self.field.name))

    def shown(self, view: View) -> Any:
        """The value for `repr`."""
        return getattr(view, self.field.name)

    def assign(self, view: View, value: Any) -> None:
        """Sets the field. Raises TypeError and InvalidArgument as `fill` does; the view is then unchanged."""
        if (whole := whole_of(view)) is not None:
            setattr(whole, self.field.name, value)
            return
        self._put(view, self._filled(view, value))
        if (kept := kept_of(view)) is not None:
            kept.pop(self.field.name, None)

    def write_back(self, view: View, value: Any, before: Any) -> None:
        """Writes a kept value to the message if it differs from `before`, what it was when it was decoded or last written."""

    def _filled(self, view: View, value: Any) -> Message:
        """A message of the holder's type with only this field set."""
        made: Message = type(self.holder(view))()
        fill(made, self.inside or view._name, {self.field.name: value})
        return made

    def _put(self, view: View, filled: Message) -> None:
        message: Message = self.holder(view)
        message.ClearField(self.field.name)
        message.MergeFrom(filled)

    def _kept(self, view: View) -> Any:
        """The value that the view keeps; None without one."""
        kept = kept_of(view)
        return kept[self.field.name][0] if kept is not None and self.field.name in kept else None

    def _keep(self, view: View, value: Any, before: Any) -> None:
        if (kept := kept_of(view)) is None:
            keep(view, kept := {})
        kept[self.field.name] = value, before


class OptionalPlace(Place):
    """A field with presence: None if it is unset."""

    def made_property(self) -> Any:
        return property(self.read, self.assign)

    def read(self, view: View) -> Any:
        """The value; None if it is unset."""
        holder, name = self.holder(view), self.field.name
        return getattr(holder, name) if holder.HasField(name) else None

    def is_set(self, view: View) -> bool:
        return bool(self.holder(view).HasField(self.field.name))


class TimePlace(OptionalPlace):
    """A time: an aware datetime in UTC."""

    def read(self, view: View) -> datetime.datetime | None:
        holder, name = self.holder(view), self.field.name
        return utc_time(getattr(holder, name)) if holder.HasField(name) else None

    def assign(self, view: View, value: Any) -> None:
        # The time that was read has lost its nanoseconds: setting it again keeps those of the message.
        if not isinstance(value, datetime.datetime) or value.tzinfo is None or value != self.read(view):
            super().assign(view, value)


class JsonPlace(Place):
    """A field marked JSON: its value. Objects and arrays are kept, because they can be changed in place."""

    def made_property(self) -> Any:
        return property(self.read, self.assign)

    def read(self, view: View) -> Any:
        """The decoded value; None if it is unset."""
        if (whole := whole_of(view)) is not None:
            return getattr(whole, self.field.name)
        if (kept := self._kept(view)) is not None:
            return kept
        text = getattr(self.holder(view), self.field.name)
        value = json_value(text)
        if isinstance(value, dict | list):
            self._keep(view, value, text)
        return DecodedText(value) if isinstance(value, str) else value

    def shown(self, view: View) -> Any:
        text = getattr(self.holder(view), self.field.name)
        return self.read(view) if len(text) <= _DECODED_CHARACTERS else text

    def write_back(self, view: View, value: Any, before: Any) -> None:
        # An unchanged value leaves the text as it is. Text is compared because 1, 1.0 and True are equal in Python only.
        if _is_unchanged_unfit(value, before):
            return
        filled: Any = self._filled(view, value)
        wanted = getattr(filled, self.field.name)
        if wanted != before and wanted != to_json(json_value(before)).decode():
            self._put(view, filled)
            self._keep(view, value, wanted)


def _is_unchanged_unfit(value: Any, before: str) -> bool:
    """Whether a value is that of a text with lone surrogates, which a blob can hold and the field cannot."""
    if "\\ud" not in before:
        return False
    try:
        return to_escaped_json(value) == to_escaped_json(json_value(before))
    except (TypeError, ValueError):
        return False  # it was changed


class ListPlace(Place):
    """A list of texts or numbers: a list, which is kept."""

    def made_property(self) -> Any:
        return property(self.read, self.assign)

    def read(self, view: View) -> list[Any]:
        """The list."""
        if (whole := whole_of(view)) is not None:
            of_whole: list[Any] = getattr(whole, self.field.name)
            return of_whole
        if (kept := self._kept(view)) is not None:
            found: list[Any] = kept
            return found
        made = self._decoded(view)
        self._keep(view, made, tuple(made))
        return made

    def write_back(self, view: View, value: Any, before: Any) -> None:
        if tuple(value) != before:
            self._put(view, self._filled(view, value))
            self._keep(view, value, tuple(value))

    def _decoded(self, view: View) -> list[Any]:
        return list(getattr(self.holder(view), self.field.name))


@dataclass(frozen=True, eq=False)
class MembersPlace(ListPlace):
    """A list of messages: a list of views, which is kept. It takes views, messages and dicts."""

    class_of: ClassOf = _no_class

    def write_back(self, view: View, value: Any, before: Any) -> None:
        given = [message_of(each) for each in value]  # writes back what was changed inside the elements
        if len(value) == len(before) and all(one is other for one, other in zip(value, before, strict=True)):
            return
        self._put(view, self._filled(view, given))
        value[:] = self._bound(value, self._decoded(view), {id(each) for each in before})
        self._keep(view, value, tuple(value))

    def _bound(self, value: list[Any], made: list[View], own: set[int]) -> list[View]:
        """The elements: a view that was in the list before goes on as a view of its element's new message."""
        for place, each in enumerate(value):
            if id(each) in own:
                own.remove(id(each))
                hold(each, held(made[place]))
                made[place] = each
        return made

    def _decoded(self, view: View) -> list[View]:
        assert self.field.descriptor is not None
        element_class = self.class_of(self.field.descriptor.message_type)
        return views_of(element_class, getattr(self.holder(view), self.field.name))


@dataclass(frozen=True, eq=False)
class MemberPlace(OptionalPlace):
    """A message: a view of it, which is kept; None if it is unset."""

    class_of: ClassOf = _no_class

    def read(self, view: View) -> Any:
        if (kept := self._kept(view)) is not None:
            return kept
        if not self.is_set(view):
            return None
        assert self.field.descriptor is not None
        made = one_view(self.class_of(self.field.descriptor.message_type), getattr(self.holder(view), self.field.name))
        self._keep(view, made, None)
        return made

    def assign(self, view: View, value: Any) -> None:
        raise AttributeError(f"{view._name}.{self.field.name} cannot be set. Set its fields.")

    def write_back(self, view: View, value: Any, before: Any) -> None:
        message_of(value)


@dataclass(frozen=True, eq=False)
class OwnMemberPlace(MemberPlace):
    """The member of an entry that has the entry's own fields: always a view. It is made anew each time, as part of the entry."""

    def made_property(self) -> Any:
        assert self.field.descriptor is not None
        member_class, message_in = self.class_of(self.field.descriptor.message_type), attrgetter(f"_message.{self.field.name}")

        def read(view: View) -> View:
            part = new(member_class)
            hold(part, message_in(view))
            keep(part, view)  # the entry keeps what its part decodes
            return part

        return property(read, self.assign)


def place_of(field: Field, class_of: ClassOf, inside: str = "") -> Place:
    """Returns the place of a field, by its type."""
    assert field.descriptor is not None
    if field.descriptor.message_type is not None and not field.time:
        return MembersPlace(field, inside, class_of) if field.repeated else MemberPlace(field, inside, class_of)
    if field.repeated:
        return ListPlace(field, inside)
    if field.json:
        return JsonPlace(field, inside)
    if field.time:
        return TimePlace(field, inside)
    return OptionalPlace(field, inside) if field.descriptor.has_presence else Place(field, inside)
