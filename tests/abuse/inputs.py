"""Inputs of the fuzz part: requests of every method, made from the descriptors, then damaged in one of several forms.

An input depends only on the seed and its number, so that one that fails can be made again.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from holdfast.contract.kinds import JOURNALS, KINDS
from holdfast.v1 import admin_service_pb2, blob_service_pb2, journal_service_pb2, options_pb2, store_service_pb2

METHODS: Sequence[MethodDescriptor] = [
    method
    for file in (store_service_pb2, journal_service_pb2, blob_service_pb2, admin_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# These read or write the whole store on each call, so they get fewer inputs.
_COSTLY = {"Verify": 0.1, "RunJob": 0.1, "Scan": 0.3}
_MOST_FRAMES = 5
_DEEPEST = 5
_API_VERSIONS = ("", "0", "1", "2", "3", "-1", "99", "1.0", "abc", "9" * 400)

_NAMES = ["A", "B", "C", "TASK-001", "TASK-002", "S"]
_KIND_NAMES = [*KINDS, *JOURNALS]
_ODD_TEXTS = ["", " ", "\0", "\x1b[2J", "../../etc/passwd", "-rf", "%s%n", "'; DROP TABLE task; --", "‮", "🙂" * 40, "é" * 300]
SEEDED_BLOB = b"x" * 100_000
_DIGESTS = ["sha256:" + hashlib.sha256(SEEDED_BLOB).hexdigest(), "sha256:" + "0" * 64]
_ODD_DIGESTS = ["sha256:", "md5:00", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "F" * 64]
_JSON = ["{}", "[]", "null", '{"a": {"b": [1, 2.5, "x"]}}']
_ODD_JSON = ["1e999", "{", "NaN", '"\\ud800"', "[" * 2000, '{"a": 1, "a": 2}', "9" * 5000]
_FILTERS = ["", 'id = "A"', "version > 0 AND NOT (version > 3)", 'create_time > "2000-01-01T00:00:00Z"']
_ODD_FILTERS = [
    'title : "x"',
    "version >= 99999999999999999999",
    "tags : 1",
    "(" * 200,
    'metadata.a.b = "x"',
    "NOT " * 100 + "true",
    " OR ".join(['id = "A"'] * 300),
    '"',
]
_ORDERS = ["", "id", "version desc", "create_time desc, id"]
_ODD_ORDERS = ["title,,", "nothing", "id desc " * 50]
_POOLS: dict[str, Sequence[str]] = {
    "kind": _KIND_NAMES,
    "kinds": _KIND_NAMES,
    "parent_kind": ["session", "task", "run", *_KIND_NAMES],
    "from_kind": _KIND_NAMES,
    "to_kind": _KIND_NAMES,
    "journal": ["", *JOURNALS],
    "workspace": ["", "", "default", "w1", "w2"],
    "filter": _FILTERS,
    "order_by": _ORDERS,
    "page_token": [""],
    "cursor": [""],
    "job": ["sweep", "recover", "housekeeping", "compact", "checkpoint", "none"],
    "paths": ["*", "title", "status", "tags", "metadata"],
    "status": ["planned", "running", "active", "completed"],
}
_ODD_POOLS = {"filter": _ODD_FILTERS, "order_by": _ODD_ORDERS, "paths": ["id", "title.x"], "page_token": ["AQ", "A" * 500]}
_INTEGERS = [0, 0, 0, 1, 1, 2, 3, 10]
_ODD_INTEGERS = [-1, 1000, 1001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
# Without these fields hardly any request gets beyond the first check.
_NEEDED = ("kind", "parent_kind", "parent_id", "digest", "job", "lists", "mutations", "entries", "record", "seconds")


@dataclass
class Input:
    """One call: the encoded requests (several for a client's stream), its metadata, and how it was made."""

    number: int
    method: MethodDescriptor
    form: str
    requests: list[bytes]
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def __str__(self) -> str:
        size = sum(map(len, self.requests))
        return f"input {self.number} ({self.method.name}, {self.form}, {len(self.requests)} messages, {size:,} bytes)"


def made(seed: str, number: int) -> Input:
    """The input of that number."""
    rng = random.Random(f"{seed}/{number}")
    method = rng.choices(METHODS, [_COSTLY.get(each.name, 1.0) for each in METHODS])[0]
    form, damage = rng.choices(_FORMS, _WEIGHTS)[0]
    count = rng.randint(0, _MOST_FRAMES) if method.client_streaming else 1
    maker = _Maker(rng, rng.choice((0.0, 0.0, 0.02, 0.2)))
    requests = [maker.message(method.input_type).SerializeToString(deterministic=True) for _ in range(count)]
    result = Input(number, method, form, requests)
    damage(rng, result)
    return result


class _Maker:
    """Makes messages. `odd` is the share of values that no sensible caller would send."""

    def __init__(self, rng: random.Random, odd: float) -> None:
        self._rng = rng
        self._odd = odd

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """A message with a random choice of fields; of a oneof at most one."""
        rng = self._rng
        message = message_factory.GetMessageClass(descriptor)()
        chance = rng.choice((0.1, 0.3, 0.7)) if depth < _DEEPEST else 0.1
        chosen = {rng.choice(oneof.fields).name for oneof in descriptor.oneofs if rng.random() >= self._odd}
        for each in descriptor.fields:
            required = each.GetOptions().Extensions[options_pb2.rules].required or each.name in _NEEDED
            wanted = 1.0 - self._odd if required else chance
            if each.name in chosen or (each.containing_oneof is None and rng.random() < wanted):
                self._fill(message, each, depth)
        return message

    def _fill(self, message: Message, descriptor: FieldDescriptor, depth: int) -> None:
        rng = self._rng
        target: Any = getattr(message, descriptor.name)
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            for _ in range(rng.randint(0, 2)):
                target[self._text("option")] = self._text("value")
        elif descriptor.message_type is not None:
            for _ in range(rng.randint(0, 3) if descriptor.is_repeated else 1):
                inner = self.message(descriptor.message_type, depth + 1)
                target.add().CopyFrom(inner) if descriptor.is_repeated else target.CopyFrom(inner)
        elif descriptor.is_repeated:
            target.extend(self._value(descriptor) for _ in range(rng.randint(0, 4)))
        else:
            setattr(message, descriptor.name, self._value(descriptor))

    def _value(self, descriptor: FieldDescriptor) -> Any:
        rng, kind = self._rng, descriptor.cpp_type
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return rng.choice((0.0, -1.5, 1e308, float("inf"), float("nan")))
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice((0, 1, 2, 99, -1))
        if kind != FieldDescriptor.CPPTYPE_STRING:
            return _fitting(rng.choice(_ODD_INTEGERS if rng.random() < self._odd else _INTEGERS), descriptor)
        if descriptor.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.choice((0, 1, 500, 40_000)))
        return self._string(descriptor)

    def _string(self, descriptor: FieldDescriptor) -> str:
        rules = descriptor.GetOptions().Extensions[options_pb2.rules]
        if rules.json:
            return self._rng.choice(_ODD_JSON if self._rng.random() < self._odd else _JSON)
        if rules.values and self._rng.random() >= self._odd:
            return str(self._rng.choice(rules.values))
        return self._text(descriptor.name)

    def _text(self, name: str) -> str:
        rng = self._rng
        if rng.random() < self._odd:
            return rng.choice((*_ODD_TEXTS, *_ODD_POOLS.get(name, ())))
        if name in _POOLS:
            return rng.choice(_POOLS[name])
        if name.endswith("digest"):
            return rng.choice(_ODD_DIGESTS if rng.random() < self._odd else _DIGESTS)
        if name in ("id", "ids", "blocked_by") or name.endswith("_id"):
            return rng.choice(_NAMES) + (str(rng.randint(0, 999)) if rng.random() < 0.5 else "")
        return "".join(rng.choices(string.printable, k=rng.choice((1, 3, 20, 300))))


