"""Between the values of a seed's program, which are dataclasses, and the keyword arguments and views of the client.

A field of a dataclass has the name of the seed. Where Holdfast has another name, `named` says which; a field that only the store
sets is `made_by_store`. This is all that the adapters need to know of the two models; it holds no value and no rule.
"""

from __future__ import annotations

from dataclasses import Field, field, fields
from typing import Any, TypeVar

V = TypeVar("V")


def named(ours: str, default: Any = None, *, of: type | None = None, key: str = "") -> Any:
    """A field that is called `ours` in Holdfast.

    `of` is the class of the items of a list; with `key`, of the values of a dict, which are a list in Holdfast whose items have
    the dict's keys in the field `key`.
    """
    about = {"ours": ours, "of": of, "key": key}
    if of is not None:
        return field(default_factory=dict if key else list, metadata=about)
    return field(default=default, metadata=about)


def made_by_store(ours: str, default: Any = None) -> Any:
    """A field that the store sets, such as the time of creation; it is read and not written."""
    return field(default=default, metadata={"ours": ours, "made_by_store": True})


def given(value: Any) -> dict[str, Any]:
    """The keyword arguments for a value of the seed."""
    written = [each for each in fields(value) if not each.metadata.get("made_by_store")]
    return {_ours(each): _given(each, getattr(value, each.name)) for each in written}


def taken(wanted: type[V], view: Any, **others: Any) -> V:
    """The value of the seed for a view of the client; `others` are the fields that the view does not have."""
    read = [each for each in fields(wanted) if each.name not in others]  # type: ignore[arg-type]
    return wanted(**{each.name: _taken(each, getattr(view, _ours(each))) for each in read}, **others)


def _ours(place: Field[Any]) -> str:
    return str(place.metadata.get("ours") or place.name)


def _given(place: Field[Any], value: Any) -> Any:
    if key := place.metadata.get("key"):
        return [{key: name, **given(each)} for name, each in value.items()]
    return [given(each) for each in value] if place.metadata.get("of") else value


def _taken(place: Field[Any], value: Any) -> Any:
    if (of := place.metadata.get("of")) is None:
        return value
    if key := place.metadata.get("key"):
        return {getattr(each, key): taken(of, each) for each in value}
    return [taken(of, each) for each in value]
