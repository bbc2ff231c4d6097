"""Connects commands to a store: `open_store` may start a daemon, `open_running` and `open_following` need a running one."""

from __future__ import annotations

from functools import partial
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
    """Returns the socket that `--socket` or HOLDFAST_SOCKET names; None for the per-user store. Raises InvalidArgument."""
    try:
        named = explicit_socket(options.socket or None)
    except ValueError as error:
        raise InvalidArgument(str(error), reason="USAGE") from None
    if named is not None:
        check_socket_path(named)
    return named


def place_of(options: Options) -> Place | None:
    """Returns the per-user store; None if a socket is named."""
    return user_place() if named_socket(options) is None else None


def running_socket(options: Options) -> Path | None:
    """Returns the socket of the running daemon; None if none runs. Without a named socket, ignores daemons of other stores."""
    if (named := named_socket(options)) is not None:
        return named if autostart.answers(named) else None
    found = autostart.find(user_place(), timeout_s=options.timeout_s)
    return None if found is None else found.path


def open_store(options: Options, *, idle_exit_s: int | None = None, actor: str | None = None) -> Store:
    """Connects. Starts the daemon of the per-user store if it does not run. Raises Unavailable."""
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
    """Returns a collection with the common methods and plain messages; some of the store's collections have other signatures."""
    from holdfast.records.collection import Records
    from holdfast.records.sink import CommitSink
    from holdfast.values.fields import message_of

    class Messages(Records[Any]):
        def _value(self, found: Any) -> Any:
            return message_of(found)

    return Messages(CommitSink(store.transaction().scope), kind)


def open_running(options: Options) -> Store:
    """Connects to a running daemon and never starts one. Raises Unavailable if none runs."""
    if running_socket(options) is None:
        raise not_running(options)
    from holdfast.store import opened  # here, because loading gRPC takes long
    from holdfast.wire.connection import Connection

    to = named_socket(options) or partial(autostart.await_running, user_place())
    return opened(Connection(to, timeout_s=options.timeout_s), options.workspace)


def open_following(options: Options) -> Store:
    """Connects as `open_store` does, but does not start the daemon again if it is stopped later.

    Commands that run for hours use this, because a restart would undo `holdfast down`. They wait up to `timeout_s` for a daemon
    instead.
    """
    open_store(options).close()
    return open_running(options)


def not_running(options: Options) -> Unavailable:
    """Returns the error for a daemon that does not run; its message says how to start one."""
    if (place := place_of(options)) is not None:
        return autostart.not_running(place)
    path = named_socket(options)
    return Unavailable(
        f"No daemon answers at {path}. Start one with `holdfastd --data-dir DIR --socket {path}`.", reason="NOT_RUNNING"
    )
