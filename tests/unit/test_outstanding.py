"""The calls of one process that gRPC has not ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfastd.errors import Exhausted
from holdfastd.model.call import Peer
from holdfastd.rpc.outstanding import OUTSTANDING_MAX, Outstanding


class Context:
    def __init__(self, has_ended: bool = False) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self._has_ended = has_ended

    def add_callback(self, callback: Any) -> bool:
        self.callbacks.append(callback)
        return not self._has_ended


def test_a_process_has_a_limit_over_all_its_connections_and_others_have_their_own() -> None:
    outstanding, contexts = Outstanding(), []
    for number in range(OUTSTANDING_MAX):
        contexts.append(Context())
        outstanding.begin(Peer(f"c{number % 300}", 7, 1000, 1000), contexts[-1])
    with pytest.raises(Exhausted, match="has 1,024 calls whose answers it has not taken"):
        outstanding.begin(Peer("new", 7, 1000, 1000), Context())
    outstanding.begin(Peer("c0", 8, 1000, 1000), Context())
    contexts[5].callbacks[0]()
    outstanding.begin(Peer("new", 7, 1000, 1000), Context())
    with pytest.raises(Exhausted):
        outstanding.begin(Peer("new", 7, 1000, 1000), Context())


def test_a_call_that_has_ended_is_not_counted_and_nothing_is_kept() -> None:
    outstanding = Outstanding()
    outstanding.begin(Peer("c", 7, 1000, 1000), Context(has_ended=True))
    for _ in range(3):
        outstanding.begin(Peer("c", 7, 1000, 1000), one := Context())
        one.callbacks[0]()
    assert outstanding._calls == {}
