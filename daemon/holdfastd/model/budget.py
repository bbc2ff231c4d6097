"""The memory budget of the process: what requests, queued commits, uploads, scans and unread answers may occupy, in bytes.

Everything that occupies memory for a caller takes it from the budget first and gives it back afterwards, through the caller's
`Claim`. The sum never exceeds the budget, except by answers of commits that were applied (`Claim.force`).

Shares: a user (uid) may hold three times what is free, and each of the user's connections as much as the user may still take.
So the shares shrink as more callers fill theirs, a caller below its share is admitted while one above is refused, and something
is always left for a caller that holds nothing. With one caller the share is 3/5 of the budget; with n connections of one user,
3/(4n + 1) each. What takes more than SMALL_BYTES at once leaves a sixteenth of the budget, so that large requests leave room
for small ones. Connections that came first and give nothing back leave little to the later ones, so each connection may hold
FLOOR_BYTES, enough for small calls, as long as anything is free. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from holdfastd.errors import Exhausted

RETRY_DELAY_S = 0.25
PATIENCE_S = 10.0
FLOOR_BYTES = 128 * 2**10
SMALL_BYTES = 2**20


class NoRoom(Exhausted):
    """The caller holds its share of the daemon's memory: try again after `retry_delay_s`."""

    reason = "MEMORY_FULL"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            "The daemon has no memory left for this caller; nothing was applied. Try again shortly, with fewer calls at once.",
            retry_delay_s=RETRY_DELAY_S,
        )
        self.size_bytes = size_bytes


