"""External tools for these tests that pip does not install."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> str:
    """The path of a tool that `make foreign-tools` installs. Without the tool the test is skipped; in CI it fails."""
    found = shutil.which(name, path=f"{ROOT / '.tools/bin'}:{os.environ['PATH']}")
    if found is None:
        give_up(f"{name} is not installed; `make foreign-tools` installs it with Go and npm")
    return found


def buf() -> Path:
    """The path of buf, which checks the contract; without it as for `tool`."""
    found = ROOT / ".tools/node/node_modules/.bin/buf"
    if not found.exists():
        give_up("buf is not installed; `make foreign-tools` installs it with npm")
    return found


def give_up(message: str) -> NoReturn:
    """Skips the test; in CI it fails the test instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def no_history(commit: str, error: str) -> NoReturn:
    """For a commit that git does not find: skips the test in a shallow clone; otherwise the test fails in CI."""
    message = f"this clone's history does not have {commit}: {error}"
    shallow = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() == "true":
        pytest.skip(f"a shallow clone: {message}")
    give_up(message)
