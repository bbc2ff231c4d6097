"""The feed: the writer publishes the topics of each batch, and streams that follow a topic subscribe to it.

The feed only wakes subscribers; it carries no data. A subscriber reads from the store, from its own position. So a slow
subscriber misses nothing, gets nothing twice, and does not delay others. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from holdfastd.errors import Stopping
from holdfastd.model.call import Call
from holdfastd.model.commands import Committed

Frame = TypeVar("Frame")
Topic = tuple[str, ...]  # (workspace,), (workspace, kind) or (workspace, kind, id)
HEARTBEAT_S = 10.0


class Subscription:
    """Wakes when a commit touches one of its topics, when its call ends, and when the daemon stops."""

    def __init__(self, feed: Feed) -> None:
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


def _stopping() -> Stopping:
    return Stopping("The daemon is stopping. Resume from where the stream ended.")


class Feed:
    """The subscriptions, by topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._topics: dict[Topic, set[Subscription]] = defaultdict(set)
        self.closed = False
        self.refusal: Callable[[], Stopping] = _stopping

    def publish(self, results: Sequence[object]) -> None:
        """Wakes the subscriptions of the topics that these commits touched. The writer calls it after each batch."""
        if not self._topics:
            return
        with self._lock:
            for committed in results:
                if isinstance(committed, Committed):
                    self._wake(committed)

    def _wake(self, committed: Committed) -> None:
        for change in committed.changes:
            for topic in (
                (committed.workspace,),
                (committed.workspace, change.kind),
                (committed.workspace, change.kind, change.id),
            ):
                for subscription in self._topics.get(topic, ()):
                    subscription.wake()

    @contextmanager
    def subscribe(self, topics: Iterable[Topic], call: Call) -> Iterator[Subscription]:
        """Subscribes to the topics while the block runs."""
        subscription = Subscription(self)
        wanted = list(topics)
        with self._lock:
            for topic in wanted:
                self._topics[topic].add(subscription)
        call.on_end(subscription.wake)
        try:
            yield subscription
        finally:
            with self._lock:
                for topic in wanted:
                    self._topics[topic].discard(subscription)
                    if not self._topics[topic]:
                        del self._topics[topic]

    def wake_all(self) -> None:
        """Wakes every subscription; for a commit of another process, whose topics are not known."""
        with self._lock:
            for subscriptions in self._topics.values():
                for subscription in subscriptions:
                    subscription.wake()

    def close(self, refusal: Callable[[], Stopping] = _stopping) -> None:
        """Wakes every subscription; its next `clear` raises UNAVAILABLE. refusal: makes that error."""
        self.refusal = refusal
        self.closed = True
        self.wake_all()


def follow(
    feed: Feed, topics: Iterable[Topic], call: Call, read: Callable[[], Iterator[Frame]], sign_of_life: Callable[[], Frame]
) -> Iterator[Frame]:
    """Calls `read` and yields its frames; calls it again each time a commit touches one of the topics.

    `read` keeps its own position and yields what was added since its last call. After HEARTBEAT_S without a change, yields
    `sign_of_life()`. Ends when the call ends; raises UNAVAILABLE when the daemon stops.
    """
    with feed.subscribe(topics, call) as subscription:
        while call.is_active():
            subscription.clear()
            yield from read()
            if not subscription.wait(HEARTBEAT_S):
                yield sign_of_life()