def _fitting(value: int, descriptor: FieldDescriptor) -> int:
    """The value, in the range of the field's type."""
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return max(-(2**31), min(2**31 - 1, value))
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_UINT32:
        return value % 2**32
    return value % 2**64 if descriptor.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else value


def _as_made(rng: random.Random, made: Input) -> None:
    """Leaves the requests as they are."""


def _mutated(rng: random.Random, made: Input) -> None:
    """Flips, inserts, removes and repeats bytes."""
    for index, data in enumerate(made.requests):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            at = rng.randint(0, len(changed))
            new = rng.choice((b"", rng.randbytes(rng.randint(1, 4)), bytes(changed[at : at + 30]) * 3))
            changed[at : at + rng.randint(0, 4)] = new
        made.requests[index] = bytes(changed)


def _cut(rng: random.Random, made: Input) -> None:
    made.requests[:] = [data[: rng.randint(0, len(data))] for data in made.requests]


def _mistyped(rng: random.Random, made: Input) -> None:
    """Known field numbers with wire types that they do not have, and unknown numbers."""
    numbers = [each.number for each in made.method.input_type.fields] + [0, 9, 15, 16, 500, 2**29 - 1]
    made.requests[:] = [b"".join(_wrong_field(rng, rng.choice(numbers)) for _ in range(rng.randint(1, 6))) for _ in made.requests]


