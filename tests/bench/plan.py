"""How long a run measures, and where its stores are."""

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
    """One run. `directory` is on the measured disk. Sockets are elsewhere, because their paths must be short."""

    rounds: int
    quick: bool
    directory: Path

    @property
    def round_s(self) -> float:
        """Duration of one side's turn in a round."""
        return 1.0 if self.quick else 2.5

    @property
    def warm_s(self) -> float:
        """Duration of each side's warm-up before the first round."""
        return 0.3 if self.quick else 1.0

    def each_round(self, name: str) -> Iterator[int]:
        """The numbers of the rounds; prints each as it starts."""
        for number in range(self.rounds):
            say(f"{name}: round {number + 1} of {self.rounds}")
            yield number

    @contextmanager
    def workplace(self) -> Iterator[Workplace]:
        """Fresh directories, deleted after the block."""
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
    """The directories of one benchmark: `data` on the measured disk, and one for sockets."""

    data: Path
    sockets: Path


def say(text: str) -> None:
    """Prints progress to stderr."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
