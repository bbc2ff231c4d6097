"""What agents write down when the store has acknowledged something: plain files beside the store, for the proof.

One file an agent, one JSON object a line, each by one `write`, so a line survives the SIGKILL of its writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIRECTORY = "acknowledged"


class Acknowledgements:
    """The file of one agent, for writing. Safe in threads."""

    def __init__(self, place: Path, agent: str) -> None:
        path = place / DIRECTORY / f"{agent}.jsonl"
        path.parent.mkdir(exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, /, **fields: object) -> None:
        """Something is durable now."""
        os.write(self._descriptor, json.dumps({"what": what, **fields}).encode() + b"\n")


def acknowledged(place: Path) -> dict[str, list[dict[str, Any]]]:
    """What each agent was told, in its order."""
    return {path.stem: list(_lines(path)) for path in sorted((place / DIRECTORY).glob("*.jsonl"))}


def last_note(place: Path, agent: str, what: str) -> dict[str, Any] | None:
    """The newest line of a sort that the agent has written."""
    path = place / DIRECTORY / f"{agent}.jsonl"
    found = [each for each in _lines(path) if each["what"] == what] if path.exists() else []
    return found[-1] if found else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from (json.loads(line) for line in file if line.endswith(b"\n"))
