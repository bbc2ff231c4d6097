"""Calls without a deadline: grpcio reports a remaining time that is too large for a lock's timeout. Found by the crash tier."""

from __future__ import annotations

import threading

import pytest

from holdfastd.model.call import OWN
from holdfastd.rpc.caller import GrpcCall

FAR_FUTURE_S = 9.22e9 * 1.1  # the remaining time that grpcio reports for a call without a deadline


class _Context:
    def __init__(self, remaining_s: float | None) -> None:
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s

    def is_active(self) -> bool:
        return True


@pytest.mark.parametrize("remaining_s", [None, float("inf"), FAR_FUTURE_S])
def test_call_without_deadline_gets_the_default_one(remaining_s: float | None) -> None:
    left = GrpcCall(_Context(remaining_s), OWN, 60.0).remaining_s()
    assert left is not None
    assert 50 < left <= 60


@pytest.mark.parametrize("remaining_s", [None, float("inf"), FAR_FUTURE_S])
def test_stream_without_deadline_waits_without_one(remaining_s: float | None) -> None:
    assert GrpcCall(_Context(remaining_s), OWN, None).remaining_s() is None


def test_deadline_of_the_caller_counts() -> None:
    left = GrpcCall(_Context(5.0), OWN, 60.0).remaining_s()
    assert left is not None
    assert left <= 5 < threading.TIMEOUT_MAX
