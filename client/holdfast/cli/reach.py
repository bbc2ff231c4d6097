"""How commands come to a store: through a daemon that may be started, that must run, or that is followed as it restarts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.options import Options
from holdfast.errors import InvalidArgument, Unavailable
from holdfast.wire import autostart
from holdfast.wire.address import Place, check_socket_path, explicit_socket, user_place

if TYPE_CHECKING:
    from holdfast.contract.kinds import Kind
    from holdfast.records.collection import Records
    from holdfast.store import Store


def named_socket(options: Options) -> Path | None:
    """The socket that `--socket` or HOLDFAST_SOCKET names; None means the per-user store. Raises InvalidArgument."""
    try:
        named = explicit_socket(options.socket or None)
    except ValueError as error:
        raise InvalidArgument(str(error), reason="USAGE") from None
    if named is not None:
        check_socket_path(named)
    return named


def place_of(options: Options) -> Place | None:
    """The per-user store, unless a socket is named."""
    return user_place() if named_socket(options) is None else None


def running_socket(options: Options) -> Path | None:
    """Where the daemon answers; None when it does not run. A daemon of another store is not that of the per-user store."""
    if (named := named_socket(options)) is not None:
        return named if autostart.answers(named) else None
    return autostart.find(user_place(), timeout_s=options.timeout_s)


def open_store(options: Options, *, idle_exit_s: int | None = None, actor: str | None = None) -> Store:
    """Connects; the daemon of the per-user store is started when it does not run."""
    from holdfast.store import DEFAULT_IDLE_EXIT_S, connect

    path = named_socket(options)
    try:
        return connect(
            path,
            workspace=options.workspace,
            actor=actor,
            timeout_s=options.timeout_s,
            idle_exit_s=DEFAULT_IDLE_EXIT_S if idle_exit_s is None else idle_exit_s,
        )
    except Unavailable:
        if path is None:
            raise
        raise not_running(options) from None


def records_of(store: Store, kind: Kind) -> Records[Any]:
    """The verbs that every kind has, on plain messages. Some of the store's own collections take and give something else."""
    from holdfast.records.collection import Records
    from holdfast.records.sink import CommitSink

    return Records[Any](CommitSink(store.transaction().scope), kind)


def open_running(options: Options) -> Store:
    """Connects to a daemon that runs; starts none, and raises Unavailable when there is none."""
    from holdfast.store import connect

    if (path := running_socket(options)) is None:
        raise not_running(options)
    return connect(path, workspace=options.workspace, timeout_s=options.timeout_s)


def open_following(options: Options) -> Store:
    """Connects as `open_store` does, but once connected starts no daemon again that somebody stops.

    Commands that run for hours use this: they wait for the daemon, up to `timeout_s`, instead of undoing `holdfast down`.
    """
    open_store(options).close()
    return open_running(options)


def not_running(options: Options) -> Unavailable:
    """The error for a daemon that is not there, with what to do."""
    if (place := place_of(options)) is not None:
        return Unavailable(f"The daemon of {place.data_dir} is not running. Start it with `holdfast up`.", reason="NOT_RUNNING")
    path = named_socket(options)
    return Unavailable(
        f"No daemon answers at {path}. Start one with `holdfastd --data-dir DIR --socket {path}`.", reason="NOT_RUNNING"
    )
