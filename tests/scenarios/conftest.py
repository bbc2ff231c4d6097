"""Fixtures of the scenarios: daemons in a directory of the test, and a check of the whole store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from tests.end_to_end.conftest import directory as directory


@pytest.fixture
def sound() -> Callable[[holdfast.Store], None]:
    """Checks that a store's rows and files agree, reading all contents."""

    def check(store: holdfast.Store) -> None:
        frames = list(store.verify(read_blobs=True))
        assert [problem.reason for frame in frames for problem in frame.problems] == []
        assert frames[-1].finished

    return check
