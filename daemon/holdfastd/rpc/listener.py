"""The public socket, the gRPC server behind it, and the front door between them.

The daemon binds its listening socket at a private name in the same directory and renames it to the public path, so that the
socket appears with its mode set. The door accepts on it. The gRPC server is bound once, to a name that is unlinked at once: only
the door's open descriptor still leads to that socket. Before the first rename the daemon calls itself through the private name
and the door, and the server must answer. The caller holds the socket's lock throughout. The main thread uses this; the thread
that shuts down calls `stop`.
"""

from __future__ import annotations

import os
import socket as sockets
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import grpc

from holdfastd import logs
from holdfastd.errors import SetupError
from holdfastd.rpc.door import Door

LINGER_S, POLL_S, CUT_OFF_S = 0.25, 0.02, 0.5
_PRIVATE_NAMES = 10  # numbered with one digit; `locks.check_socket_path` leaves room for it
_BACKLOG = 4096  # the kernel lowers it to net.core.somaxconn

log = logs.logger(__name__)


class ServerSource(Protocol):
    """Builds and tests the servers; `rpc/server.py` implements it."""

    def build(self) -> grpc.Server:
        """A server that is not yet bound."""

    def fault_of(self, socket: Path) -> str:
        """Calls a started server through a socket. Returns why it does not answer; empty when it does."""

    def fall_back(self, fault: str) -> bool:
        """Turns off what may have caused the fault. False when there is nothing left to turn off."""


