"""Passes the bytes of one connection between a caller and grpcio's inner socket, in the door's thread.

Nothing is read from one end while the other has not taken what was read before, so a connection holds at most one chunk in each
direction, and a caller that does not read holds up only itself.
"""

from __future__ import annotations

import select
import socket

from holdfastd.rpc.begun import Begun

CHUNK_BYTES = 64 * 1024
# When all connections together hold `HELD_MAX_BYTES`, each reads at most `SMALL_CHUNK_BYTES` at a time.
HELD_MAX_BYTES = 16 * 2**20
SMALL_CHUNK_BYTES = 4 * 1024

READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR  # reported whether asked for or not


class Scratch:
    """What all relays of a door share: the buffer that they read into, and how many bytes they hold."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CHUNK_BYTES))
        self.held_bytes = 0

    def free_bytes(self) -> int:
        """How much a relay may read at once."""
        return CHUNK_BYTES if self.held_bytes < HELD_MAX_BYTES else SMALL_CHUNK_BYTES


class End:
    """One end of a relayed connection. `held` is what was read from the other end and waits to be sent to this one."""

    __slots__ = (
        "_events",
        "_is_deaf",
        "_is_paused",
        "_poll",
        "_registered",
        "_scratch",
        "begun",
        "held",
        "is_caller",
        "other",
        "socket",
    )

    other: End

    def __init__(self, connection: socket.socket, poll: select.epoll, scratch: Scratch, *, is_caller: bool) -> None:
        self.socket = connection
        self.held = b""
        self._poll = poll
        self._scratch = scratch
        self.is_caller = is_caller
        self._events = READABLE
        self._registered = True
        self._is_deaf = False
        self._is_paused = False
        self.begun: Begun | None = None  # of the caller's end, while its calls are counted

    def move(self, events: int) -> bool:
        """Passes on what can be passed on. Returns False when the connection is over. Raises OSError as sockets do."""
        if events & WRITABLE and self.held and not self._flush():
            return False
        if events & READABLE:
            return self._pass_on()
        return not events & _GONE or self._outlasts()

    def let_go(self) -> None:
        """Counts what the connection held as free. Call it once, when the connection is dropped."""
        self._scratch.held_bytes -= len(self.held) + len(self.other.held)

    def pause(self, is_paused: bool) -> None:
        """Reads nothing from this end until it is called again."""
        self._is_paused = is_paused
        self._watch()

    def _pass_on(self) -> bool:
        if self.other.held:  # an event from before the pause
            return True
        scratch = self._scratch
        try:
            size = self.socket.recv_into(scratch.view, scratch.free_bytes())
        except BlockingIOError:
            return True
        if not size:  # its end; nothing is held for the other one, or this one would not be read
            return False
        data = scratch.view[:size]
        if self.begun is not None:
            self.begun.read(data)
        return self.other.send(data)

    def send(self, data: memoryview | bytes) -> bool:
        """Sends what the socket takes and holds the rest. Returns False when the connection is over."""
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            if self.is_caller:
                return False
            return self._turn_deaf()
        if sent < len(data):
            self._hold(bytes(data[sent:]))
        return True

    def _turn_deaf(self) -> bool:
        """The server reads no more. What it sent before is still passed on, then its end is reached."""
        self._is_deaf = True
        self._hold(b"")
        return True

    def _hold(self, data: bytes) -> None:
        self._scratch.held_bytes += len(data) - len(self.held)
        self.held = data
        self._watch()
        self.other._watch()

    def _flush(self) -> bool:
        held, self.held = self.held, b""
        self._scratch.held_bytes -= len(held)
        if not self.send(held):
            return False
        if self.held:
            return True
        self._watch()
        self.other._watch()
        return True

    def _outlasts(self) -> bool:
        """This end was closed by its process while it is not read. Nobody is left when it was the caller's."""
        if self.is_caller:
            return False
        if self._registered:  # otherwise epoll would report the same event again and again
            self._registered = False
            self._poll.unregister(self.socket)
        return True

    def _watch(self) -> None:
        """Asks epoll for what this end now waits for, when that has changed."""
        reads = not (self.other.held or self.other._is_deaf or self._is_paused)
        events = (READABLE if reads else 0) | (WRITABLE if self.held else 0)
        if not self._registered:
            if reads:
                self._poll.register(self.socket, events)
                self._registered, self._events = True, events
        elif events != self._events:
            self._poll.modify(self.socket, events)
            self._events = events
