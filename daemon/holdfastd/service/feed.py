"""Who waits for what: the writer publishes here, and every stream that follows something subscribes here.

Nothing but wake-ups pass through. A follower that is woken reads what is new from the store, from where it stopped, so
a slow one can neither miss nor repeat anything nor make anybody wait. Thread-safe.
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
    """Wakes when one of its topics was touched, when its caller ends, or when the daemon stops."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._touched = threading.Event()

    def wake(self) -> None:
        self._touched.set()

    def clear(self) -> None:
        """Call before reading: what is published after this wakes the next `wait`."""
        self._touched.clear()
        if self._feed.closed:
            raise Stopping("The daemon is stopping. Resume from where the stream ended.")

    def wait(self, timeout_s: float) -> bool:
        """Whether anything happened within the time."""
        return self._touched.wait(timeout_s)


class Feed:
    """The subscriptions, by topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._topics: dict[Topic, set[Subscription]] = defaultdict(set)
        self.closed = False

    def publish(self, results: Sequence[object]) -> None:
        """Wakes whoever waits for what these commits touched. Called by the writer after each batch."""
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
        """A subscription for the time of the block."""
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

    def close(self) -> None:
        """Ends every follower with UNAVAILABLE."""
        with self._lock:
            self.closed = True
            for subscriptions in self._topics.values():
                for subscription in subscriptions:
                    subscription.wake()


def follow(
    feed: Feed, topics: Iterable[Topic], call: Call, read: Callable[[], Iterator[Frame]], sign_of_life: Callable[[], Frame]
) -> Iterator[Frame]:
    """Replays and then goes live: every frame that `read` gives, again each time that a topic is touched.

    `read` yields what has come since its last frame and keeps its own place; `sign_of_life` is sent after quiet times.
    Ends when the caller does; raises UNAVAILABLE when the daemon stops.
    """
    with feed.subscribe(topics, call) as subscription:
        while call.is_active():
            subscription.clear()
            yield from read()
            if not subscription.wait(HEARTBEAT_S):
                yield sign_of_life()
