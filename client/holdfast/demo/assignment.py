"""What an agent works on: an assignment of several steps, the same whenever it is prepared, so that work can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the transcript."""

    role: str
    content: str
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Product:
    """A file that came out of the work."""

    name: str
    type: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """What an agent does between two checkpoints."""

    title: str
    messages: Sequence[Message]
    products: Sequence[Product] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """All steps, what is to be remembered of it in numbers, and a line for people."""

    name: str
    steps: Sequence[Step]
    tally: Mapping[str, int]
    summary: str


class Source(Protocol):
    """Where assignments come from."""

    @property
    def what(self) -> str:
        """What the agents do, for people."""

    def names(self, count: int) -> list[str]:
        """That many assignments, or as many as there are."""

    def prepare(self, name: str) -> Assignment:
        """The assignment of that name."""
