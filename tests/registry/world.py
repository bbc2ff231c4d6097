"""Creates records of any kind for tests from the registry alone, so a new kind is covered without changes here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cached_property
from string import Formatter
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st

from holdfast.contract.kinds import KINDS, Field, FieldType, Kind
from holdfast.v1 import store_service_pb2 as pb
from tests.support.api import Api
from tests.support.messages import has_32_bits, put, texts, values_of

# Ids made from a template must be printable, no part of them may be empty, and they may not begin with a hyphen.
_printable = st.text(st.characters(categories=("L", "N", "P"), max_codepoint=0xFFFF), min_size=1, max_size=20)
id_texts = _printable.filter(lambda text: not text.startswith("-"))
whole_texts = texts.filter(bool)
CONTENTS = (b"", b"some bytes", b"other bytes")
VALUES: dict[FieldType, Any] = {
    FieldType.STRING: "text",
    FieldType.JSON: '{"k":["x",1,true,null],"t":"text"}',
    FieldType.INTEGER: 2**40,
    FieldType.REAL: 0.5,
    FieldType.BOOLEAN: True,
    FieldType.TIME: 2**60,
}

_counter = itertools.count(1)


def insert_of(kind: Kind, message: Message) -> pb.Mutation:
    mutation = pb.Mutation()
    getattr(mutation.insert.record, kind.name).CopyFrom(message)
    return mutation


def update_of(kind: Kind, message: Message, mask: list[str], version: int = 0) -> pb.Mutation:
    mutation = pb.Mutation(update=pb.Update(version=version))
    getattr(mutation.update.record, kind.name).CopyFrom(message)
    mutation.update.update_mask.paths.extend(mask)
    return mutation


def settable(kind: Kind) -> list[Field]:
    """The fields that callers set to any value of their type or reference: not the id, a blob in place of another field, or the
    number of another record.
    """
    return [each for each in kind.fields if not (each.output_only or each.in_place_of or each.number_of or each.name == "id")]


def changeable(kind: Kind) -> list[Field]:
    """The fields that an update may set to any value of their type: no reference, and no name of a reference's kind."""
    return [each for each in settable(kind) if not (each.immutable or each.reference or names_a_kind(kind, each))]


def names_a_kind(kind: Kind, field: Field) -> bool:
    return any(each.reference is not None and each.reference.kind_field == field.name for each in kind.references)


def template_fields(kind: Kind) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(kind.id_template) if name}


# Kinds of which a workspace has one record, or a few with fixed ids.
SINGULAR = {
    name for name, kind in KINDS.items() if kind.id_template and all(kind.by_name[each].values for each in template_fields(kind))
}


def targets_of(kind: Kind, field: Field) -> str:
    """The target kind that tests use for a reference."""
    assert field.reference is not None
    return field.reference.kind or "task"


