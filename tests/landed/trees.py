"""Versions that have landed: their trees, taken from the history, and processes that run them on this environment's packages."""

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
# The last version without Scan. Later ones have it and still say API version 1, up to the version that said 2.
BEFORE_SCAN = "32c80616f7e8b2343558b913e4c36867fa8dd391"
SESSION = Path(__file__).with_name("session.py")


@dataclass(frozen=True, slots=True)
class Tree:
    """A landed version's `client`, `daemon` and `migrations`."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to run this version: PYTHONPATH comes before the tree that is installed for development."""
        return os.environ | {"PYTHONPATH": f"{self.path / 'client'}:{self.path / 'daemon'}"}

    def run(self, step: str, socket: Path, *arguments: str) -> Any:
        """What this version's client returns for a function of session.py, as JSON."""
        command = [sys.executable, SESSION, step, socket, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert Path(found["client"]).is_relative_to(self.path), "another client ran"
        return found["result"]


def extract(commit: str, directory: Path) -> Tree:
    """The tree of a commit. A shallow clone skips the test; without the commit otherwise it is skipped, and fails in CI."""
    archive = ["git", "-C", ROOT, "archive", commit, "client", "daemon", "migrations"]
    packed = subprocess.run(archive, capture_output=True, check=False)
    if packed.returncode != 0:
        no_history(commit, packed.stderr.decode())
    subprocess.run(["tar", "-x", "-C", directory], input=packed.stdout, check=True)
    return Tree(directory)
