"""How long this run measures, and where it keeps its stores."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `directory` lies on the disk that is measured; sockets lie elsewhere, for their paths have to be short."""

    rounds: int
    quick: bool
    directory: Path

    @property
    def round_s(self) -> float:
        """How long one side of a round takes its turn."""
        return 1.0 if self.quick else 2.5

    @property
    def warm_s(self) -> float:
        """How long each side runs before the first round that counts."""
        return 0.3 if self.quick else 1.0

    def each_round(self, name: str) -> Iterator[int]:
        """The numbers of the rounds, told as they begin."""
        for number in range(self.rounds):
            say(f"{name}: round {number + 1} of {self.rounds}")
            yield number

    @contextmanager
    def workplace(self) -> Iterator[Workplace]:
        """Fresh directories that are gone after the block."""
        self.directory.mkdir(parents=True, exist_ok=True)
        data = Path(tempfile.mkdtemp(dir=self.directory))
        sockets = Path(tempfile.mkdtemp(prefix="hfb-"))
        try:
            yield Workplace(data, sockets)
        finally:
            shutil.rmtree(data, ignore_errors=True)
            shutil.rmtree(sockets, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one benchmark keeps its files (`data`, on the disk that is measured) and its sockets."""

    data: Path
    sockets: Path


def say(text: str) -> None:
    """Progress, beside the table."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
