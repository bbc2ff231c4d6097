"""What `holdfast down` reads to find the daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.holder import holder_of
from holdfast.errors import FailedPrecondition


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_lock_file_that_is_no_regular_file_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Not "not running": a daemon may run, and `status` and `up` name it too."""
    make(tmp_path / "daemon.json")
    with pytest.raises(FailedPrecondition, match="it is not a regular file"):
        holder_of(tmp_path / "daemon.json")
