"""Assignments from recorded conversations: each replays one conversation, a few messages a stage.

The file has one JSON object a line: `{"id": …, "messages": [{"role", "content", "tool_calls"?, …}, …]}`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.demo.assignment import Assignment, Message, Product, Stage

MESSAGES_A_STAGE = 6


class Conversations:
    """The conversations of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open(encoding="utf-8") as file:
            self._conversations = {talk["id"]: talk for talk in map(json.loads, file)}

    @property
    def what(self) -> str:
        return f"replay conversations of {self._path.name}"

    def names(self, count: int) -> list[str]:
        return list(self._conversations)[:count]

    def prepare(self, name: str) -> Assignment:
        """One conversation, cut into stages."""
        talk = self._conversations[name]
        messages = [_message(each) for each in talk["messages"]]
        pieces = [messages[start : start + MESSAGES_A_STAGE] for start in range(0, len(messages), MESSAGES_A_STAGE)]
        stages = [Stage(f"messages {n * MESSAGES_A_STAGE + 1} and following", piece) for n, piece in enumerate(pieces)]
        calls = sum(len(each.get("tool_calls") or ()) for each in talk["messages"])
        told = "\n\n".join(f"**{each.role}**\n\n{each.content}" for each in messages)
        stages.append(Stage("write it down", [], [Product(f"{name}.md", "report", "text/markdown", told.encode())]))
        tally = {"conversations": 1, "messages": len(messages), "tool_calls": calls}
        return Assignment(name, stages, tally, f"{len(messages)} messages, {calls} tool calls")


def _message(message: dict[str, Any]) -> Message:
    rest = {key: value for key, value in message.items() if key not in ("role", "content") and value}
    return Message(message["role"], (message.get("content") or "").replace("\0", ""), rest)
