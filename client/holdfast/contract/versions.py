"""The API version that each part of a request needs, read from the option `since` of the contract.

The first addition to the contract after a version has landed raises the version by one. Each addition states its version in
`since`; a part without `since` belongs to version 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from holdfast.v1 import (
    admin_service_pb2,
    blob_service_pb2,
    entry_pb2,
    journal_service_pb2,
    options_pb2,
    record_pb2,
    store_service_pb2,
)

OLDEST_API_VERSION = 1
API_VERSION = 4

_SERVICE_FILES = (store_service_pb2, journal_service_pb2, blob_service_pb2, admin_service_pb2)
# Fields of these names hold the names of kinds or journals: `kind`, `parent_kind`, `kinds`, `journal`.
_NAMING = ("kind", "kinds", "journal")


@dataclass(frozen=True, slots=True)
class Need:
    """The newest part of a request: the method or one of its fields, and the API version that added it."""

    version: int
    method: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.method} with `{self.part}`" if self.part else self.method


def method_since(method: MethodDescriptor) -> int:
    """The API version that added a method."""
    return method.GetOptions().Extensions[options_pb2.since] or 1


@cache
def field_since(field: FieldDescriptor) -> int:
    """The API version that added a field."""
    return field.GetOptions().Extensions[options_pb2.rules].since or 1


@cache
def _methods() -> Mapping[str, MethodDescriptor]:
    """The method of each request message. The mapping is unique: the contract's linter requires one request type per method."""
    services = [service for file in _SERVICE_FILES for service in file.DESCRIPTOR.services_by_name.values()]
    return {method.input_type.full_name: method for service in services for method in service.methods}


@cache
def _names() -> Mapping[str, int]:
    """The API version that added each kind and journal, by name."""
    containers = (record_pb2.Record.DESCRIPTOR, entry_pb2.Entry.DESCRIPTOR)
    return {field.name: field_since(field) for each in containers for field in each.oneofs_by_name["value"].fields}


def method_name(request: Message) -> str:
    """Returns the method that a request belongs to, such as `StoreService.Scan`."""
    method = _methods()[request.DESCRIPTOR.full_name]
    assert method.containing_service is not None
    return f"{method.containing_service.name}.{method.name}"


def need_of(request: Message) -> Need:
    """Returns the part of a request that needs the newest API version. It visits every set field; avoid it in hot paths."""
    method = method_name(request)
    needs = [Need(version, method, part) for version, part in _parts(request)]
    whole = Need(method_since(_methods()[request.DESCRIPTOR.full_name]), method)
    return max([whole, *needs], key=lambda each: each.version)


def _parts(message: Message) -> Iterator[tuple[int, str]]:
    for field, value in message.ListFields():
        yield field_since(field), field.name
        values = value if field.is_repeated else [value]
        if field.message_type is None:
            yield from _named(field, values)
        elif not field.message_type.GetOptions().map_entry:
            for each in values:
                yield from _parts(each)


def _named(field: FieldDescriptor, values: Any) -> Iterator[tuple[int, str]]:
    if field.name.rpartition("_")[2] in _NAMING:
        yield from ((_names().get(each, 1), each) for each in values)
