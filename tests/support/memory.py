"""The current and the peak memory of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

MIB = 2**20


@dataclass
class Peak:
    """The memory measured while the block ran."""

    before_bytes: int
    highest_bytes: int

    @property
    def growth_mib(self) -> float:
        return (self.highest_bytes - self.before_bytes) / MIB


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Samples the process's resident memory a hundred times per second."""
    process = psutil.Process(pid)
    peak = Peak(process.memory_info().rss, 0)
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            peak.highest_bytes = max(peak.highest_bytes, process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