def _wrong_field(rng: random.Random, number: int) -> bytes:
    wire = rng.randint(0, 7)
    body = {0: _varint(rng.choice((0, 1, 2**64 - 1))), 1: rng.randbytes(8), 5: rng.randbytes(4)}
    text = rng.randbytes(rng.choice((0, 1, 40)))
    length = rng.choice((len(text), len(text), len(text) + 5, 2**31, 2**63))
    return _varint(number << 3 | wire) + body.get(wire, _varint(length) + text if wire == 2 else b"")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _huge(rng: random.Random, made: Input) -> None:
    """A first length-delimited field of up to 2 MiB; one in ten passes the limits of a request or of gRPC."""
    size = rng.choice((8_200, 70_000, 600_000, 2_100_000))
    if rng.random() < 0.1:
        size = rng.choice((16_800_000, 34_000_000))
    number = rng.choice([each.number for each in made.method.input_type.fields])
    body = rng.choice((b"x", b"\0", b"\xff", b"\x0a\x02", b"[", "é".encode())) * size
    made.requests[:1] = [_varint(number << 3 | 2) + _varint(len(body[:size])) + body[:size]]


def _nested(rng: random.Random, made: Input) -> None:
    """A message within itself, a few hundred times."""
    number = rng.choice([each.number for each in made.method.input_type.fields])
    data = b""
    for _ in range(rng.choice((50, 99, 101, 400))):
        data = _varint(number << 3 | 2) + _varint(len(data)) + data
    made.requests[:] = [data]


def _noise(rng: random.Random, made: Input) -> None:
    made.requests[:] = [rng.randbytes(rng.choice((1, 10, 200, 5_000))) for _ in made.requests]


def _annotated(rng: random.Random, made: Input) -> None:
    """API versions that do not exist, and metadata that nobody expects, up to what gRPC accepts and beyond."""
    made.metadata += [("holdfast-api", version) for version in rng.choices(_API_VERSIONS, k=rng.randint(1, 3))]
    made.metadata += [("x-odd-bin", rng.randbytes(rng.choice((0, 10, 3_000))))]
    made.metadata += [(f"x-{number}", "v" * rng.choice((1, 100))) for number in range(rng.choice((0, 3, 60, 300)))]


_Damage = Callable[[random.Random, Input], None]
_WEIGHTED: list[tuple[float, str, _Damage]] = [
    (10, "valid or nearly so", _as_made),
    (5, "mutated bytes", _mutated),
    (2, "cut short", _cut),
    (3, "wrong types", _mistyped),
    (0.4, "huge", _huge),
    (1, "nested", _nested),
    (1, "noise", _noise),
    (2, "odd metadata", _annotated),
]
_WEIGHTS = [weight for weight, _, _ in _WEIGHTED]
_FORMS = [(form, damage) for _, form, damage in _WEIGHTED]
