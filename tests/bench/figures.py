"""What a benchmark finds: series of rounds, the rivals' beside them, and the bar that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MB = 1_000_000
LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One figure in every round, in order. `note` says what the figure alone does not."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.rounds)

    def __str__(self) -> str:
        name = f"{self.name} " if self.name else ""
        spread = f" ({_number(min(self.rounds))}–{_number(max(self.rounds))})" if len(self.rounds) > 1 else ""
        note = f", {self.note}" if self.note else ""
        return f"{name}{with_unit(self.median, self.unit)}{spread}{note}"


@dataclass(frozen=True, slots=True)
class Absent:
    """A rival that could not run here, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Bar:
    """What has to be reached and what was; `held` is None where the bar does not apply to this run."""

    text: str
    reached: str
    held: bool | None

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "short", None: "not judged"}[self.held]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    work: str
    figures: tuple[Series, ...]
    rivals: tuple[Series | Absent, ...]
    bar: Bar


def at_most(limit: float, unit: str, series: Series) -> Bar:
    """Holds the median of a series under an absolute limit."""
    return Bar(f"≤ {with_unit(limit, unit)}", with_unit(series.median, unit), series.median <= limit)


def at_least(limit: float, unit: str, series: Series) -> Bar:
    """Holds the median of a series over an absolute limit."""
    return Bar(f"≥ {with_unit(limit, unit)}", with_unit(series.median, unit), series.median >= limit)


def ratio(ours: Series, theirs: Series) -> float:
    """Our median over theirs."""
    return ours.median / theirs.median


def unjudged(ours: Series, theirs: Series) -> Bar:
    """Tells how our median compares where nothing has to be reached."""
    return Bar("none set", f"{with_unit(ratio(ours, theirs), '×')} the rival", None)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def with_unit(value: float, unit: str) -> str:
    return f"{_number(value)}{unit}" if unit.startswith(("/", "×", "%")) else f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
