"""A queue that is taken from by caller, in turn: by user, by each user's processes, and by each process's connections.

So a caller with many connections, or many things in the queue, does not delay the others. What one connection has in the queue
keeps its order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from holdfastd.model.budget import Holder

Item = TypeVar("Item")


def path_of(caller: Holder) -> tuple[int, int, str]:
    """The user, the process and the connection."""
    return caller.uid, caller.pid, caller.connection


class Rounds(Generic[Item]):
    """The queue. Not thread-safe: whoever has one locks it."""

    def __init__(self, levels: int = 3) -> None:
        self._below = levels - 1
        self._parts: OrderedDict[Any, Rounds[Item] | deque[Item]] = OrderedDict()  # the next one first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, path: tuple[Any, ...], item: Item) -> None:
        """Adds an item behind those of the same connection. path: as `path_of`."""
        self._count += 1
        part = self._parts.get(path[0])
        if part is None:
            part = self._parts[path[0]] = Rounds(self._below) if self._below else deque()
        if isinstance(part, Rounds):
            part.append(path[1:], item)
        else:
            part.append(item)

    def first(self) -> Item:
        """The item that `popleft` takes. There must be one."""
        part = next(iter(self._parts.values()))
        return part.first() if isinstance(part, Rounds) else part[0]

    def popleft(self) -> Item:
        """Takes the first item of the caller whose turn it is."""
        key, part = next(iter(self._parts.items()))
        item = part.popleft()
        self._taken_from(key, part)
        return item

    def pop_first(self, is_wanted: Callable[[Item], bool]) -> Item | None:
        """Takes the first item of the next connection whose first item is wanted; None when there is none."""
        for key, part in self._parts.items():
            item = part.pop_first(is_wanted) if isinstance(part, Rounds) else _pop_if(part, is_wanted)
            if item is not None:
                self._taken_from(key, part)
                return item
        return None

    def remove_where(self, is_wanted: Callable[[Item], bool]) -> list[Item]:
        """Removes the wanted items and returns them."""
        removed: list[Item] = []
        for key, part in list(self._parts.items()):
            removed += part.remove_where(is_wanted) if isinstance(part, Rounds) else remove_where(part, is_wanted)
            if not part:
                del self._parts[key]
        self._count -= len(removed)
        return removed

    def _taken_from(self, key: Any, part: Rounds[Item] | deque[Item]) -> None:
        self._count -= 1
        if part:
            self._parts.move_to_end(key)
        else:
            del self._parts[key]


def _pop_if(queue: deque[Item], is_wanted: Callable[[Item], bool]) -> Item | None:
    return queue.popleft() if is_wanted(queue[0]) else None


def remove_where(queue: deque[Item], is_wanted: Callable[[Item], bool]) -> list[Item]:
    """Removes the wanted items and returns them."""
    found = [each for each in queue if is_wanted(each)]
    for each in found:
        queue.remove(each)
    return found
