"""The course of the demo: agents work, one of them is killed, then the daemon is killed, and the agents finish."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
from holdfast.demo.acknowledgements import Acknowledgements, last_note
from holdfast.demo.agent import BOARD, PATIENCE_S, source_of
from holdfast.demo.processes import Process, ProcessFailed, socket_of, start_agent, start_daemon
from holdfast.values import views

Tell = Callable[[str], None]

POLL_S = 0.02
AWAY_S = 1.0
# The share of completed tasks at which an agent, and then the daemon, is killed.
AGENT_DIES_AT, DAEMON_DIES_AT = 0.3, 0.6
_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of one run of the demo."""

    place: Path
    agents: int
    tasks: int
    pace_s: float
    trajectories: str


class Audience(threading.Thread):
    """Watches the store's tasks and reports each completed one. The watch resumes after the daemon's restart."""

    def __init__(self, store: holdfast.Store, total: int, tell: Tell) -> None:
        super().__init__(name="audience", daemon=True)
        self._watch = store.watch(kinds=["task"], since=0)
        self._total = total
        self._tell = tell
        self.done = 0

    def run(self) -> None:
        try:
            for change in self._watch:
                task = change.record.task if change.record is not None else None
                if task is not None and task.status == "completed":
                    self._tell_of(task, change.actor)
        except holdfast.HoldfastError as error:
            self._tell(f"the watch ended: {error}")

    def _tell_of(self, task: views.Task, actor: str) -> None:
        self.done += 1
        about = task.metadata
        self._tell(f"  {actor:<9} {about['item']:<32} {about['summary']}  ({self.done} of {self._total})")

    def close(self) -> None:
        self._watch.close()
        self.join(_PAUSE_S)


class Play:
    """One run of the demo. `close` ends every process that still runs."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan = plan
        self._tell = tell
        self._agents: dict[str, Process] = {}
        self._daemon = start_daemon(plan.place)

    def run(self) -> None:
        """Runs the whole demo. The daemon still serves when this returns. Raises ProcessFailed."""
        self._tell(f"the daemon serves (pid {self._daemon.pid})")
        with holdfast.connect(socket_of(self._plan.place), actor="director", timeout_s=PATIENCE_S) as store:
            total = self._hand_out(store)
            audience = Audience(store, total, self._tell)
            audience.start()
            for number in range(1, self._plan.agents + 1):
                self._start(f"agent-{number}")
            self._tell(f"{total} tasks are created, {self._plan.agents} agents start")
            self._wait(lambda: audience.done >= total * AGENT_DIES_AT)
            self._kill_agent()
            self._wait(lambda: audience.done >= total * DAEMON_DIES_AT)
            self._kill_daemon()
            self._wait(self._all_ended)
            self._wait(lambda: audience.done >= total)
            audience.close()
        self._tell("all tasks are completed")

    def close(self) -> None:
        """Kills agents that still run and stops the daemon."""
        for agent in self._agents.values():
            agent.kill()
        if not self._daemon.ended():
            self._daemon.stop()

    def _hand_out(self, store: holdfast.Store) -> int:
        """Creates the agents' tasks and the board in one commit; returns the number of tasks."""
        notes = Acknowledgements(self._plan.place, "director")
        names = source_of(self._plan.trajectories).names(self._plan.tasks)
        with store.transaction() as commit:
            made = [commit.tasks.create(id=BOARD, title="What all agents have counted", status="planned", metadata={})]
            made += [commit.tasks.create(title=f"Work on {name}", metadata={"item": name}) for name in names]
        for task in made:
            notes.note("task", id=task.id, version=task.version, status=task.status)
        return len(names)

    def _start(self, name: str) -> None:
        self._agents[name] = start_agent(self._plan.place, name, self._plan.pace_s, self._plan.trajectories)

    def _wait(self, until: Callable[[], bool]) -> None:
        """Polls until the condition holds. Raises ProcessFailed when a process failed or the work ended too early."""
        deadline = float("inf")
        while not until():
            if self._daemon.ended() or time.monotonic() > deadline:
                raise ProcessFailed("The work ended too early although nothing was killed; see the logs.")
            if self._all_ended():  # the watch delivers the last tasks a moment later
                deadline = min(deadline, time.monotonic() + _PAUSE_S)
            time.sleep(POLL_S)

    def _all_ended(self) -> bool:
        return sum(each.ended() for each in self._agents.values()) == len(self._agents)

    def _kill_agent(self) -> None:
        """Kills the first agent that is in the middle of a task and starts it again. Raises ProcessFailed when there is none."""
        name, at = self._killed_in_a_task()
        self._tell(f"✗ {name} is killed with SIGKILL in the middle of {at['item']}, {at['stage']} stages done")
        time.sleep(AWAY_S)
        self._start(name)
        self._tell(f"  {name} is started again (pid {self._agents[name].pid})")
        self._wait(lambda: last_note(self._plan.place, name, "resumed") is not None)
        back = last_note(self._plan.place, name, "resumed") or {}
        self._tell(f"✓ {name} continues from its checkpoint {back['checkpoint']}: {back['item']}, {back['stage']} stages done")

    def _killed_in_a_task(self) -> tuple[str, dict[str, Any]]:
        while not self._all_ended():
            for name, agent in self._agents.items():
                at = self._in_task(name)
                if at is not None and not agent.ended() and agent.kill():
                    return name, at
            time.sleep(POLL_S)
        raise ProcessFailed("No agent was left that could be killed in the middle of a task. Give them --modules, or --pace.")

    def _in_task(self, name: str) -> dict[str, Any] | None:
        """The agent's latest checkpoint note, if it has done some but not all stages of a task."""
        note = last_note(self._plan.place, name, "checkpoint")
        return note if note is not None and note["in_task"] and note["stage"] else None

    def _kill_daemon(self) -> None:
        busy = sum(not each.ended() for each in self._agents.values())
        self._daemon.kill()
        self._tell(f"✗ the daemon is killed with SIGKILL; {busy} agents wait for it")
        time.sleep(AWAY_S)
        began = time.monotonic()
        self._daemon = start_daemon(self._plan.place)
        self._tell(
            f"✓ the daemon serves again after {time.monotonic() - began:.1f} s (pid {self._daemon.pid}); the agents continue"
        )
