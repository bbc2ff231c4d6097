"""`up`, `down`, `status` and `workspaces`: start, stop and describe the daemon, and name what its store has."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli import exits
from holdfast.cli.command import command, count
from holdfast.cli.holder import Holder, holder_of, of_another_user
from holdfast.cli.options import Options
from holdfast.cli.reach import named_socket, not_running, open_running, open_store, place_of, running_socket
from holdfast.cli.text import duration_text, one_line, size_text, time_text
from holdfast.contract.places import fault_of
from holdfast.errors import DeadlineExceeded, FailedPrecondition
from holdfast.wire.address import Place
from holdfast.wire.trust import ROOT

if TYPE_CHECKING:
    from holdfast.v1 import admin_service_pb2

POLL_S = 0.02
WORKSPACES_SHOWN = 20
_IDLE = "the daemon exits this many seconds after its last call (default: never); no effect on one that runs already"


@command("up")
@click.option("--idle-exit", metavar="SECONDS", type=count, default=0, help=_IDLE)
def up(options: Options, idle_exit: int) -> int:
    """Starts the daemon of the per-user store unless it runs, and prints its socket and data directory.

    examples:
      holdfast up                    start it, or report that it runs already
      HOLDFAST_DATA_DIR=./store holdfast up

    A daemon that another command or a program has started exits 15 minutes after its last call, and `up` does not change
    that. Run `holdfast down && holdfast up` to get one that keeps running.
    """
    was_running = running_socket(options) is not None
    if not was_running and named_socket(options) is not None:
        raise not_running(options)
    with open_store(options, idle_exit_s=idle_exit) as store:
        found = store.status()
    if options.as_json:
        _print_json({"started": not was_running}, found)
    else:
        print(f"{'already running' if was_running else 'started'}: pid {found.pid}")
        _print_pairs([("socket", found.socket_path), ("data", found.data_dir or "in memory")])
    return exits.OK


@command("status")
def status(options: Options) -> int:
    """Shows the state of the daemon and the size of the store. Exits with 3 if no daemon runs.

    examples:
      holdfast status                exits with 3 if no daemon runs; never starts one
      holdfast status --json | jq .revision
    """
    with open_running(options) as store:
        found = store.status()
    if options.as_json:
        _print_json({}, found)
    else:
        _print_pairs(_described(found))
    return exits.OK


def _described(found: admin_service_pb2.AdminServiceGetStatusResponse) -> Iterable[tuple[str, str]]:
    uptime_s = (datetime.now(UTC) - found.start_time.ToDatetime(UTC)).total_seconds()
    versions = f"{found.min_api_version} to {found.max_api_version}"
    yield "daemon", f"holdfast {found.daemon_version} (API {versions}, schema {found.schema_version}), pid {found.pid}"
    yield "socket", found.socket_path
    yield "data", found.data_dir or "in memory"
    yield "store", found.store_id
    yield "running", f"{duration_text(uptime_s)}, since {time_text(found.start_time.ToJsonString())}"
    yield "revision", f"{found.revision} (changes kept after {found.oldest_revision})"
    yield "database", size_text(found.database_bytes)
    yield "blobs", f"{found.blob_count}, {size_text(found.blob_bytes)}, stored in {size_text(found.blob_stored_bytes)}"
    yield "queued", f"{found.queued_commits} commits"
    if found.memory_max_bytes:  # an older daemon does not tell
        yield "memory", f"{size_text(found.memory_held_bytes)} of {size_text(found.memory_max_bytes)} for requests and answers"
    yield from _damage(found)
    yield "workspaces", _some_workspaces(found)
    for warning in found.warnings:
        yield "warning", warning


def _damage(found: admin_service_pb2.AdminServiceGetStatusResponse) -> Iterable[tuple[str, str]]:
    """What reads and the last verify found; nothing of a daemon before API version 4, which does not tell."""
    if found.max_api_version >= 4:
        yield "unreadable", f"{found.unreadable_count:,} records, entries and changes since the start"
    if found.HasField("last_verify"):
        problems, when = found.last_verify.problem_count, time_text(found.last_verify.finish_time.ToJsonString())
        yield "verified", f"{when}: " + (f"{problems:,} problems" if problems != 1 else "1 problem")


def _some_workspaces(found: admin_service_pb2.AdminServiceGetStatusResponse) -> str:
    shown = found.workspaces[:WORKSPACES_SHOWN]
    more = max(found.workspace_count, len(found.workspaces)) - len(shown)  # an older daemon names all and does not count
    names = ", ".join(shown) or "none yet"
    return f"{names} and {more:,} more (`holdfast workspaces` lists all)" if more else names


@command("workspaces")
def workspaces(options: Options) -> int:
    """Lists the workspaces of the store, sorted by name. The first write to a workspace creates it.

    examples:
      holdfast workspaces
      holdfast workspaces --json | jq -r .name
    """
    from holdfast.cli.json_form import json_line

    with open_store(options) as store:
        for name in store.workspaces():
            print(json_line({"name": name}) if options.as_json else one_line(name))
    return exits.OK


@command("down")
def down(options: Options) -> int:
    """Stops the daemon, if one runs, and waits until it has released its socket and its store.

    examples:
      holdfast down                  the daemon finishes the calls that it has begun, then exits
      holdfast down --socket ./store.sock
    """
    locks = _locks(options)
    found = _find(locks, place_of(options))
    if found is None:
        return _say_stopped(options, None)
    holder, path = found
    _check_same_process(holder, path)
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has ended meanwhile
    except PermissionError as error:
        raise of_another_user(_lock_of(path)) or error from None
    _await_end(holder.pid, [*locks, *holder.further_locks], options.timeout_s)
    return _say_stopped(options, holder.pid)


def _find(locks: Mapping[Path, Path], place: Place | None) -> tuple[Holder, Path] | None:
    """The daemon that holds one of the locks, and its socket. With a place, a daemon of another store does not count."""
    for lock_file, path in locks.items():
        holder = holder_of(lock_file)
        if holder is not None and (place is None or holder.serves(place)):
            return holder, path
    return None


def _locks(options: Options) -> Mapping[Path, Path]:
    """The lock files that a daemon of this socket, or of this store, holds; each with the daemon's socket.

    Leaves out those in directories of other users, who could name any process there.
    """
    named, place = named_socket(options), place_of(options)
    if place is None:
        return {} if named is None else {_lock_of(named): named}
    found = {_lock_of(each): each for each in place.sockets} | {place.data_dir / "daemon.json": place.described_socket}
    return {lock: path for lock, path in found.items() if not fault_of(lock.parent, (ROOT,), stat.S_IWOTH)}


def _lock_of(socket_path: Path) -> Path:
    return socket_path.with_name(socket_path.name + ".lock")


def _check_same_process(holder: Holder, path: Path) -> None:
    """Raises FailedPrecondition if the kernel reports another pid for the listener: the file's pid is from another container."""
    if not hasattr(socket, "SO_PEERCRED"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return  # it no longer listens; only the lock file names it
        listener = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    if listener != holder.pid:
        raise FailedPrecondition(
            f"The daemon at {path} reports pid {holder.pid}, which is not its pid here (it may run in another container). "
            "Stop it where it was started.",
            reason="OTHER_PID_NAMESPACE",
            metadata={"pid": str(holder.pid)},
        )


def _await_end(pid: int, locks: Iterable[Path], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for path in locks:
        while (holder := holder_of(path)) is not None and holder.pid == pid:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"The daemon, pid {pid}, is still stopping after {timeout_s:g} s. Run `holdfast down` again to hurry it.",
                    metadata={"pid": str(pid)},
                )
            time.sleep(POLL_S)


def _say_stopped(options: Options, pid: int | None) -> int:
    if options.as_json:
        from holdfast.cli.json_form import json_line

        print(json_line({"stopped": pid is not None, "pid": pid}))
    else:
        print("not running" if pid is None else f"stopped: pid {pid}")
    return exits.OK


def _print_json(first: dict[str, object], status: admin_service_pb2.AdminServiceGetStatusResponse) -> None:
    from holdfast.cli.json_form import json_form, json_line

    print(json_line(first | json_form(status)))


def _print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        print(f"{name:<11}{one_line(value)}")
