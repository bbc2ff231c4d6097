"""The agents' notes of what the store acknowledged: plain files beside the store, which the proof compares with the store.

Each agent has a file with one JSON object a line. Each line is one `write`, so it survives a SIGKILL of the agent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIRECTORY = "acknowledged"


class Acknowledgements:
    """Writes the file of one agent. Thread-safe."""

    def __init__(self, place: Path, agent: str) -> None:
        path = place / DIRECTORY / f"{agent}.jsonl"
        path.parent.mkdir(exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, /, **fields: object) -> None:
        """Notes that the store acknowledged something."""
        os.write(self._descriptor, json.dumps({"what": what, **fields}).encode() + b"\n")


def acknowledged(place: Path) -> dict[str, list[dict[str, Any]]]:
    """The notes of each agent, in order."""
    return {path.stem: list(_lines(path)) for path in sorted((place / DIRECTORY).glob("*.jsonl"))}


def last_note(place: Path, agent: str, what: str) -> dict[str, Any] | None:
    """The agent's newest note with that `what`; None without one."""
    path = place / DIRECTORY / f"{agent}.jsonl"
    found = [each for each in _lines(path) if each["what"] == what] if path.exists() else []
    return found[-1] if found else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from (json.loads(line) for line in file if line.endswith(b"\n"))
