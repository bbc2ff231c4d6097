"""Writes the stub of `holdfast.values.views`, which declares the view classes and their fields for editors and type checkers.

    python packaging/make_views.py >client/holdfast/values/views.pyi

Run by `packaging/generate.sh`, after the code that is generated from proto/.
"""

from __future__ import annotations

import keyword

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from holdfast.contract.kinds import JOURNALS, Field, FieldType, fields_of
from holdfast.v1 import entry_pb2
from holdfast.values.view_classes import entry_class_name, viewed_messages

HEAD = '''"""Generated from the registry of kinds by `make generate`. Do not edit."""

import datetime
from typing import Any

from holdfast.v1 import entry_pb2, record_pb2, store_service_pb2
from holdfast.values.view import View as View
'''
TYPES = {
    FieldType.STRING: "str",
    FieldType.JSON: "Any",
    FieldType.INTEGER: "int",
    FieldType.REAL: "float",
    FieldType.BOOLEAN: "bool",
    FieldType.TIME: "datetime.datetime | None",
}
ENTRY = entry_pb2.Entry.DESCRIPTOR


def main() -> None:
    """Prints the stub."""
    print(HEAD, end="")
    for name, descriptor in viewed_messages().items():
        fields = [f"{each.name}: {_type(each)}" for each in fields_of(descriptor).values()]
        _print_class(f"{name}(View)", fields, _message(descriptor))
    for journal in JOURNALS.values():
        member = journal.message_class.DESCRIPTOR
        fields = [f"{each.name}: {_type(each)}" for each in fields_of(member).values()]
        _print_class(f"{entry_class_name(journal)}(Entry)", [f"{journal.name}: {member.name}", *fields], _message(ENTRY))


def _print_class(head: str, fields: list[str], message: str) -> None:
    """Prints a class. `Entry` leaves its message to its subclasses: that of events has a field of this name, which is text."""
    print(f"\nclass {head}:")
    for each in fields:
        assert not keyword.iskeyword(each.partition(":")[0]), f"{head}: {each} begins with a keyword of Python: rename the field."
        print(f"    {each}")
    if not (head.startswith("Entry(") or any(each.startswith("message:") for each in fields)):
        print(f"    @property\n    def message(self) -> {message}: ...")


def _message(descriptor: Descriptor) -> str:
    return f"{_module(descriptor)}.{descriptor.name}"


def _type(field: Field) -> str:
    descriptor = field.descriptor
    assert descriptor is not None
    if field.type is FieldType.MESSAGE and descriptor.message_type is not None:
        name = descriptor.message_type.name
        return f"list[{name}]" if field.repeated else f"{name} | None"
    if descriptor.type == FieldDescriptor.TYPE_ENUM and descriptor.enum_type is not None:
        return f"{_module(descriptor.enum_type)}.{descriptor.enum_type.name}.ValueType"
    made = TYPES[field.type]
    if field.repeated:
        return f"list[{made}]"
    return f"{made} | None" if field.optional else made


def _module(descriptor: object) -> str:
    """The generated module of a message or an enum."""
    return str(descriptor.file.name).rpartition("/")[2].removesuffix(".proto") + "_pb2"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
