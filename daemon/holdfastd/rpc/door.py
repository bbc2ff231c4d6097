"""The front door: accepts every connection, learns who calls, and passes the bytes to and from grpcio's inner socket.

grpcio cannot tell which process calls. So the daemon owns the listening socket. One thread accepts connections, asks the kernel
for the peer, waits for HTTP/2's first bytes, and connects to grpcio from an abstract name that it made up; a handler finds the
peer by that name (`rpc/peers.py`). Beyond the limits the calls of a connection are refused with the reason (`rpc/refusal.py`).

`rpc/listener.py` owns the door. Its methods may be called from any thread; they hand their work to the door's thread.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from holdfastd import descriptors, logs
from holdfastd.errors import Exhausted
from holdfastd.model.call import Peer
from holdfastd.rpc import relay
from holdfastd.rpc.begun import Begun, Spent, Waits
from holdfastd.rpc.peers import Peers, new_name, peer_of
from holdfastd.rpc.refusal import PREFACE, READ_BYTES, Refusal

ACCEPT_AGAIN_S = 0.1
COMPLAIN_AGAIN_S = 60.0
_ACCEPTS_AT_ONCE = 16
_REFUSED_MAX = 8  # refused connections that are kept to answer their calls; the oldest makes room for one more
_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """connections, user_connections: how many may be open, in all and of one user. preface_s: how long a new connection may take
    to show that it speaks HTTP/2. descriptors: the highest descriptor number that connections may take."""

    connections: int = 4096
    user_connections: int = 1024
    preface_s: float = 5.0
    descriptors: int = 1 << 30


class _Opening:
    """A connection that has not yet sent the whole preface, or one that was refused."""

    def __init__(self, caller: socket.socket, peer: Peer, name: str, since: float) -> None:
        self.socket = caller
        self.peer = peer
        self.name = name
        self.since = since
        self.received = b""
        self.refusal: Refusal | None = None


class Door:
    """The door's thread and its connections. `inner_path` leads to grpcio's socket; set it before connections are accepted."""

    def __init__(self, peers: Peers, limits: DoorLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.inner_path = ""
        self._peers = peers
        self._limits = limits
        self._clock = clock
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._tasks: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)
        self._scratch = relay.Scratch()
        self._listening: socket.socket | None = None
        self._listens_again = 0.0  # when to accept again after a failure; 0: nothing is wrong
        self._openings: dict[int, _Opening] = {}  # by descriptor, oldest first
        self._ends: dict[int, relay.End] = {}  # by descriptor
        self._callers: dict[socket.socket, Peer] = {}  # every connection; its socket to the caller
        self._by_user: Counter[int] = Counter()
        self._by_process: Counter[int] = Counter()
        self._spent = Spent()
        self._waits = Waits(self._spent)
        self._refused: deque[_Opening] = deque()  # those of `_openings` that are kept to be told why, oldest first
        self._left: list[socket.socket] = []  # closed after the present batch of events, so that no descriptor is reused in it
        self._complains_again = 0.0
        self._closes = False

    # From any thread

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError when the system starts no more threads."""
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def connections(self) -> int:
        """How many connections are open."""
        return len(self._callers)

    def listen(self, listening: socket.socket | None) -> None:
        """Accepts from this socket instead of the one before, which is closed; None: accepts no more."""
        self._post(lambda: self._listen(listening))

    def close(self, timeout_s: float) -> bool:
        """Cuts every connection and ends the thread. Call it last. Returns whether it ended within `timeout_s`."""
        if self._poll.closed:
            return True
        self._post(self._close)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self.is_alive():
            return False
        self._poll.close()
        os.close(self._wake)
        return True

    def _post(self, task: Callable[[], None]) -> None:
        self._tasks.append(task)
        os.eventfd_write(self._wake, 1)

    # In the door's thread

    def _serve(self) -> None:
        poll, ends = self._poll.poll, self._ends
        while not self._closes:
            for descriptor, events in poll(self._patience_s()):
                end = ends.get(descriptor)
                if end is None:
                    self._handle_other(descriptor)
                    continue
                try:
                    if end.move(events) if end.begun is None else self._move_new(end, end.begun, events):
                        continue
                except OSError:
                    log.debug("connection_lost", exc_info=True)
                self._drop(end)
            self._finish_batch()

    def _handle_other(self, descriptor: int) -> None:
        if descriptor == self._wake:
            os.eventfd_read(self._wake)
            while self._tasks:
                self._tasks.popleft()()
        elif self._listening is not None and descriptor == self._listening.fileno():
            self._accept(self._listening)
        elif (opening := self._openings.get(descriptor)) is not None:
            self._open(opening)

    def _patience_s(self) -> float | None:
        """How long to wait for events; None: until one arrives."""
        due = [self._listens_again] if self._listens_again else []
        due += self._waits.due()
        if self._openings:
            due.append(next(iter(self._openings.values())).since + self._limits.preface_s)
        return max(0.0, min(due) - self._clock()) + 0.001 if due else None

    def _finish_batch(self) -> None:
        """Does what is due by the clock, and closes what was dropped."""
        if self._openings or self._listens_again or self._waits:
            self._look_at_clock()
        for each in self._left:
            each.close()
        self._left.clear()

    def _look_at_clock(self) -> None:
        now = self._clock()
        if self._listens_again and now >= self._listens_again:
            self._listens_again = 0.0
            if self._listening is not None:
                self._poll.register(self._listening, select.EPOLLIN)
        if self._waits:
            self._waits.end(now)
        while self._openings:
            oldest = next(iter(self._openings.values()))
            if now - oldest.since < self._limits.preface_s:
                break
            self._drop_opening(oldest)

    def _listen(self, listening: socket.socket | None) -> None:
        old, self._listening = self._listening, listening
        if old is not None:
            while self._accept(old):  # those who connected before its name was taken away
                pass
            if not self._listens_again:
                self._poll.unregister(old)
            old.close()
        self._listens_again = 0.0
        if listening is not None:
            listening.setblocking(False)
            self._poll.register(listening, select.EPOLLIN)

    def _accept(self, listening: socket.socket) -> bool:
        """Accepts some connections. Returns whether more may be waiting."""
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                caller, _ = listening.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                self._pause_accepting(error)
                return False
            self._admit(caller)
        return True

    def _pause_accepting(self, error: OSError) -> None:
        """Lets callers wait in the backlog for a moment: the system has no descriptor or no memory for them."""
        if error.errno in _LACKING and self._listening is not None and not self._listens_again:
            self._poll.unregister(self._listening)
            self._listens_again = self._clock() + ACCEPT_AGAIN_S
        self._complain("connections_not_accepted", errno=error.errno)

    def _admit(self, caller: socket.socket) -> None:
        caller.setblocking(False)
        name = new_name()
        try:
            peer = peer_of(caller, name)
        except OSError:
            caller.close()
            return
        opening = _Opening(caller, peer, name, self._clock())
        if why := self._refusal(caller.fileno(), peer):
            self._refuse(opening, why)
            return
        self._callers[caller] = peer
        self._by_user[peer.uid] += 1
        self._by_process[peer.pid] += 1
        if self._spent.free_at(peer.pid) > opening.since:
            self._waits.add(peer.pid, lambda: self._await_preface(opening))
        else:
            self._await_preface(opening)

    def _await_preface(self, opening: _Opening) -> None:
        opening.since = self._clock()
        self._openings[opening.socket.fileno()] = opening
        self._poll.register(opening.socket, select.EPOLLIN)

    def _move_new(self, end: relay.End, begun: Begun, events: int) -> bool:
        """As `End.move`, and counts the calls. The connection is not read as long as its process has begun too many."""
        if events & select.EPOLLIN and self._spent.free_at(begun.pid) > self._clock():
            end.pause(True)
            self._waits.add(begun.pid, lambda: self._go_on(end))
            return True
        try:
            return end.move(events)
        finally:
            self._count(end, begun)

    def _count(self, end: relay.End, begun: Begun) -> None:
        if calls := begun.take():
            self._spent.add(begun.pid, calls, self._clock())
        if begun.is_over:
            end.begun = None

    def _go_on(self, end: relay.End) -> None:
        if end.socket in self._callers:
            end.pause(False)

    def _refusal(self, descriptor: int, peer: Peer) -> str:
        """Why a new connection is refused; empty when it is not."""
        limits = self._limits
        if len(self._callers) >= limits.connections:
            return f"{limits.connections:,} connections are open; the limit is connections_max"
        free = limits.user_connections - self._by_user[peer.uid]
        if free <= 0:
            return f"user {peer.uid} has {limits.user_connections:,} connections open; the limit is user_connections_max"
        if self._by_process[peer.pid] >= max(free, 1):  # so that one process does not take all connections of its user
            return (
                f"process {peer.pid} has {self._by_process[peer.pid]:,} connections open, and its user may open {free:,} more; "
                "a process may have at most as many as are left (user_connections_max)"
            )
        # The kernel gives the lowest free number, so all numbers below this one are in use.
        if descriptor + descriptors.A_CONNECTION > limits.descriptors:
            return "the daemon has no descriptor to spare for another connection; the limit is ulimit -n"
        return ""

    def _refuse(self, opening: _Opening, why: str) -> None:
        """Keeps the connection for a while, to answer its calls with the reason."""
        self._complain("connections_refused", why=why, uid=opening.peer.uid, pid=opening.peer.pid)
        if len(self._refused) == _REFUSED_MAX:
            self._drop_opening(self._refused[0])
        self._refused.append(opening)
        text = f"The daemon takes no more connections: {why}. Close some, or try again later."
        opening.refusal = Refusal(Exhausted(text, reason="TOO_MANY_CONNECTIONS", retry_delay_s=1.0))
        self._openings[opening.socket.fileno()] = opening
        self._poll.register(opening.socket, select.EPOLLIN)

    def _complain(self, event: str, **fields: object) -> None:
        """One line in the log a minute: a flood of connections does not become a flood of lines."""
        if (now := self._clock()) >= self._complains_again:
            self._complains_again = now + COMPLAIN_AGAIN_S
            log.warning(event, extra=fields)

    def _open(self, opening: _Opening) -> None:
        """Receives the preface, and connects the caller to grpcio when it is complete."""
        try:
            data = opening.socket.recv(relay.CHUNK_BYTES if opening.refusal is None else READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if opening.refusal is not None:
            self._answer_refused(opening, opening.refusal, data)
            return
        opening.received += data
        if not data or not opening.received.startswith(PREFACE[: len(opening.received)]):
            self._drop_opening(opening)
        elif len(opening.received) >= len(PREFACE):
            self._connect(opening)

    def _answer_refused(self, opening: _Opening, refusal: Refusal, data: bytes) -> None:
        reply = refusal.reply(data) if data else None
        try:
            sent = opening.socket.send(reply) if reply else 0
        except OSError:
            sent = -1
        if reply is None or sent < len(reply):  # also when it is gone, or sends calls and does not read the answers
            self._drop_opening(opening)

    def _connect(self, opening: _Opening) -> None:
        caller, peer = opening.socket, opening.peer
        try:
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            self._complain("connections_not_accepted", errno=error.errno)
            self._drop_opening(opening)
            return
        self._peers.add(peer)
        try:
            server.bind("\0" + opening.name)
            server.connect(self.inner_path)
        except OSError as error:
            self._complain("inner_socket_not_reached", errno=error.errno)
            server.close()
            self._drop_opening(opening)
            return
        del self._openings[caller.fileno()]
        self._join(caller, server, opening.received)

    def _join(self, caller: socket.socket, server: socket.socket, received: bytes) -> None:
        here = relay.End(caller, self._poll, self._scratch, is_caller=True)
        there = relay.End(server, self._poll, self._scratch, is_caller=False)
        here.other, there.other = there, here
        self._ends[caller.fileno()], self._ends[server.fileno()] = here, there
        self._poll.register(server, select.EPOLLIN)
        here.begun = Begun(self._callers[caller].pid)
        here.begun.read(memoryview(received))
        self._count(here, here.begun)
        there.send(received)

    def _drop(self, end: relay.End) -> None:
        caller, server = (end.socket, end.other.socket) if end.is_caller else (end.other.socket, end.socket)
        if self._callers.get(caller) is None:
            return
        end.let_go()
        for each in (caller, server):
            del self._ends[each.fileno()]
        self._leave(server)
        self._forget(caller)

    def _drop_opening(self, opening: _Opening) -> None:
        del self._openings[opening.socket.fileno()]
        if opening.refusal is not None:
            self._refused.remove(opening)
            self._leave(opening.socket)
        else:
            self._forget(opening.socket)

    def _forget(self, caller: socket.socket) -> None:
        peer = self._callers.pop(caller)
        self._peers.remove(peer)
        for counter, key in ((self._by_user, peer.uid), (self._by_process, peer.pid)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._spent.forget_old(self._clock())
        self._leave(caller)

    def _leave(self, connection: socket.socket) -> None:
        self._left.append(connection)

    def _close(self) -> None:
        self._listen(None)
        for end in list(self._ends.values()):
            self._drop(end)
        for opening in list(self._openings.values()):
            self._drop_opening(opening)
        for caller in list(self._callers):  # those that wait
            self._forget(caller)
        self._closes = True
