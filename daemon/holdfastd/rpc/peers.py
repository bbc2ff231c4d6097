"""Who calls: the kernel's description of each connected process, by the name under which grpcio sees its connection.

The front door (`rpc/door.py`) adds a name for each connection that it passes on and removes it at the end. A handler looks the
caller up by `context.peer()`. A call from a connection that the door did not pass on is refused.
"""

from __future__ import annotations

import secrets
import socket
import struct

import grpc

from holdfastd.errors import PermissionDenied
from holdfastd.model.call import Peer

_SO_PEERGROUPS = 59  # Linux, asm-generic/socket.h; Python has no name for it
_MAX_GROUPS_BYTES = 1024  # the largest buffer that Python's getsockopt allows


class Peers:
    """The peers of all open connections. Thread-safe: the door's thread changes it, the threads of calls read it."""

    def __init__(self) -> None:
        self._by_connection: dict[str, Peer] = {}

    def add(self, peer: Peer) -> None:
        """Makes a connection known. Call it before grpcio can see the connection."""
        self._by_connection[peer.connection] = peer

    def remove(self, peer: Peer) -> None:
        """Forgets a connection."""
        self._by_connection.pop(peer.connection, None)

    def of(self, context: grpc.ServicerContext) -> Peer:
        """The caller of a call. PERMISSION_DENIED when its connection did not come through the front door or is closed."""
        peer = self._by_connection.get(context.peer())
        if peer is None:
            raise PermissionDenied(
                "The connection did not come through the daemon's public socket, or it is closed. Connect to that socket.",
                reason="CONNECTION_UNKNOWN",
            )
        return peer


def new_name() -> str:
    """The abstract name of a new connection to grpcio's socket. It is random, so that no other process can take it first."""
    return f"holdfast-peer-{secrets.token_hex(16)}"


def peer_of(connection: socket.socket, name: str) -> Peer:
    """The process that connected, as unix(7) describes it (SO_PEERCRED, SO_PEERGROUPS). `name`: see `new_name`.

    Raises OSError when the kernel does not say. The groups are empty when there are more than 256.
    """
    pid, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS_BYTES)
    except OSError:  # ERANGE: the list is longer than the buffer
        groups = b""
    # grpcio writes the address of an abstract socket with this prefix.
    return Peer(f"unix-abstract:{name}", pid, uid, gid, struct.unpack(f"{len(groups) // 4}I", groups))