class World:
    """One workspace of a daemon, and the parents that its records need."""

    def __init__(self, api: Api) -> None:
        self.api = api
        api.store.AllocateId(pb.StoreServiceAllocateIdRequest(workspace=api.workspace, kind="task"), timeout=30)  # makes it

    @cached_property
    def digests(self) -> list[str]:
        """Digests of blobs that are stored."""
        return [self.api.put(content).digest for content in CONTENTS]

    def parent(self, kind: str) -> str:
        """Inserts a record of that kind with only the required fields and returns its id."""
        return self.add(KINDS[kind], self.minimal(KINDS[kind]))

    def minimal(self, kind: Kind) -> Any:
        """A message with only the required fields, each with a value used nowhere else. Its parents are inserted."""
        message = kind.message_class()
        for field in kind.fields:
            if field.required and not field.output_only:
                self._require(kind, message, field)
        return complete(message)

    def _require(self, kind: Kind, message: Message, field: Field) -> None:
        if names_a_kind(kind, field):
            setattr(message, field.name, "task")
        elif field.reference is not None:
            id = self.parent(targets_of(kind, field))
            put(message, field, [id] if field.repeated else id)
        elif field.type is FieldType.STRING and not (field.values or field.blob or field.repeated):
            setattr(message, field.name, f"{field.name}-{next(_counter)}")
        elif field.type is FieldType.INTEGER:
            setattr(message, field.name, next(_counter))
        else:
            self.fill(message, field)

    def fill(self, message: Message, field: Field) -> None:
        """Sets a field that is no reference to a valid value, always the same one."""
        if field.member is not None:
            element = getattr(message, field.name).add()
            for inner in field.member.fields:
                self.fill(element, inner)
            return
        value = self.digests[0] if field.blob else field.values[0] if field.values else VALUES[field.type]
        if has_32_bits(field):
            value = 2**30
        put(message, field, [value] if field.repeated else value)

    def add(self, kind: Kind, message: Message) -> str:
        return self.api.commit(insert_of(kind, message)).results[0].id

    def drawn(self, kind: Kind, draw: st.DrawFn, *, every_field: bool = False) -> Any:
        """A message with values drawn by hypothesis; each reference names a new record, each digest a stored blob."""
        message = self.minimal(kind)
        for field in settable(kind):
            if every_field or field.required or draw(st.booleans()):
                self._draw_field(kind, message, field, draw, every_field)
        if not kind.id_template and draw(st.booleans()):
            message.id = f"{draw(id_texts)}{next(_counter)}"
        return complete(message)

    def _draw_field(self, kind: Kind, message: Any, field: Field, draw: st.DrawFn, filled: bool) -> None:
        if names_a_kind(kind, field):
            return  # set with its reference
        if field.reference is not None:
            if field.reference.kind_field:
                setattr(message, field.reference.kind_field, "task")
            if field.repeated:
                getattr(message, field.name).append(self.parent(targets_of(kind, field)))
            elif not getattr(message, field.name):
                setattr(message, field.name, self.parent(targets_of(kind, field)))
            return
        message.ClearField(field.name)
        put(message, field, draw(self._strategy(kind, field, filled)))

    def _strategy(self, kind: Kind, field: Field, filled: bool) -> st.SearchStrategy[Any]:
        if field.blob:
            return st.sampled_from(self.digests)
        if field.name in template_fields(kind) and not field.values:
            return id_texts
        values = values_of(field)
        return values.filter(bool) if field.required or filled else values

    def changed(self, kind: Kind, before: Message, draw: st.DrawFn) -> tuple[Any, list[str]]:
        """New values for some of the fields that may be updated, and the names of these fields."""
        names = [each.name for each in changeable(kind)]
        mask = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        message = kind.message_class()
        message.id = before.id  # type: ignore[attr-defined]
        for name in mask:
            self._draw_field(kind, message, kind.by_name[name], draw, False)
        return complete(message), mask


def complete(message: Any) -> Any:
    """Adds the values of the contract to a vocabulary, since the other records of the workspace may have any of them."""
    if message.DESCRIPTOR.name == "Vocabulary":
        kind = KINDS[message.record_kind or "task"]
        named = {each.value for each in message.terms}
        for value, meaning in kind.by_name["status"].vocabulary.items():
            if value not in named:
                message.terms.add(value=value, meaning=meaning)
    return message


def stored_form(kind: Kind, sent: Message) -> Any:
    """The message as it is read back, without the id, the version, the times and the other fields that the daemon sets."""
    message = kind.message_class()
    message.CopyFrom(sent)
    _settle(kind.fields, message)
    return message


def _settle(fields: tuple[Field, ...], message: Message) -> None:
    for field in fields:
        if field.output_only:
            message.ClearField(field.name)
        elif field.member is not None:
            for each in getattr(message, field.name):
                _settle(field.member.fields, each)
        elif field.type is FieldType.JSON and getattr(message, field.name):
            setattr(message, field.name, canonical(getattr(message, field.name)))
        elif field.default_value and not getattr(message, field.name):
            setattr(message, field.name, field.default_value)
        elif field.optional and not field.keeps_empty and getattr(message, field.name) == "":
            message.ClearField(field.name)


def canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def without_daemon_s(kind: Kind, message: Message) -> Any:
    """A copy without the fields that only the daemon sets."""
    copy = kind.message_class()
    copy.CopyFrom(message)
    for field in kind.fields:
        if field.output_only:
            copy.ClearField(field.name)
    return copy


def several(world: World, kind: Kind, count: int) -> Iterator[str]:
    """Inserts records of a kind and yields their ids."""
    return (world.add(kind, world.minimal(kind)) for _ in range(count))
