"""A context that grows by 26 messages a step, saved 204 times: by `checkpoints.save` and by LangGraph's SqliteSaver.

Each round uses a fresh store on both sides; otherwise the second round would find its contexts already stored. Both sides
save from one process. Connecting and creating tables is not timed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import holdfast
from tests.bench import conversations
from tests.bench.conversations import MESSAGES_A_STEP, STEPS
from tests.bench.crew import Crew, Job
from tests.bench.figures import MB, Absent, Bar, Line, Series, at_most, ratio, with_unit
from tests.bench.plan import Plan, Workplace
from tests.bench.processes import cpu_s
from tests.bench.servers import make_sessions, start_daemon

MOST_STORED_MB = 0.65
MOST_DEPTH = 32
TIMES_OF_SAVER, GOAL_OF_SAVER = 1.5, 1.0
SAVER = "langgraph-checkpoint-sqlite"


@dataclass(frozen=True, slots=True)
class Saved:
    """What one side measured in one round."""

    elapsed_s: float
    stored_bytes: int
    depth: int = 0
    daemon_cpu_s: float = 0.0


def prepare(index: int) -> Mapping[str, Job]:
    """Prepares the saving process for both sides."""
    found = conversations.load()
    return {"holdfast": lambda path, session: _save(found, path, session), "langgraph": lambda path: _save_by_saver(found, path)}


def _save(found: conversations.Conversations, socket_path: Path, session: str) -> Saved:
    with holdfast.connect(socket_path) as store:
        before = store.status().blob_stored_bytes
        began = time.perf_counter()
        for messages in found.contexts():
            last = store.checkpoints.save(session, context={"messages": messages})
        elapsed_s = time.perf_counter() - began
        stored_bytes = store.status().blob_stored_bytes - before
        digests = [each.context_digest for each in store.checkpoints.list(session)]
        depth = max(store.blobs.stat(each).depth for each in digests)
    with holdfast.connect(socket_path) as store:  # a new connection has nothing cached
        if len(digests) != STEPS or store.checkpoints.load(last.id) != {"messages": messages}:
            raise RuntimeError("The context that was read differs from the one that was saved.")
    return Saved(elapsed_s, stored_bytes, depth)


def _save_by_saver(found: conversations.Conversations, path: Path) -> Saved:
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.setup()
        config: Any = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}
        began = time.perf_counter()
        for step, messages in enumerate(found.contexts()):
            checkpoint: Any = empty_checkpoint() | {
                "channel_values": {"messages": messages},
                "channel_versions": {"messages": step},
            }
            config = saver.put(config, checkpoint, {"source": "loop", "step": step, "parents": {}}, {"messages": step})
        elapsed_s = time.perf_counter() - began
        last: Any = saver.get(config)
        if last["channel_values"] != {"messages": messages}:
            raise RuntimeError("The context that SqliteSaver read differs from the one it saved.")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Saved(elapsed_s, path.stat().st_size)


def growing_contexts(plan: Plan) -> list[Line]:
    """The lines for stored size and time."""
    found = conversations.load()
    ours: list[Saved] = []
    theirs: list[Saved] = []
    with Crew(1, prepare) as crew:
        for _ in plan.each_round("checkpoints"):
            with plan.workplace() as place:
                ours.append(_ours(crew, place))
                if find_spec("langgraph.checkpoint.sqlite"):
                    theirs += crew.run("langgraph", place.data / "saver.db")
    return [_size_line(found, ours, theirs), _time_line(ours, theirs)]


def _ours(crew: Crew, place: Workplace) -> Saved:
    with start_daemon(place) as daemon:
        used_s = cpu_s(daemon.pid)
        saved: list[Saved] = crew.run("holdfast", daemon.socket, make_sessions(daemon, 1)[0])
        return replace(saved[0], daemon_cpu_s=cpu_s(daemon.pid) - used_s)


def _size_line(found: conversations.Conversations, ours: list[Saved], theirs: list[Saved]) -> Line:
    depth = max(each.depth for each in ours)
    size = Series("", "MB", tuple(each.stored_bytes / MB for each in ours), f"depth {depth}")
    limit = at_most(MOST_STORED_MB, "MB", size)
    held = (limit.held and depth <= MOST_DEPTH) if found.real else None
    work = f"{STEPS} checkpoints, {MESSAGES_A_STEP} messages a step, from {found.source}: stored"
    bar = Bar(f"{limit.text}, depth ≤ {MOST_DEPTH}", f"{limit.reached}, depth {depth}", held)
    return Line(work, (size,), _rivals("MB", [each.stored_bytes / MB for each in theirs]), bar)


def _time_line(ours: list[Saved], theirs: list[Saved]) -> Line:
    took = Series("checkpoints.save", "s", tuple(each.elapsed_s for each in ours))
    rivals = _rivals("s", [each.elapsed_s for each in theirs])
    text = f"≤ {TIMES_OF_SAVER}× SqliteSaver (goal {GOAL_OF_SAVER}×)"
    bar = Bar(text, "", None)
    if isinstance(rivals[0], Series):
        times = ratio(took, rivals[0])
        bar = Bar(text, with_unit(times, "×"), times <= TIMES_OF_SAVER)
    cpu = Series("daemon's CPU", "s", tuple(each.daemon_cpu_s for each in ours))
    return Line("  the time it takes", (took, cpu), rivals, bar)


def _rivals(unit: str, values: list[float]) -> tuple[Series | Absent, ...]:
    if not values:
        return (Absent("LangGraph's SqliteSaver", f"{SAVER} is not installed"),)
    return (Series(f"LangGraph's SqliteSaver {metadata.version(SAVER)}", unit, tuple(values)),)
