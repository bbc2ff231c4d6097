"""The results of a benchmark: one series per figure, the rivals' series, and the bar to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MB = 1_000_000
LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One figure's values in the order of the rounds. `note` adds what the values do not show."""

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
    """A rival that could not run on this machine, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Bar:
    """The target and the result; `held` is None where the target does not apply to this run."""

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
    """A bar: the median must not exceed `limit`."""
    return Bar(f"≤ {with_unit(limit, unit)}", with_unit(series.median, unit), series.median <= limit)


def at_least(limit: float, unit: str, series: Series) -> Bar:
    """A bar: the median must reach `limit`."""
    return Bar(f"≥ {with_unit(limit, unit)}", with_unit(series.median, unit), series.median >= limit)


def ratio(ours: Series, theirs: Series) -> float:
    """Our median divided by theirs."""
    return ours.median / theirs.median


def unjudged(ours: Series, theirs: Series) -> Bar:
    """Compares our median with theirs where no target is set."""
    return Bar("none set", f"{with_unit(ratio(ours, theirs), '×')} the rival", None)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value at that share of the sorted values."""
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def with_unit(value: float, unit: str) -> str:
    return f"{_number(value)}{unit}" if unit.startswith(("/", "×", "%")) else f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
