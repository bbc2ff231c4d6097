"""Permits to receive the message of a short call, so that messages on their way occupy a bounded part of the memory.

gRPC buffers a message as soon as it is asked for it, and its size is not known before. So each permit counts as a message of
the largest size. Usually a message arrives within microseconds; the next call then gets the permit. While calls wait:

1. They get permits by connection, one connection after another, so that one with many calls does not delay the others.
2. A message that takes longer than LATE_S gives its permit back: it is counted in the budget with the largest size instead, or
   its call is refused when the caller's share does not allow that. So callers that stop in the middle of a message block no one.
   A message that has arrived while the serving thread was busy is not late (`Receipt.has_stalled`).
3. A message that was counted so and does not arrive within MESSAGE_S is refused, so that the memory comes back.
4. A connection gets no permit while it pauses (`pauses.py`).
5. For SLOW_S after a late message, its process gets a permit only while more than half are free, so that calls of others find one
   at once. Before, each call of others waited 0.15 to 0.23 s for a late message beside such a caller.

`MessageFirst` uses this in grpcio's serving thread; a thread of this module looks for late messages while calls wait.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict, deque
from typing import Protocol

from holdfastd import logs
from holdfastd.errors import DeadlineExceeded, Exhausted, HoldfastError
from holdfastd.model.budget import Budget, Claim, Holder, NoRoom
from holdfastd.rpc.pauses import Pauses

LATE_S, LOOK_S = 0.05, 0.02
STALLED_S = 1.0  # after so long a message counts as stalled whatever gRPC says
MESSAGE_S = 20.0
SLOW_S = 5.0
WAITING_MAX = 1_000
TURNS_AT_ONCE = 16  # calls that `done` begins or refuses; a refusal takes 0.2 ms, and all calls wait for the serving thread

log = logs.logger(__name__)


class Receipt(Protocol):
    """A call whose message is to be received."""

    claim: Claim

    def begin(self) -> bool:
        """Asks gRPC for the message. Returns False when the call has ended, so that none will come."""

    def has_stalled(self) -> bool:
        """Whether the message has surely not arrived. May return False at first and find out meanwhile; ask again."""

    def refuse(self, error: HoldfastError) -> None:
        """Ends the call with this error; its message is dropped."""


class Receipts:
    """The permits of a daemon. Thread-safe.

    budget: what the memory of late messages is taken from; None: it is not counted. largest_bytes: the size of the largest
    message that gRPC accepts.
    """

    def __init__(self, budget: Budget | None, permits: int, largest_bytes: int) -> None:
        self.pauses = Pauses()
        self._budget = budget
        self._permits = permits
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()
        self._receiving: dict[Receipt, float] = {}  # since when it was seen to delay others; 0: not yet
        self._waiting: OrderedDict[str, deque[Receipt]] = OrderedDict()  # by connection
        self._waiting_count = 0
        self._late: dict[Receipt, float] = {}  # counted in the budget; when each is refused
        self._slow: dict[
            tuple[int, int], float
        ] = {}  # the processes that had a late message, by uid and pid; until when they count
        self._refused: set[Receipt] = set()  # late ones; their messages are dropped when they arrive
        self._wanted = threading.Event()
        self._closed = False
        threading.Thread(target=self._watch, name="receipts", daemon=True).start()

    def ask(self, call: Receipt) -> bool:
        """Whether the call has a permit now; otherwise it waits, and is begun or refused later by another thread.

        Raises RESOURCE_EXHAUSTED when too many calls of this connection wait.
        """
        with self._lock:
            if self._goes_first(call.claim.holder) and self._may_begin(call.claim.holder):
                self._receiving[call] = 0.0
                return True
            self._append(call)
        self._wanted.set()
        return False

    def done(self, call: Receipt) -> bool:
        """Gives the permit back when the message has arrived. Returns False when the call was refused meanwhile."""
        with self._lock:
            self._receiving.pop(call, None)
            self._late.pop(call, None)
            refused = call in self._refused
            self._refused.discard(call)
            waiting = bool(self._waiting)
        if waiting:
            self._begin_waiting(TURNS_AT_ONCE)
        return not refused

    def close(self) -> None:
        """Ends the thread that looks for late messages."""
        self._closed = True
        self._wanted.set()

    def _goes_first(self, caller: Holder) -> bool:
        """Whether all that wait are held back: by a pause, or as slow ones, behind whom only other slow ones queue."""
        if not self._waiting:
            return True
        slow = self._is_slow(caller)
        first = (queue[0].claim.holder for queue in self._waiting.values())
        return all(self.pauses.is_on(each.connection) or (self._is_slow(each) and not slow) for each in first)

    def _may_begin(self, caller: Holder) -> bool:
        """A connection may have as many permits as are free; while half of them are free, that needs no count."""
        if self.pauses.is_on(caller.connection):
            return False
        free = self._permits - len(self._receiving)
        if 2 * free > self._permits:
            return True
        if self._is_slow(caller):
            return False
        return sum(each.claim.holder.connection == caller.connection for each in self._receiving) < free

    def _is_slow(self, caller: Holder) -> bool:
        return bool(self._slow) and self._slow.get((caller.uid, caller.pid), 0.0) > time.monotonic()

    def _append(self, call: Receipt) -> None:
        connection = call.claim.holder.connection
        if len(self._waiting.get(connection, ())) >= WAITING_MAX - self._waiting_count:
            raise Exhausted(
                f"{self._waiting_count:,} requests wait to be received. Try again shortly.",
                retry_delay_s=0.2,
                limit=WAITING_MAX,
            )
        self._waiting.setdefault(connection, deque()).append(call)  # a refused call leaves no empty queue behind
        self._waiting_count += 1

    def _begin_waiting(self, at_most: int) -> None:
        """Begins or refuses up to so many waiting calls while there are permits. `_watch` goes on with the others."""
        for call in itertools.islice(iter(self._next, None), at_most):
            if self._budget is not None and self._budget.is_over_share(call.claim.holder):
                self._drop(call)
                call.refuse(NoRoom(self._largest_bytes))
            elif not call.begin():
                self._drop(call)

    def _next(self) -> Receipt | None:
        """Takes the first call of the next connection that may have a permit, and gives it one."""
        with self._lock:
            for connection, queue in list(self._waiting.items()):
                if not self._may_begin(queue[0].claim.holder):
                    continue
                call = queue.popleft()
                self._waiting_count -= 1
                self._waiting.move_to_end(connection)
                if not queue:
                    del self._waiting[connection]
                self._receiving[call] = 0.0
                return call
        return None

    def _drop(self, call: Receipt) -> None:
        with self._lock:
            self._receiving.pop(call, None)

    def _watch(self) -> None:
        while self._wanted.wait() and not self._closed:
            time.sleep(LOOK_S)
            try:
                self._end_late(time.monotonic())
                self._begin_waiting(WAITING_MAX)
            except Exception:
                log.exception("receipts_failed")

    def _end_late(self, now: float) -> None:
        stalled = self._stalled(now)
        with self._lock:
            if not self.pauses.end_old() and not self._waiting and not self._late:
                self._wanted.clear()
            late = [call for call in self._receiving if call in stalled]
            self._slow = {process: until for process, until in self._slow.items() if until > now}
            self._slow.update(((each.claim.holder.uid, each.claim.holder.pid), now + SLOW_S) for each in late)
            self._receiving = {call: since or now for call, since in self._receiving.items() if call not in stalled}
            counted = [call for call in late if call.claim.fits(self._largest_bytes)]
            too_late = [call for call, until in self._late.items() if now >= until]
            self._late.update(dict.fromkeys(counted, now + MESSAGE_S))
            without_room = [call for call in late if call not in counted]
            self._refused.update(without_room, too_late)
            for call in too_late:
                del self._late[call]
        for call in without_room:
            call.refuse(NoRoom(self._largest_bytes))
        for call in too_late:
            call.refuse(
                DeadlineExceeded(f"The request did not arrive within {MESSAGE_S:g} s; nothing was applied. Send it again.")
            )

    def _stalled(self, now: float) -> set[Receipt]:
        """The calls whose messages are late and have not arrived. Asks about each call when it is first seen, too."""
        with self._lock:
            receiving = list(self._receiving.items())
        known = {call: call.has_stalled() for call, since in receiving if not since or now - since >= LATE_S}
        return {call for call, since in receiving if since and (now - since >= STALLED_S or known.get(call))}
