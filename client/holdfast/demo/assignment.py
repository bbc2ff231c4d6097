"""Assignments: the work of an agent in several stages. Preparing one again gives the same stages, so work can be resumed."""

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
    """A file that a stage produces."""

    name: str
    type: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Stage:
    """The work between two checkpoints."""

    title: str
    messages: Sequence[Message]
    products: Sequence[Product] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The stages, the numbers that the board adds up, and a summary of one line."""

    name: str
    stages: Sequence[Stage]
    tally: Mapping[str, int]
    summary: str


class Source(Protocol):
    """A source of assignments."""

    @property
    def what(self) -> str:
        """The agents' activity, as a phrase that follows `8 agents`."""

    def names(self, count: int) -> list[str]:
        """The names of that many assignments, or of all when there are fewer."""

    def prepare(self, name: str) -> Assignment:
        """The assignment of that name."""
