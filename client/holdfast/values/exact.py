"""Views with the exact text of a content: a message cannot hold lone surrogates and has U+FFFD in place of each.

`with_texts` makes them of views of contents that were read from blobs. Only a text with lone surrogates needs one, so that every
other view reads its texts from the message alone. A text that is set in the view or the message takes the place of the exact one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from holdfast.values.fields import message_of, plain
from holdfast.values.unfit import shown
from holdfast.values.view import View, hold, keep

V = TypeVar("V")


class ExactTexts(View):
    """What such views add to the view class of their message."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """As that of every view."""
        found: dict[str, Any] = plain(message_of(self))
        (found[self._repeats] if self._repeats else found).update(_texts_of(self))
        return found

    def __getitem__(self, name: str) -> Any:
        message_of(self)  # writes back what was changed
        texts = _texts_of(self)
        if name == self._repeats:
            return {**super().__getitem__(name), **texts}
        return texts[name] if name in texts else super().__getitem__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (_base_of(self), message_of(self).SerializeToString(), _exact_of(self))

    def _of(self, message: Message) -> Any:
        return _exact_view(_base_of(self), message, _exact_of(self))

    def _set_fields(self) -> Iterator[tuple[str, Any]]:
        texts = _texts_of(self)
        for name, value in super()._set_fields():
            yield name, texts.get(name, value)


def with_texts(value: V, texts: Mapping[str, str]) -> V:
    """Returns the value with these texts, by field, if it is a view; anything else as it is."""
    if not texts or not isinstance(value, View):
        return value
    made: Any = _exact_view(type(value), message_of(value), texts)
    return made  # type: ignore[no-any-return]


def texts_of(value: object) -> dict[str, str]:
    """The texts, by field, that the message of a view cannot hold exactly; none for any other value."""
    return _texts_of(value) if isinstance(value, ExactTexts) else {}


def _exact_view(view_class: type[View], message: Any, texts: Mapping[str, str]) -> View:
    names = frozenset(texts)
    view: View = object.__new__(_class_of(view_class, names))  # type: ignore[arg-type]  # View has no hash, its classes have
    hold(view, message)
    object.__setattr__(view, "_exact", dict(texts))
    return view


def _restored(view_class: type[View], content: bytes, texts: Mapping[str, str]) -> View:
    return _exact_view(view_class, view_class._type.FromString(content), texts)


@cache
def _class_of(view_class: type[View], names: frozenset[str]) -> type[View]:
    members: dict[str, Any] = {"__slots__": ("_exact",), "__module__": view_class.__module__, "__doc__": view_class.__doc__}
    members.update((name, property(partial(_text_of, name=name))) for name in names)
    if view_class._repeats:
        members[view_class._repeats] = property(_part_of)
    return type(view_class.__name__, (ExactTexts, view_class), members)


def _exact_of(view: Any) -> dict[str, str]:
    found: dict[str, str] = view._exact
    return found


def _base_of(view: View) -> type[View]:
    base: type[View] = type(view).__bases__[1]
    return base


def _texts_of(view: View) -> dict[str, str]:
    """The exact texts by field, without those that were set since."""
    return {name: text for name, text in _exact_of(view).items() if shown(text) == _in_message(view, name)}


def _text_of(view: View, name: str) -> str:
    text, said = _exact_of(view)[name], _in_message(view, name)
    return text if shown(text) == said else said


def _in_message(view: View, name: str) -> str:
    return str(getattr(view._places[name].holder(view), name))


def _part_of(view: View) -> View:
    """The member with the entry's own fields, with the same texts."""
    part = type(view).__bases__[1].__dict__[view._repeats].fget(view)
    made = _exact_view(type(part), part._message, _exact_of(view))
    object.__setattr__(made, "_exact", _exact_of(view))
    keep(made, view)
    return made
