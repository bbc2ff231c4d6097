"""Counts the files that one append and one delta checkpoint save run through: `make walk`.

Client and daemon run in this process, and `sys.setprofile` records each call of their Python functions. A file counts when
one of its functions runs; generated code does not count. A call goes back up when the called file imports the caller's file,
directly or indirectly, and not the reverse: a callback, or a method of an object that was passed in.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import grimp

import holdfast
import holdfastd
from holdfastd.daemon import Daemon
from holdfastd.settings import load_settings

CLIENT, DAEMON = Path(holdfast.__file__).parent, Path(holdfastd.__file__).parent
GENERATED = CLIENT / "v1"
WARM_UP = 3  # the first calls fill caches
MESSAGE = "A message that repeats no other: "


@dataclass
class Walk:
    """What was called while `recording`: modules, and pairs of calling and called module in one thread."""

    recording: bool = False
    modules: set[str] = field(default_factory=set)
    calls: set[tuple[str, str]] = field(default_factory=set)

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function, called in every thread."""
        if not self.recording or event != "call" or (called := _module_of(frame.f_code.co_filename)) is None:
            return
        self.modules.add(called)
        caller = frame.f_back
        while caller is not None and (calling := _module_of(caller.f_code.co_filename)) is None:
            caller = caller.f_back
        if caller is not None and calling is not None and calling != called:
            self.calls.add((calling, called))


@cache
def _module_of(filename: str) -> str | None:
    path = Path(filename)
    if (not path.is_relative_to(CLIENT) and not path.is_relative_to(DAEMON)) or path.is_relative_to(GENERATED):
        return None
    root = CLIENT if path.is_relative_to(CLIENT) else DAEMON
    return ".".join((root.name, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")


@contextmanager
def profiled() -> Iterator[Walk]:
    """Records the calls in this thread and in threads started in the block."""
    walk = Walk()
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


@contextmanager
def served() -> Iterator[holdfast.Store]:
    """Starts a daemon in this process and connects a client to it."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        paths = {"data_dir": f"{directory}/data", "socket": f"{directory}/run/s.sock", "log_level": "error"}
        daemon = Daemon(load_settings(paths, {}))
        daemon.open()
        try:
            with holdfast.connect(f"{directory}/run/s.sock", actor="walk") as store:
                yield store
        finally:
            daemon.close()


def append(store: holdfast.Store) -> Callable[[int], object]:
    """Appends one entry to a transcript."""
    session = store.sessions.create(id="S").id
    return lambda number: store.transcripts.append(session, role="prompt", content=f"{MESSAGE}{number}")


def delta_save(store: holdfast.Store) -> Callable[[int], object]:
    """Saves a context that grew by one message since the previous save."""
    session = store.sessions.create(id="S").id
    chance = random.Random(7)
    messages = [{"role": "prompt", "content": f"{MESSAGE}{chance.randbytes(500).hex()}"} for _ in range(200)]

    def save(number: int) -> object:
        messages.append({"role": "prompt", "content": f"{MESSAGE}{number}"})
        return store.checkpoints.save(session, context={"messages": messages})

    return save


ACTIONS: dict[str, Callable[[holdfast.Store], Callable[[int], object]]] = {"append": append, "delta save": delta_save}


def walk_of(action: Callable[[holdfast.Store], Callable[[int], object]]) -> Walk:
    """Runs the action a few times to warm up, then records one run."""
    with profiled() as walk, served() as store:
        run = action(store)
        for number in range(WARM_UP):
            run(number)
        walk.recording = True
        run(WARM_UP)
        walk.recording = False
    return walk


def calls_back(walk: Walk) -> list[tuple[str, str]]:
    """The calls that go back up, as pairs of calling and called module."""
    graph = grimp.build_graph("holdfast", "holdfastd", cache_dir=None)
    return sorted(
        (calling, called)
        for calling, called in walk.calls
        if graph.chain_exists(called, calling) and not graph.chain_exists(calling, called)
    )


def report(name: str, walk: Walk, listing: bool) -> None:
    """Prints the counts, and with `listing` the files and the calls that go back up."""
    back = calls_back(walk)
    client = [each for each in sorted(walk.modules) if each.split(".")[0] == "holdfast"]
    daemon = [each for each in sorted(walk.modules) if each.split(".")[0] == "holdfastd"]
    print(f"{name}: {len(client)} files of the client, {len(daemon)} of the daemon; {len(back)} calls go back up")
    if listing:
        print("".join(f"  {each}\n" for each in (*client, *daemon)), end="")
        print("".join(f"  back: {calling} -> {called}\n" for calling, called in back), end="")


def main() -> None:
    parser = argparse.ArgumentParser(prog="walk", description="Count the files that one call crosses.")
    parser.add_argument("--list", action="store_true", help="print the files and the calls that go back up")
    listing = parser.parse_args().list
    for name, action in ACTIONS.items():
        report(name, walk_of(action), listing)


if __name__ == "__main__":
    main()
