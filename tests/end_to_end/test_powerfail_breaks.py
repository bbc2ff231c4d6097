"""The deliberate breaks of the power-cut tier still fit the daemon. `make powerfail-breaks` shows that the tier finds each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.powerfail.breaks import BREAKS

pytestmark = pytest.mark.slow  # processes of its own


def test_there_are_nine() -> None:
    assert len(BREAKS) == 9


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_daemon_serves(name: str, tmp_path: Path) -> None:
    """Starts the daemon with the break, and stops it when it has made its database."""
    command = [sys.executable, "-m", "tests.powerfail.breaks", name, "--data-dir", str(tmp_path / "store")]
    command += ["--socket", str(tmp_path / "s"), "--idle-exit", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "level=error" not in done.stderr
    assert (tmp_path / "store" / "holdfast.db").exists()
