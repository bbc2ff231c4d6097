"""Trees of landed versions, taken from the Git history, and processes that run them with this environment's packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.foreign.tools import ROOT, no_history

LANDED = (ROOT / "proto/landed/commit").read_text().strip()
# The last version without Scan. Some versions with Scan still report API version 1; later ones report 2.
BEFORE_SCAN = "32c80616f7e8b2343558b913e4c36867fa8dd391"
SESSION = Path(__file__).with_name("session.py")


@dataclass(frozen=True, slots=True)
class Tree:
    """A landed version's `client`, `daemon` and `migrations`."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this version: PYTHONPATH precedes the editable installation."""
        return os.environ | {"PYTHONPATH": f"{self.path / 'client'}:{self.path / 'daemon'}"}

    def run(self, step: str, socket: Path, *arguments: str) -> Any:
        """Runs a function of session.py with this version's client and returns its result as JSON."""
        command = [sys.executable, SESSION, step, socket, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert Path(found["client"]).is_relative_to(self.path), "the client of another tree ran"
        return found["result"]


class CommitMissing(Exception):
    """The clone's history does not have the commit. The message is git's."""


def extract(commit: str, directory: Path) -> Tree:
    """As `unpack`. Without the commit the test is skipped; in CI it fails, unless the clone is shallow."""
    try:
        return unpack(commit, directory)
    except CommitMissing as missing:
        no_history(commit, str(missing))


def unpack(commit: str, directory: Path) -> Tree:
    """Unpacks the tree of a commit. Raises CommitMissing."""
    archive = ["git", "-C", ROOT, "archive", commit, "client", "daemon", "migrations"]
    packed = subprocess.run(archive, capture_output=True, check=False)
    if packed.returncode != 0:
        raise CommitMissing(packed.stderr.decode())
    subprocess.run(["tar", "-x", "-C", directory], input=packed.stdout, check=True)
    return Tree(directory)