class Holder(Protocol):
    """Whom memory is counted for; `model.call.Peer` is one."""

    @property
    def connection(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def uid(self) -> int: ...


class Patience(Protocol):
    """How long a caller waits; `model.call.Call` is one."""

    def remaining_s(self) -> float | None: ...

    def on_end(self, callback: Callable[[], None]) -> None: ...

    def check(self) -> None: ...


class _Wait:
    """A claim that waits until it may take `size_bytes`."""

    __slots__ = ("claim", "ended", "size_bytes", "taken")

    def __init__(self, claim: Claim, size_bytes: int) -> None:
        self.claim = claim
        self.size_bytes = size_bytes
        self.taken = False
        self.ended = threading.Event()


class Budget:
    """Counts the bytes that each user and connection holds. Its methods take a microsecond or less."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._free = self._least_free = limit_bytes
        self._reserve = limit_bytes // 16
        self._lock = threading.Lock()
        self._users: dict[int, int] = {}
        self._connections: dict[str, int] = {}
        self._waiting: list[_Wait] = []

    @property
    def share_alone_bytes(self) -> int:
        """The share of a caller while no other holds anything."""
        return self.limit_bytes * 3 // 5

    @property
    def held_bytes(self) -> int:
        """What all callers hold together."""
        return self.limit_bytes - self._free

    @property
    def highest_bytes(self) -> int:
        """The most that all callers held together since the start or the last `forget_highest`."""
        return self.limit_bytes - self._least_free

    def forget_highest(self) -> None:
        """`highest_bytes` begins anew with what is held now."""
        with self._lock:
            self._least_free = self._free

    def is_over_share(self, holder: Holder) -> bool:
        """Whether the caller holds its share already, so that its next request would be refused whatever its size."""
        held = self._connections.get(holder.connection, 0)
        if held < FLOOR_BYTES:
            return self._free <= 0
        return held >= 3 * self._free - self._users.get(holder.uid, 0)

    def take(self, claim: Claim, size_bytes: int) -> bool:
        """Takes `size_bytes` for the claim when its caller's share allows."""
        with self._lock:
            if not self._admits(claim.holder, size_bytes):
                return False
            self._add(claim, size_bytes)
        return True

    def add(self, claim: Claim, size_bytes: int) -> None:
        """Takes `size_bytes` for the claim whatever its share; gives back when negative. Admits those that wait for it."""
        with self._lock:
            self._add(claim, max(size_bytes, -claim.held_bytes))
            if self._waiting:
                self._admit_waiting()

    def wait_and_take(self, claim: Claim, size_bytes: int, call: Patience, patience_s: float) -> bool:
        """As `take`, but waits: connections in the order in which they asked, each connection's claims one after another."""
        wait = _Wait(claim, size_bytes)
        with self._lock:
            if self._admits(claim.holder, size_bytes):
                self._add(claim, size_bytes)
                return True
            self._waiting.append(wait)
        call.on_end(wait.ended.set)
        remaining_s = call.remaining_s()
        wait.ended.wait(patience_s if remaining_s is None else min(patience_s, remaining_s))
        with self._lock:
            if not wait.taken:
                self._waiting.remove(wait)
        return wait.taken

    def _admits(self, holder: Holder, size_bytes: int) -> bool:
        wanted = self._connections.get(holder.connection, 0) + size_bytes
        if wanted <= FLOOR_BYTES:
            return size_bytes <= self._free
        room = 3 * self._free - self._users.get(holder.uid, 0)
        if size_bytes > SMALL_BYTES:
            room -= self._reserve
        return 4 * size_bytes <= room and wanted <= room

    def _add(self, claim: Claim, size_bytes: int) -> None:
        holder, users, connections = claim.holder, self._users, self._connections
        self._free -= size_bytes
        if self._free < self._least_free:
            self._least_free = self._free
        claim.held_bytes += size_bytes
        users[holder.uid] = user = users.get(holder.uid, 0) + size_bytes
        connections[holder.connection] = connection = connections.get(holder.connection, 0) + size_bytes
        if not connection:  # keep the tables as small as the number of callers of now
            del connections[holder.connection]
            if not user:
                del users[holder.uid]

    def _admit_waiting(self) -> None:
        blocked = set()
        for wait in list(self._waiting):
            holder = wait.claim.holder
            if holder.connection in blocked:
                continue
            if self._admits(holder, wait.size_bytes):
                self._add(wait.claim, wait.size_bytes)
                self._waiting.remove(wait)
                wait.taken = True
                wait.ended.set()
            else:
                blocked.add(holder.connection)


class Claim:
    """What one call holds of the budget. Any thread may use it. Without a budget it takes whatever it is asked to.

    Release it when the work is done, not when the caller goes: the work occupies its memory until then.
    """

    __slots__ = ("_budget", "held_bytes", "holder")

    def __init__(self, budget: Budget | None, holder: Holder) -> None:
        self._budget = budget
        self.holder = holder
        self.held_bytes = 0

    def beside(self) -> Claim:
        """Another claim of the same caller, for memory that is given back at another time."""
        return Claim(self._budget, self.holder)

    def fits(self, size_bytes: int) -> bool:
        """Takes `size_bytes` more when the caller's share allows; returns whether it did."""
        return not size_bytes or self._budget is None or self._budget.take(self, size_bytes)

    def take(self, size_bytes: int) -> None:
        """Takes `size_bytes` more. Raises NoRoom (RESOURCE_EXHAUSTED) when the caller's share does not allow it."""
        if not self.fits(size_bytes):
            raise NoRoom(size_bytes)

    def top_up(self, size_bytes: int) -> None:
        """Takes a little more for a request that was admitted. As `take` when it is more than an eighth of what is held."""
        if 8 * size_bytes <= self.held_bytes:
            self.force(size_bytes)
        else:
            self.take(size_bytes)

    def take_when_free(self, size_bytes: int, call: Patience) -> None:
        """As `take`, but waits up to PATIENCE_S until others give memory back. Do not wait while holding a snapshot.

        Raises NoRoom, CANCELLED or DEADLINE_EXCEEDED when the wait is over, and NoRoom at once when the size exceeds the share
        of a caller that is alone.
        """
        if self._budget is None:
            return
        if self.held_bytes + size_bytes > self._budget.share_alone_bytes or not self._budget.wait_and_take(
            self, size_bytes, call, PATIENCE_S
        ):
            call.check()
            raise NoRoom(size_bytes)

    def force(self, size_bytes: int) -> None:
        """Takes `size_bytes` whatever the share: for what must not be refused any more."""
        if self._budget is not None:
            self._budget.add(self, size_bytes)

    def give(self, size_bytes: int) -> None:
        """Gives back `size_bytes`, at most what is held."""
        self.force(-size_bytes)

    def release(self) -> None:
        """Gives back everything. May be called again."""
        if self.held_bytes:
            self.force(-self.held_bytes)

    close = release
