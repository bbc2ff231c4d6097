"""The generated half is what `make generate-async` makes of the sources as they are now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_half_is_what_would_be_generated() -> None:
    command = [sys.executable, ROOT / "packaging/make_async.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
