from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import pytest
import trio

from holdfastd.errors import Cancelled, DeadlineExceeded, NotFound, Stopping
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.model.call import Call
from holdfastd.model.jobs import Job, JobRun


class Slow:
    """A job that runs until it is released or its caller leaves; it counts its concurrent runs."""

    def __init__(self) -> None:
        self.started, self.let_go = threading.Semaphore(0), threading.Event()
        self.at_once = self.most_at_once = 0

    def run(self, run: JobRun) -> Mapping[str, int]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.started.release()
        try:
            while not self.let_go.wait(0.01):
                run.call.check()
        finally:
            self.at_once -= 1
        return {"done": 1}


def test_a_run_on_demand_gets_what_was_asked_and_gives_its_counts() -> None:
    seen: list[tuple[object, ...]] = []

    def work(run: JobRun) -> Mapping[str, int]:
        run.progress("look", 1, 2)
        return {"dry": int(run.dry_run), "limit": int(run.options["limit"])}

    scheduler = Scheduler((Job("sweep", work),))
    counts = scheduler.run("sweep", Call(), dry_run=True, options={"limit": "7"}, progress=lambda *args: seen.append(args))
    assert counts == {"dry": 1, "limit": 7}
    assert seen == [("look", 1, 2)]


def test_an_unknown_job_is_not_found_and_the_jobs_are_named() -> None:
    scheduler = Scheduler((Job("sweep", lambda run: {}), Job("checkpoint", lambda run: {})))
    with pytest.raises(NotFound, match=r"no job 'swep'. The jobs are: checkpoint, sweep.") as caught:
        scheduler.run("swep", Call())
    assert caught.value.reason == "JOB_NOT_FOUND"


def test_a_second_run_waits_its_turn_no_longer_than_its_caller() -> None:
    slow = Slow()
    scheduler = Scheduler((Job("slow", slow.run),))
    threads = [threading.Thread(target=scheduler.run, args=("slow", Call())) for _ in range(2)]
    for each in threads:
        each.start()
    slow.started.acquire()
    with pytest.raises(DeadlineExceeded):
        scheduler.run("slow", Call(0.05))
    gone = Call()
    threading.Timer(0.05, gone.end).start()
    with pytest.raises(Cancelled):
        scheduler.run("slow", gone)
    slow.let_go.set()
    for each in threads:
        each.join()
    assert slow.most_at_once == 1


def test_a_failed_run_gives_its_turn_up() -> None:
    def work(run: JobRun) -> Mapping[str, int]:
        raise ValueError("once")

    scheduler = Scheduler((Job("bad", work),))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"once"):
            scheduler.run("bad", Call(0.1))


def test_stop_ends_running_jobs_and_refuses_new_ones() -> None:
    slow = Slow()
    scheduler = Scheduler((Job("slow", slow.run),))
    caught: list[BaseException] = []

    def run() -> None:
        try:
            scheduler.run("slow", Call())
        except BaseException as error:
            caught.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for each in threads:
        each.start()
    slow.started.acquire()
    began = time.monotonic()
    assert scheduler.stop(5.0)
    assert time.monotonic() - began < 1.0
    for each in threads:
        each.join()
    assert [type(each) for each in caught] == [Stopping, Stopping]
    with pytest.raises(Stopping):
        scheduler.run("slow", Call())


def test_stop_does_not_wait_for_ever() -> None:
    release = threading.Event()

    def deaf(run: JobRun) -> Mapping[str, int]:
        release.wait()
        return {}

    scheduler = Scheduler((Job("deaf", deaf),))
    thread = threading.Thread(target=scheduler.run, args=("deaf", Call()))
    thread.start()
    while "deaf" not in scheduler._running:
        time.sleep(0.001)
    assert scheduler.stop(0.05) is False
    release.set()
    thread.join()


def test_timers_run_what_is_due_and_survive_a_failing_job() -> None:
    runs: list[str] = []
    due = True

    def note(name: str) -> Mapping[str, int]:
        runs.append(name)
        if name == "bad":
            raise ValueError("broken")
        return {}

    scheduler = Scheduler(
        (
            Job("start", lambda run: note("start"), at_start=True),
            Job("often", lambda run: note("often"), 0.02),
            Job("bad", lambda run: note("bad"), 0.02),
            Job("never", lambda run: note("never"), 0.02, is_due=lambda: not due),
            Job("demand", lambda run: note("demand")),
        )
    )

    async def main() -> None:
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scheduler.serve)
                while min(runs.count("often"), runs.count("bad")) < 3:
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert runs.count("start") == 1
    assert runs.count("often") >= 3
    assert runs.count("bad") >= 3
    assert not {"never", "demand"} & set(runs)
