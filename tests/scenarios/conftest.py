"""What the scenarios share: daemons of their own in a directory that goes with the test, and the oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from tests.end_to_end.conftest import directory as directory


@pytest.fixture
def sound() -> Callable[[holdfast.Store], None]:
    """Says that a store's rows and files hold together, every content read."""

    def check(store: holdfast.Store) -> None:
        frames = list(store.verify(read_blobs=True))
        assert [problem.reason for frame in frames for problem in frame.problems] == []
        assert frames[-1].finished

    return check
