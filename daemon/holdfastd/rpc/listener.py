"""The public socket: binds gRPC servers to it, and detects when the socket or a server's thread is gone.

grpcio unlinks its path when it binds and again when it stops. So a server is bound to a private name in the same directory, and
the socket is then renamed to the public name; the name that grpcio unlinks later no longer exists. Before the first rename the
daemon calls itself through the private name, and the server must answer. The caller holds the socket's lock throughout. The
main thread uses this; the thread that shuts down calls `stop`.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import grpc

from holdfastd.errors import SetupError

LINGER_S, POLL_S, CUT_OFF_S = 0.25, 0.02, 1.0
_PRIVATE_NAMES = 10  # numbered with one digit; `locks.check_socket_path` leaves room for it


class ServerSource(Protocol):
    """Builds and tests the servers; `rpc/server.py` implements it."""

    def build(self) -> grpc.Server:
        """A server that is not yet bound."""

    def fault_of(self, socket: Path) -> str:
        """Calls a started server at its socket. Returns why it does not answer; empty when it does."""

    def fall_back(self, fault: str) -> bool:
        """Turns off what may have caused the fault. False when there is nothing left to turn off."""


class Listener:
    """Serves on `socket`. After a new bind, the old server goes on serving the connections that it has."""

    def __init__(self, socket: Path, servers: ServerSource) -> None:
        self._socket = socket
        self._source = servers
        self._servers: list[grpc.Server] = []
        self._threads: list[threading.Thread] = []
        self._bound: os.stat_result | None = None
        self._binds = 0

    def bind(self) -> None:
        """Builds a server, starts it, and renames its socket (0600) to the public path.

        Raises SETUP when a step fails, when no server answers, and when the public or the private path holds something other
        than a socket; that file is left unchanged.
        """
        _refuse_other_files(self._socket)
        private, server, threads = self._start()
        while not self._servers and (fault := self._source.fault_of(private)):
            _end(server)
            if not self._source.fall_back(fault):
                raise SetupError(f"The daemon does not answer at its own socket: {fault}. grpcio is {grpc.__version__}.")
            private, server, threads = self._start()
        try:
            _refuse_other_files(self._socket)
            os.rename(private, self._socket)
        except (SetupError, OSError) as error:
            _end(server)
            raise self._cannot_bind(error) from error
        self._servers.append(server)
        self._threads += threads
        self._bound = os.stat(self._socket)

    def _start(self) -> tuple[Path, grpc.Server, list[threading.Thread]]:
        """Starts a server at a private name. Returns the socket's path, the server and its threads."""
        private = self._socket.with_name(f".{self._socket.name}.{self._binds % _PRIVATE_NAMES}")
        self._binds += 1
        _refuse_other_files(private)
        server = self._source.build()
        try:
            server.add_insecure_port(f"unix:{private}")
            before = set(threading.enumerate())
            server.start()
            # grpcio keeps no reference to the thread that it starts, so find it by the name of its function, `_serve`. If no new
            # thread has that name, take all new threads.
            new = [each for each in threading.enumerate() if each not in before]
            threads = [each for each in new if "_serve" in each.name] or new
            os.chmod(private, 0o600)
        except (RuntimeError, OSError) as error:
            _end(server)
            raise self._cannot_bind(error) from error
        return private, server, threads

    def _cannot_bind(self, error: Exception) -> SetupError:
        return error if isinstance(error, SetupError) else SetupError(f"The socket {self._socket} cannot be bound: {error}")

    def is_served(self) -> bool:
        """Whether all serving threads are alive. No other thread can take over the connections of a dead one."""
        return bool(self._threads) and all(each.is_alive() for each in self._threads)

    def is_bound(self) -> bool:
        """Whether the public path still leads to our socket."""
        try:
            return self._bound is not None and os.path.samestat(os.stat(self._socket), self._bound)
        except FileNotFoundError:
            return False

    def stop(self, grace_s: float, wake_streams: Callable[[], None], active_calls: Callable[[], int]) -> bool:
        """Refuses new calls, wakes the following streams, and waits for all calls. Returns False when a call was cut off.

        Calls that still run after `grace_s` are cancelled. Calls of other services (a Watch of grpc.health.v1 never ends by
        itself) are cancelled LINGER_S after the last call of the contract ended.
        """
        # grpcio gets a longer grace, so that this function cancels the calls and can report it.
        stopped = [server.stop(grace_s + CUT_OFF_S) for server in self._servers]
        wake_streams()
        deadline = time.monotonic() + grace_s
        lingers_until: float | None = None
        while not all(event.is_set() for event in stopped):
            now = time.monotonic()
            if active_calls():
                lingers_until = None
            elif lingers_until is None:
                lingers_until = now + LINGER_S  # grpcio may still be sending the last answers
            if now >= (deadline if lingers_until is None else min(deadline, lingers_until)):
                break
            stopped[0].wait(POLL_S)
        in_time = active_calls() == 0
        self._cut_off()
        return in_time

    def _cut_off(self) -> None:
        for event in [server.stop(0) for server in self._servers]:
            event.wait(CUT_OFF_S)

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
