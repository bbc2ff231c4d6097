"""Runs the jobs, on their timers and on demand; never two runs of the same job at a time.

The timers are trio tasks in the main thread; the jobs run in worker threads and write through the one writer.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Mapping

import trio

from holdfastd import logs
from holdfastd.errors import Cancelled, HoldfastError, NotFound, Stopping
from holdfastd.model.call import Call
from holdfastd.model.jobs import Job, JobRun, Progress, quiet

log = logs.logger(__name__)


class Scheduler:
    """All jobs by name. `run` is thread-safe; `serve` belongs to the main thread."""

    def __init__(self, jobs: tuple[Job, ...]) -> None:
        self._jobs = {each.name: each for each in jobs}
        self._turns = {each.name: threading.Condition() for each in jobs}
        self._lock = threading.Lock()
        self._running: dict[str, Call] = {}
        self._stopping = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._jobs))

    def run(
        self,
        name: str,
        call: Call,
        *,
        dry_run: bool = False,
        options: Mapping[str, str] | None = None,
        progress: Progress = quiet,
    ) -> Mapping[str, int]:
        """Runs a job in this thread and returns its counts.

        While the same job is running, waits until the caller's deadline. Raises NOT_FOUND (JOB_NOT_FOUND), with the names of
        all jobs, and UNAVAILABLE when the daemon stops.
        """
        if (job := self._jobs.get(name)) is None:
            known = ", ".join(self.names)
            raise NotFound(f"There is no job {name!r}. The jobs are: {known}.", reason="JOB_NOT_FOUND", job=name)
        self._begin(name, call)
        call.is_long = True
        try:
            return job.run(JobRun(call, dry_run, options or {}, progress))
        except Cancelled as error:
            if self._stopping:
                raise Stopping("The daemon is stopping; the job was interrupted. Run it again later.") from error
            raise
        finally:
            self._finish(name)

    def _begin(self, name: str, call: Call) -> None:
        turn = self._turns[name]

        def wake() -> None:
            with turn:
                turn.notify_all()

        call.on_end(wake)
        with turn:
            while True:
                call.check()
                with self._lock:
                    if self._stopping:
                        raise Stopping("The daemon is stopping; connect again.")
                    if name not in self._running:
                        self._running[name] = call
                        return
                turn.wait(call.remaining_s())

    def _finish(self, name: str) -> None:
        with self._lock:
            del self._running[name]
        with self._turns[name]:
            self._turns[name].notify_all()

    async def serve(self) -> None:
        """Runs the timers until cancelled. A job that is running then goes on; `stop` waits for it."""
        async with trio.open_nursery() as nursery:
            for job in self._jobs.values():
                if job.at_start or job.interval_s is not None:
                    nursery.start_soon(self._repeat, job)

    async def _repeat(self, job: Job) -> None:
        if job.at_start:
            await self._run_quietly(job)
        while job.interval_s is not None:
            await trio.sleep(job.interval_s)
            if job.is_due():
                await self._run_quietly(job)

    async def _run_quietly(self, job: Job) -> None:
        call = Call()
        work = functools.partial(self.run, job.name, call)
        try:
            counts = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        except (Stopping, Cancelled):
            return
        except HoldfastError as error:
            log.warning("job_failed", extra={"job": job.name, "reason": error.reason, "text": error.message})
        except Exception:
            log.exception("job_failed", extra={"job": job.name})
        else:
            level = job.log_level if any(counts.values()) else logging.DEBUG
            log.log(level, "job_done", extra={"job": job.name, **counts})
        finally:
            call.end()

    def stop(self, timeout_s: float) -> bool:
        """Refuses new runs, ends the calls of running jobs, and waits for them. Returns whether all of them ended in time."""
        with self._lock:
            self._stopping = True
            running = dict(self._running)
        for call in running.values():
            call.end()
        for name, turn in self._turns.items():
            with turn:
                turn.notify_all()
                if not turn.wait_for(functools.partial(self._is_idle, name), timeout_s):
                    log.warning("job_did_not_stop", extra={"job": name})
        return not self._running

    def _is_idle(self, name: str) -> bool:
        with self._lock:
            return name not in self._running
