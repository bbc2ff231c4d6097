"""Client processes that run for all rounds and start each job at the same moment.

They are spawned, because gRPC's threads do not survive a fork. What a process prepares (connections, sessions) it keeps.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from threading import Barrier
from types import TracebackType
from typing import Any

from tests.bench.figures import percentile

Job = Callable[..., Any]
Prepare = Callable[..., Mapping[str, Job]]

_processes = multiprocessing.get_context("spawn")
_READY = "ready"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process measured in one round."""

    count: int
    elapsed_s: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    failures: int = 0

    @property
    def rate(self) -> float:
        return self.count / self.elapsed_s


class Crew:
    """`count` processes; `prepare(index, *arguments)` runs in each and returns its jobs by name.

    `prepare` must be a module's function, because spawn pickles it by name. An error in a process is raised here.
    """

    def __init__(self, count: int, prepare: Prepare, *arguments: Any) -> None:
        self._barrier = _processes.Barrier(count)
        self._members = [self._hire(prepare, index, arguments) for index in range(count)]
        for process, connection in self._members:
            _receive(process, connection)

    def _hire(self, prepare: Prepare, index: int, arguments: tuple[Any, ...]) -> tuple[Any, Connection]:
        ours, theirs = _processes.Pipe()
        process = _processes.Process(target=_serve, args=(theirs, self._barrier, prepare, index, arguments), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def run(self, job: str, *arguments: Any) -> list[Any]:
        """Runs the job in all processes at once and returns their results in order."""
        for _, connection in self._members:
            connection.send((job, arguments))
        return [_receive(process, connection) for process, connection in self._members]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process, connection in self._members:
            connection.close()
            process.join(5.0)
            if process.is_alive():
                process.kill()


def _receive(process: Any, connection: Connection) -> Any:
    wait([connection, process.sentinel])
    if not connection.poll():
        raise RuntimeError(f"A process of the benchmark ended with {process.exitcode}.")
    done, answer = connection.recv()
    if not done:
        raise RuntimeError(f"In a process of the benchmark:\n{answer}")
    return answer


def _serve(connection: Connection, barrier: Barrier, prepare: Prepare, index: int, arguments: tuple[Any, ...]) -> None:
    try:
        jobs = prepare(index, *arguments)
        connection.send((True, _READY))
        while True:
            name, details = connection.recv()
            barrier.wait()
            connection.send((True, jobs[name](*details)))
    except EOFError:
        return
    except BaseException:
        barrier.abort()
        connection.send((False, traceback.format_exc()))


def repeat(call: Callable[[], int], seconds: float) -> Sample:
    """Calls repeatedly for `seconds`. `call` returns the number of entries it wrote, 0 for a failure."""
    times: list[float] = []
    count = failures = 0
    began = now = time.perf_counter()
    end = began + seconds
    while now < end:
        done = call()
        after = time.perf_counter()
        times.append(after - now)
        now = after
        count += done
        failures += not done
    times.sort()
    return Sample(count, now - began, percentile(times, 0.5) * 1e6, percentile(times, 0.99) * 1e6, failures)


def alternate(calls: Sequence[Callable[[], object]], times: int) -> list[float]:
    """Calls each in turn, `times` times; returns the p50 of each in microseconds."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for call, series in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call()
            series.append((time.perf_counter() - began) * 1e6)
    return [percentile(sorted(series), 0.5) for series in taken]


def rate_of_all(samples: list[Sample]) -> float:
    """Entries per second of all processes together, until the last one ended."""
    return sum(each.count for each in samples) / max(each.elapsed_s for each in samples)


def evenness(samples: list[Sample]) -> float:
    """The rate of the slowest process divided by that of the fastest."""
    rates = [each.rate for each in samples]
    return min(rates) / max(rates)
