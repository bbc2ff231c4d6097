"""The feed: the writer publishes the changes of each batch, and streams subscribe to the changes that they follow.

The feed only wakes subscribers; it carries no data. A subscriber reads from the store, from its own position. So a slow
subscriber misses nothing, gets nothing twice, and does not delay others. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from holdfastd.errors import Stopping
from holdfastd.model.call import Call
from holdfastd.model.commands import Committed
from holdfastd.model.mutations import Change

Frame = TypeVar("Frame")
HEARTBEAT_S = 10.0
# Measured: 1.1 KiB and 0.4 KiB.
SUBSCRIPTION_BYTES, NAME_BYTES = 2048, 512


@dataclass(frozen=True, slots=True)
class Interest:
    """The changes of a workspace that have one of the kinds and one of the ids. An empty set means all."""

    workspace: str
    kinds: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def memory_bytes(self) -> int:
        """What a subscription to it needs; an id has at most 200 bytes."""
        return SUBSCRIPTION_BYTES + NAME_BYTES * (len(self.kinds) + len(self.ids))


class Subscription:
    """Wakes when a commit makes a change of its interest, when its call ends, and when the daemon stops."""

    def __init__(self, feed: Feed, interest: Interest) -> None:
        self.interest = interest
        self._feed = feed
        self._touched = threading.Event()

    def wake(self) -> None:
        self._touched.set()

    def clear(self) -> None:
        """Call it before reading: anything published after it ends the next `wait`. UNAVAILABLE when the feed is closed."""
        self._touched.clear()
        if self._feed.closed:
            raise self._feed.refusal()

    def wait(self, timeout_s: float) -> bool:
        """Waits until woken or for `timeout_s`. Returns whether it was woken."""
        return self._touched.wait(timeout_s)


@dataclass(slots=True)
class _Followers:
    """The subscriptions of one workspace, each under its ids, else under its kinds, else among those that follow everything."""

    of_everything: set[Subscription] = field(default_factory=set)
    by_kind: defaultdict[str, set[Subscription]] = field(default_factory=lambda: defaultdict(set))
    by_id: defaultdict[str, set[Subscription]] = field(default_factory=lambda: defaultdict(set))

    def wake(self, changes: Sequence[Change]) -> None:
        for subscription in self.of_everything if changes else ():
            subscription.wake()
        for change in changes:
            for subscription in self.by_kind.get(change.kind, ()):
                subscription.wake()
            for subscription in self.by_id.get(change.id, ()):
                if not subscription.interest.kinds or change.kind in subscription.interest.kinds:
                    subscription.wake()

    def add(self, subscription: Subscription) -> None:
        table, names = self._place(subscription.interest)
        for name in names:
            table[name].add(subscription)
        if not names:
            self.of_everything.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        table, names = self._place(subscription.interest)
        self.of_everything.discard(subscription)
        for name in names:
            table[name].discard(subscription)
            if not table[name]:
                del table[name]

    def _place(self, interest: Interest) -> tuple[defaultdict[str, set[Subscription]], frozenset[str]]:
        return (self.by_id, interest.ids) if interest.ids else (self.by_kind, interest.kinds)

    def is_empty(self) -> bool:
        return not (self.of_everything or self.by_kind or self.by_id)


def _stopping() -> Stopping:
    return Stopping("The daemon is stopping. Resume from where the stream ended.")


class Feed:
    """The subscriptions, by workspace. A subscription costs as much as it has kinds and ids."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followers: dict[str, _Followers] = {}
        self._subscriptions: set[Subscription] = set()
        self.closed = False
        self.refusal: Callable[[], Stopping] = _stopping

    def publish(self, results: Sequence[object]) -> None:
        """Wakes the subscriptions that follow what these commits changed. The writer calls it after each batch."""
        if not self._subscriptions:
            return
        with self._lock:
            for committed in results:
                if isinstance(committed, Committed) and (followers := self._followers.get(committed.workspace)) is not None:
                    followers.wake(committed.changes)

    @contextmanager
    def subscribe(self, interest: Interest, call: Call) -> Iterator[Subscription]:
        """Subscribes while the block runs. RESOURCE_EXHAUSTED when the caller has no memory left for it."""
        with closing(call.claim.beside()) as claim:
            claim.take(interest.memory_bytes())
            subscription = Subscription(self, interest)
            with self._lock:
                self._subscriptions.add(subscription)
                self._followers.setdefault(interest.workspace, _Followers()).add(subscription)
            try:
                call.on_end(subscription.wake)
                yield subscription
            finally:
                self._remove(subscription)

    def _remove(self, subscription: Subscription) -> None:
        workspace = subscription.interest.workspace
        with self._lock:
            self._subscriptions.remove(subscription)
            followers = self._followers[workspace]
            followers.remove(subscription)
            if followers.is_empty():
                del self._followers[workspace]

    def wake_all(self) -> None:
        """Wakes every subscription; for a commit of another process, whose changes are not known."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.wake()

    def close(self, refusal: Callable[[], Stopping] = _stopping) -> None:
        """Wakes every subscription; its next `clear` raises UNAVAILABLE. refusal: makes that error."""
        self.refusal = refusal
        self.closed = True
        self.wake_all()


def follow(
    feed: Feed, interest: Interest, call: Call, read: Callable[[], Iterator[Frame]], sign_of_life: Callable[[], Frame]
) -> Iterator[Frame]:
    """Calls `read` and yields its frames; calls it again each time a commit makes a change of the interest.

    `read` keeps its own position and yields what was added since its last call. After HEARTBEAT_S without a change, yields
    `sign_of_life()`. Ends when the call ends; raises UNAVAILABLE when the daemon stops.
    """
    with feed.subscribe(interest, call) as subscription:
        while call.is_active():
            subscription.clear()
            yield from read()
            if not subscription.wait(HEARTBEAT_S):
                yield sign_of_life()
