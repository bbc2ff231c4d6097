"""One agent: takes tasks that all agents share, works on them stage by stage, and saves its context after each stage.

After a SIGKILL and a restart it continues from its latest checkpoint. Work done after that checkpoint is in the store; the agent
finds it there and does not repeat it. Each agent is a process: `python -m holdfast.demo.agent PLACE NAME`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import holdfast
from holdfast.demo.acknowledgements import Acknowledgements
from holdfast.demo.assignment import Assignment, Message, Product, Source, Stage
from holdfast.demo.conversations import Conversations
from holdfast.demo.library import Library
from holdfast.journals.writer import Acknowledged
from holdfast.values import views

BOARD = "BOARD"
PATIENCE_S = 60.0


def session_of(agent: str) -> str:
    """The id of the agent's session, the same for each of its processes."""
    return f"{agent}-session"


def source_of(trajectories: str) -> Source:
    """The source of assignments: a file of conversations, or the standard library."""
    return Conversations(Path(trajectories)) if trajectories else Library()


class Agent:
    """One agent. It waits `pace_s` seconds after each stage, as if a model were thinking."""

    def __init__(self, store: holdfast.Store, name: str, source: Source, notes: Acknowledgements, pace_s: float) -> None:
        self._store = store
        self._name = name
        self._source = source
        self._notes = notes
        self._pace_s = pace_s
        self._session = session_of(name)
        self._context: dict[str, Any] = {"agent": name, "task": "", "stage": 0, "messages": []}
        self._done_since: set[str] = set()

    def run(self) -> None:
        """Takes and does tasks until none is left."""
        self._begin()
        while self._context["task"] or self._take_task():
            self._work()

    def _begin(self) -> None:
        if self._store.sessions.exists(self._session):
            self._resume()
            return
        with self._store.transaction() as commit:
            commit.constructs.create(id=self._name, name=self._name, type="agent", metadata={"pid": os.getpid()})
            commit.sessions.create(id=self._session, construct_id=self._name, title=f"{self._name} at work")
        self._notes.note("session", id=self._session, revision=commit.revision)

    def _resume(self) -> None:
        """Loads the context of the latest checkpoint, and the marks of the entries written after it."""
        try:
            latest = self._store.checkpoints.latest(self._session)
        except holdfast.NotFound:
            return
        self._context = latest.load()
        entries = self._store.transcripts.read(self._session, start=self._context["last_number"] + 1)
        self._done_since = {each.metadata["mark"] for each in entries}
        self._notes.note(
            "resumed",
            checkpoint=latest.number,
            context=latest.context_digest,
            done_since=len(self._done_since),
            item=self._context["item"],
            stage=self._context["stage"],
        )

    def _take_task(self) -> bool:
        """Takes the first free task, or the next when another agent took that one first. False when none is left."""
        for task in self._store.tasks.list(filter='status = "created"', limit=20):
            context = {**self._context, "task": task.id, "item": _item(task), "stage": 0}
            context.setdefault("last_number", 0)
            try:
                with self._store.transaction() as commit:
                    taken = commit.tasks.update(task.id, version=task.version, status="running", assignees=[self._name])
                    saved = commit.checkpoints.save(self._session, context=context, name=f"took {_item(task)}")
            except holdfast.VersionMismatch:
                self._notes.note("lost race", id=task.id)
                continue
            self._context = context
            self._note_task(taken)
            self._note_checkpoint(saved)
            return True
        return self._store.tasks.count('status = "created"') > 0

    def _work(self) -> None:
        assignment = self._source.prepare(self._context["item"])
        for number in range(self._context["stage"], len(assignment.stages)):
            self._do(assignment.stages[number], number)
            time.sleep(self._pace_s)
        self._finish(assignment)

    def _do(self, stage: Stage, number: int) -> None:
        """Does one stage: writes its messages to the transcript, stores its files as artifacts, then saves a checkpoint."""
        self._write(stage.messages, number)
        for product in stage.products:
            self._put(product)
        messages = [*self._context["messages"], *({"role": each.role, "content": each.content} for each in stage.messages)]
        self._context.update(stage=number + 1, messages=messages, last_number=self._last_number())
        saved = self._store.checkpoints.save(self._session, context=self._context, name=f"{self._context['item']}: {stage.title}")
        self._note_checkpoint(saved)

    def _write(self, messages: Sequence[Message], number: int) -> None:
        marks = [f"{self._context['task']}.{number}.{n}" for n in range(len(messages))]
        missing = [(mark, each) for mark, each in zip(marks, messages, strict=True) if mark not in self._done_since]
        waiting = deque(mark for mark, _ in missing)

        def note(batch: Acknowledged) -> None:
            done = [waiting.popleft() for _ in range(batch.first_number, batch.last_number + 1)]
            self._notes.note("entries", first=batch.first_number, marks=done, revision=batch.revision)

        with self._store.transcripts.writer(self._session, on_acknowledged=note) as writer:
            for mark, each in missing:
                about = {"mark": mark, **each.metadata}
                writer.write(
                    role=each.role, content=each.content, task_id=self._context["task"], iteration=number, metadata=about
                )

    def _put(self, product: Product) -> None:
        """Stores a file unless the task has an artifact of that name already, from before a restart."""
        task = self._context["task"]
        for _ in self._store.artifacts.list(
            filter=f"task_id = {holdfast.quoted(task)} AND name = {holdfast.quoted(product.name)}"
        ):
            return
        put = self._store.artifacts.put(
            source=product.content,
            construct_id=self._name,
            task_id=task,
            type=product.type,
            name=product.name,
            content_type=product.content_type,
        )
        self._notes.note("artifact", id=put.id, digest=f"sha256:{hashlib.sha256(product.content).hexdigest()}")

    def _finish(self, assignment: Assignment) -> None:
        """One commit: the task is completed, the shared board counts it, a link names the session, a checkpoint is saved."""
        while True:
            task, board = self._store.tasks.get(self._context["task"]), self._store.tasks.get(BOARD)
            context = {**self._context, "task": "", "stage": 0}
            try:
                with self._store.transaction() as commit:
                    about = {"item": assignment.name, "tally": dict(assignment.tally), "summary": assignment.summary}
                    done = commit.tasks.update(task.id, version=task.version, status="completed", metadata=about)
                    tally = _added(board.metadata, assignment.tally)
                    counted = commit.tasks.update(BOARD, version=board.version, metadata=tally)
                    link = commit.links.create(
                        type="done-in", from_kind="task", from_id=task.id, to_kind="session", to_id=self._session
                    )
                    saved = commit.checkpoints.save(self._session, context=context, name=f"{assignment.name}: done")
            except holdfast.VersionMismatch:
                self._notes.note("lost race", id=BOARD)
                continue
            break
        self._context = context
        self._note_task(done)
        self._note_task(counted)
        self._notes.note("link", id=link.id)
        self._note_checkpoint(saved)

    def _last_number(self) -> int:
        for entry in self._store.transcripts.read(self._session, descending=True, limit=1):
            return entry.number
        return 0

    def _note_task(self, task: views.Task) -> None:
        self._notes.note("task", id=task.id, version=task.version, status=task.status)

    def _note_checkpoint(self, saved: views.Checkpoint) -> None:
        about = {"item": self._context["item"], "stage": self._context["stage"], "in_task": bool(self._context["task"])}
        self._notes.note("checkpoint", id=saved.id, number=saved.number, digest=saved.context_digest, **about)


def _item(task: views.Task) -> str:
    return str(task.metadata["item"])


def _added(before: dict[str, int], more: Any) -> dict[str, int]:
    return {name: before.get(name, 0) + count for name, count in more.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one agent in this process."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.demo.agent", description="One agent of the demo.")
    parser.add_argument("place", type=Path, help="the demo's directory")
    parser.add_argument("name")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--pace", type=float, default=0.2)
    parser.add_argument("--trajectories", default="")
    options = parser.parse_args(arguments)
    notes = Acknowledgements(options.place, options.name)
    with holdfast.connect(options.socket, actor=options.name, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S) as store:
        Agent(store, options.name, source_of(options.trajectories), notes, options.pace).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
