"""Rules of the contract that the registry of kinds is made of: references, unique keys, readiness.

`kinds.py` reads them from the options of the descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.v1 import options_pb2


@dataclass(frozen=True, slots=True)
class Reference:
    """The target of a reference field: the kind `kind`, or the kind that the sibling field `kind_field` names."""

    kind: str
    kind_field: str
    on_delete: int
    acyclic: bool
    may_be_missing: bool = False
    reverse: str = ""  # the name by which filters of the target's kind ask who refers to a record

    @property
    def clears(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_CLEAR

    @property
    def owned(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_OWNED

    @property
    def refuses(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_REFUSE

    @property
    def follows(self) -> bool:
        return self.on_delete == options_pb2.ON_DELETE_FOLLOW


@dataclass(frozen=True, slots=True)
class Key:
    """Fields that are unique together, among the records in which the fields `unset` are unset."""

    fields: tuple[str, ...]
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """A record is ready when each record that `waits_for` names has one of the values in `status_field`."""

    waits_for: str
    status_field: str
    done_values: tuple[str, ...]


def read_reference(reference: options_pb2.Reference) -> Reference:
    """Returns the rule of a reference field."""
    return Reference(
        reference.kind, reference.kind_field, reference.on_delete, reference.acyclic, reference.may_be_missing, reference.reverse
    )


def read_readiness(options: options_pb2.KindOptions) -> Readiness | None:
    """Returns what `ready` means for a kind; None if it means nothing."""
    if not options.HasField("readiness"):
        return None
    readiness = options.readiness
    return Readiness(readiness.waits_for, readiness.status_field, tuple(readiness.done_values))
