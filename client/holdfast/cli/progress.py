"""Shows the progress of a job as a line on stderr, with the rate and the time left. Only on a terminal; removed at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.cli.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class ProgressBar:
    """Shows one phase after the other. Shows nothing if stderr is not a terminal on which a line can be rewritten."""

    def __init__(self) -> None:
        self._bars: Bars | None = _bars() if _can_rewrite_lines() else None
        self._phase = ""
        self._done = self._total = 0

    def tell(self, phase: str, done: int, total: int) -> None:
        """Shows that `done` of `total` (0: unknown) items are done.

        Phases with one total that count on from each other are parts of one whole, whose rate and time left are shown.
        Any other phase begins a count of its own.
        """
        if self._bars is None or not phase:
            return
        counts_on = 0 < total == self._total and done >= self._done
        if phase == self._phase or counts_on:
            self._bars.update(self._bars.task_ids[0], description=one_line(phase), completed=done, total=total or None)
        else:
            for each in self._bars.task_ids:
                self._bars.remove_task(each)
            self._bars.add_task(one_line(phase), completed=done, total=total or None)
        self._phase, self._done, self._total = phase, done, total

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hides the line while the block prints to stdout."""
        if self._bars is None:
            yield
            return
        self._bars.stop()
        yield
        self._bars.start()

    def __enter__(self) -> ProgressBar:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()


def _can_rewrite_lines() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _bars() -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    from holdfast.cli.drawing import console

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    shown = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Bars(*shown, console=console(sys.stderr), transient=True, redirect_stdout=False, redirect_stderr=False)
