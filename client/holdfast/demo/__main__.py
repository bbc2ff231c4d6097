"""`python -m holdfast.demo`: agents share one store; one agent and the daemon are killed; nothing acknowledged is lost."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import holdfast
from holdfast.demo.agent import session_of, source_of
from holdfast.demo.play import Plan, Play
from holdfast.demo.processes import ProcessFailed, socket_of, start_daemon
from holdfast.demo.proof import prove

TRAJECTORIES_VARIABLE = "TRAJECTORIES"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo. Returns 0 if the proof holds, 1 if acknowledged data is missing or a process failed."""
    options = _parser().parse_args(arguments)
    try:
        if options.prove:
            return _prove_again(options.prove)
        return _perform(options)
    except (ProcessFailed, holdfast.HoldfastError, OSError, ValueError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _perform(options: argparse.Namespace) -> int:
    plan = _plan(options)
    tell = _clock()
    print(f"Holdfast's demo: {plan.agents} agents {source_of(plan.trajectories).what}.", flush=True)
    print(f"The store and the logs of all processes: {plan.place}\n", flush=True)
    play = Play(plan, tell)
    try:
        play.run()
        well = _prove(plan.place)
    finally:
        play.close()
    if well:
        print(f"\nNothing acknowledged was lost or stored twice. The store stays in {plan.place}. Look into it:")
        print(_advice(plan.place))
    return 0 if well else 1


def _prove_again(place: Path) -> int:
    daemon = start_daemon(place)
    try:
        return 0 if _prove(place) else 1
    finally:
        daemon.stop()


def _prove(place: Path) -> bool:
    """Runs the proof with a new client, which has no cached data."""
    print("\nThe proof, by a new client:", flush=True)
    with holdfast.connect(socket_of(place), actor="proof") as store:
        well = prove(store, place, lambda line: print(line, flush=True))
    if not well:
        print(f"\nNOT PROVEN. The store stays in {place}.", file=sys.stderr)
    return well


def _plan(options: argparse.Namespace) -> Plan:
    place = options.directory
    if place is None:
        place = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    else:
        place = Path(os.path.abspath(place))
        place.mkdir(mode=0o700, parents=True)
    trajectories = os.path.abspath(options.trajectories) if options.trajectories else ""
    return Plan(place, options.agents, options.agents * options.modules, options.pace, trajectories)


def _clock() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda line: print(f"{time.monotonic() - began:5.1f} s  {line}", flush=True)


def _advice(place: Path) -> str:
    """Commands that can be pasted into the shell that ran the demo."""
    holdfastd, client = _command("holdfastd"), f"{_command('holdfast')} --socket {shlex.quote(str(socket_of(place)))}"
    serve = f"{holdfastd} --data-dir {shlex.quote(str(place / 'store'))} --socket {shlex.quote(str(socket_of(place)))} &"
    lines = [
        (serve, "start its daemon again"),
        (f"{client} status", ""),
        (f"{client} list sessions", ""),
        (f"{client} tail {session_of('agent-1')}", "the end of a transcript"),
        (f"{client} list artifacts", "reports and diffs; `cat` shows one by its id"),
        (f"{client} show task BOARD", "the sum of all agents' results"),
        (f"{client} verify", ""),
        (f"{client} down", "stop the daemon"),
    ]
    return "\n".join(f"  {command}{f'   # {comment}' if comment else ''}" for command, comment in lines)


def _command(name: str) -> str:
    """The command by its path: `make` changes the PATH of the demo, not that of the shell that called `make`."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        relative = os.path.join(os.curdir, os.path.relpath(beside))
        return shlex.quote(str(beside) if os.pardir in Path(relative).parts else relative)
    return f"{shlex.quote(sys.executable)} -m {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.demo", description=__doc__)
    parser.add_argument("--agents", type=int, default=8, help="how many agents (default: 8)")
    parser.add_argument("--modules", type=int, default=6, help="tasks for each of them, on average (default: 6)")
    parser.add_argument(
        "--pace", type=float, default=0.3, help="seconds that an agent waits after a stage, in place of a model (default: 0.3)"
    )
    parser.add_argument("--directory", type=Path, help="a new directory for the store (default: a temporary one, which stays)")
    parser.add_argument(
        "--trajectories",
        default=os.environ.get(TRAJECTORIES_VARIABLE, ""),
        metavar="FILE",
        help=f"replay these conversations (one JSON object a line) instead of reviewing modules; or set ${TRAJECTORIES_VARIABLE}",
    )
    parser.add_argument("--prove", type=Path, metavar="DIR", help="only run the proof again on what an earlier demo left in DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
