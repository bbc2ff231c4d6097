"""A call whose message arrived while the serving thread was busy is not late: its initial metadata shows which came first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc import _server as grpc_server

from holdfastd.rpc import message_first

METADATA = grpc_server._SEND_INITIAL_METADATA_TOKEN
MESSAGE = grpc_server._RECEIVE_MESSAGE_TOKEN


class Context:
    """In place of the call's context: sends by noting what the serving thread has yet to handle, as grpcio does."""

    def __init__(self, state: Any, error: Exception | None = None) -> None:
        self._state = state
        self._error = error

    def send_initial_metadata(self, metadata: tuple[()]) -> None:
        if self._error is not None:
            raise self._error
        self._state.due.add(METADATA)


def call_of(error: Exception | None = None) -> tuple[Any, set[Any]]:
    """A call that receives its message, and the events that the serving thread has yet to handle."""
    due = {MESSAGE}
    call = object.__new__(message_first._Call)
    call._state = SimpleNamespace(due=due)
    call._context = Context(call._state, error)
    call._is_probed = False
    return call, due


def test_a_call_has_not_stalled_while_the_serving_thread_is_busy() -> None:
    call, due = call_of()
    assert not call.has_stalled()  # the first question sends the metadata
    assert METADATA in due
    assert not call.has_stalled()  # both events may wait for the serving thread
    due.discard(METADATA)
    assert call.has_stalled()  # it handled the later event, so the message had not arrived


@pytest.mark.parametrize("error", [grpc.RpcError(), ValueError("Initial metadata no longer allowed!")])
def test_a_call_whose_metadata_was_sent_before_is_asked_at_once(error: Exception) -> None:
    call, due = call_of(error)
    assert call.has_stalled()
    due.add(METADATA)
    assert not call.has_stalled()