class Listener:
    """Serves on `socket`. After a new bind, the connections of the old socket go on."""

    def __init__(self, socket: Path, servers: ServerSource, door: Door) -> None:
        self._socket = socket
        self._source = servers
        self._door = door
        self._server: grpc.Server | None = None
        self._threads: list[threading.Thread] = []
        self._inner = -1  # an O_PATH descriptor of grpcio's socket
        self._bound: os.stat_result | None = None
        self._binds = 0

    def bind(self) -> None:
        """Binds the public path (0600); the first time, starts the server and the door before.

        Raises SETUP when a step fails, when no server answers, and when the public or the private path holds something other
        than a socket; that file is left unchanged.
        """
        _refuse_other_files(self._socket)
        private, listening = self._listen()
        try:
            if self._server is None:
                self._start(private, listening)
            _refuse_other_files(self._socket)
            os.rename(private, self._socket)
        except (SetupError, OSError, RuntimeError) as error:
            private.unlink(missing_ok=True)
            if self._bound is None:
                self._end_all()
            listening.close()
            raise self._cannot_bind(error) from error
        if self._bound is not None:
            self._door.listen(listening)
        self._bound = os.stat(self._socket)

    def _end_all(self) -> None:
        """After the first bind failed: the daemon does not start."""
        self._door.close(CUT_OFF_S)
        if self._server is not None:
            _end(self._server)
            self._server = None

    def _private_path(self) -> Path:
        """A name that is free, or that holds a socket of an earlier daemon."""
        private = self._socket.with_name(f".{self._socket.name}.{self._binds % _PRIVATE_NAMES}")
        self._binds += 1
        _refuse_other_files(private)
        return private

    def _listen(self) -> tuple[Path, sockets.socket]:
        """A listening socket at a private path."""
        private = self._private_path()
        listening = sockets.socket(sockets.AF_UNIX)
        try:
            private.unlink(missing_ok=True)
            listening.bind(os.fspath(private))
            os.chmod(private, 0o600)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise self._cannot_bind(error) from error
        return private, listening

    def _start(self, private: Path, listening: sockets.socket) -> None:
        """Starts the door and a server that answers through it."""
        server = self._start_server()
        self._door.start()
        self._door.listen(listening)
        while fault := self._source.fault_of(private):
            _end(server)
            if not self._source.fall_back(fault):
                raise SetupError(f"The daemon does not answer at its own socket: {fault}. grpcio is {grpc.__version__}.")
            server = self._start_server()
        self._server = server

    def _start_server(self) -> grpc.Server:
        """Starts a server at a private name, unlinks the name, and leads the door to the socket."""
        private = self._private_path()
        server = self._source.build()
        try:
            server.add_insecure_port(f"unix:{private}")
            before = set(threading.enumerate())
            server.start()
            # grpcio keeps no reference to the thread that it starts, so find it by the name of its function, `_serve`. If no new
            # thread has that name, take all new threads.
            new = [each for each in threading.enumerate() if each not in before]
            self._threads = [each for each in new if "_serve" in each.name] or new
            self._lead_door_to(private)
        except (RuntimeError, OSError) as error:
            _end(server)
            raise self._cannot_bind(error) from error
        return server

    def _lead_door_to(self, private: Path) -> None:
        if self._inner >= 0:
            os.close(self._inner)
        self._inner = os.open(private, os.O_PATH | os.O_CLOEXEC)
        private.unlink()
        # connect(2) follows this link to the socket itself, which has no other name left.
        self._door.inner_path = f"/proc/self/fd/{self._inner}"

    def _cannot_bind(self, error: Exception) -> SetupError:
        return error if isinstance(error, SetupError) else SetupError(f"The socket {self._socket} cannot be bound: {error}")

    def is_served(self) -> bool:
        """Whether the door's thread and grpcio's serving threads are alive. No other thread can take over a connection."""
        return self._server is not None and self._door.is_alive() and all(each.is_alive() for each in self._threads)

    def is_bound(self) -> bool:
        """Whether the public path still leads to our socket."""
        try:
            return self._bound is not None and os.path.samestat(os.stat(self._socket), self._bound)
        except FileNotFoundError:
            return False

    def stop(self, grace_s: float, wake_streams: Callable[[], None], active_calls: Callable[[], int]) -> bool:
        """Accepts no more, refuses new calls, wakes the following streams, and waits for all calls. Then cuts all connections.

        Returns False when a call was cut off after `grace_s`. Calls of other services (a Watch of grpc.health.v1 never ends by
        itself) are cut off LINGER_S after the last call of the contract ended.
        """
        if self._server is None:
            return True
        self._door.listen(None)
        self._begin_stop(self._server, grace_s)
        wake_streams()
        in_time = self._wait(self._server, grace_s, active_calls)
        # A send to a caller that does not read ends only with its connection.
        self._door.close(CUT_OFF_S)
        if self._server.wait_for_termination(CUT_OFF_S):
            log.warning("server_not_stopped")
        os.close(self._inner)
        return in_time

    def _begin_stop(self, server: grpc.Server, grace_s: float) -> None:
        """Tells the clients to make their next calls on another connection."""
        try:
            server.stop(grace_s + CUT_OFF_S)
        except RuntimeError:
            # grpcio told the clients, then got no thread to cancel the calls after the grace. Cutting the connections does that.
            log.warning("calls_not_cancelled_by_grpcio", exc_info=True)

    def _wait(self, server: grpc.Server, grace_s: float, active_calls: Callable[[], int]) -> bool:
        """Waits until the server has stopped, or until only calls are left that are to be cut off. False: the contract's."""
        deadline = time.monotonic() + grace_s
        lingers_until: float | None = None
        while server.wait_for_termination(POLL_S):
            now = time.monotonic()
            if active_calls():
                lingers_until = None
            elif lingers_until is None:
                lingers_until = now + LINGER_S  # grpcio may still be sending the last answers
            if now >= (deadline if lingers_until is None else min(deadline, lingers_until)):
                break
        return active_calls() == 0

    def unlink(self) -> None:
        """Removes the public path, if it still leads to our socket."""
        if self.is_bound():
            os.unlink(self._socket)


def _end(server: grpc.Server) -> None:
    # Not stop(None): it would wait forever for a serving thread that has died.
    server.stop(0).wait(CUT_OFF_S)


def _refuse_other_files(path: Path) -> None:
    """Raises SETUP when the path holds anything but a socket, which a killed daemon may have left."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SetupError(f"The socket {path} cannot be bound: {error}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SetupError(f"{path} exists and is no socket. Give another --socket, or move the file away.")
