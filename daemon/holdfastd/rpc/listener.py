"""The public socket: binding gRPC servers to it, and noticing when somebody took it away.

grpcio unlinks whatever lies at its path when it binds and again when it stops, so a server is bound to a private name
beside the public one and the socket then renamed onto that; what grpcio unlinks later is a name that is gone. The caller
holds the socket's lock all the while. Used by the main thread, `stop` by the thread that shuts down.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from holdfastd.errors import SetupError

BuildServer = Callable[[], grpc.Server]

LINGER_S, POLL_S, CUT_OFF_S = 0.25, 0.02, 1.0
_PRIVATE_NAMES = 10  # one digit; `locks.check_socket_path` leaves room for it


class Listener:
    """Serves on `socket`. A server that lost its socket goes on serving its connections beside the next one."""

    def __init__(self, socket: Path, build_server: BuildServer) -> None:
        self._socket = socket
        self._build_server = build_server
        self._servers: list[grpc.Server] = []
        self._bound: os.stat_result | None = None

    def bind(self) -> None:
        """Builds a server, starts it, and puts its socket (0600) at the public path.

        Raises SETUP when that fails, and when something else than a socket, which is left alone, lies at either path.
        """
        private = self._socket.with_name(f".{self._socket.name}.{len(self._servers) % _PRIVATE_NAMES}")
        for path in (self._socket, private):
            _refuse_other_files(path)
        server = self._build_server()
        try:
            server.add_insecure_port(f"unix:{private}")
            server.start()
            os.chmod(private, 0o600)
            _refuse_other_files(self._socket)
            os.rename(private, self._socket)
        except SetupError:
            server.stop(None)
            raise
        except (RuntimeError, OSError) as error:
            server.stop(None)
            raise SetupError(f"The socket {self._socket} cannot be bound: {error}") from error
        self._servers.append(server)
        self._bound = os.stat(self._socket)

    def is_bound(self) -> bool:
        """Whether the public path still leads to our socket."""
        try:
            return self._bound is not None and os.path.samestat(os.stat(self._socket), self._bound)
        except FileNotFoundError:
            return False

    def stop(self, grace_s: float, wake_streams: Callable[[], None], active_calls: Callable[[], int]) -> bool:
        """Lets no call begin, wakes those that follow something, and waits for all; whether none had to be cut off.

        What still runs after `grace_s` is cancelled. What is not ours (a Watch of grpc.health.v1 never ends by itself)
        is cancelled as soon as nothing of ours runs any more.
        """
        # Its grace is longer than ours, so that it is we who know whether anything was cut off.
        stopped = [server.stop(grace_s + CUT_OFF_S) for server in self._servers]
        wake_streams()
        deadline = time.monotonic() + grace_s
        lingers_until: float | None = None
        while not all(event.is_set() for event in stopped):
            now = time.monotonic()
            if active_calls():
                lingers_until = None
            elif lingers_until is None:
                lingers_until = now + LINGER_S  # the last answers are still on their way
            if now >= (deadline if lingers_until is None else min(deadline, lingers_until)):
                break
            stopped[0].wait(POLL_S)
        in_time = active_calls() == 0
        self._cut_off()
        return in_time

    def _cut_off(self) -> None:
        for event in [server.stop(None) for server in self._servers]:
            event.wait(CUT_OFF_S)

    def unlink(self) -> None:
        """Takes the public path away, if it is still ours."""
        if self.is_bound():
            os.unlink(self._socket)


def _refuse_other_files(path: Path) -> None:
    """Raises SETUP when there is anything at the path but a socket, which a daemon that was killed may have left."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SetupError(f"The socket {path} cannot be bound: {error}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SetupError(f"{path} is there and is no socket; it is left as it is. Give another --socket, or move it away.")
