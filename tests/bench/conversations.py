"""The messages of the benchmark's contexts: recorded conversations if their file exists, generated ones otherwise."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "TRAJECTORIES"
BESIDE = Path(__file__).parents[3] / "shared" / "data" / "airline-agent-conversations.jsonl"
STEPS, MESSAGES_A_STEP = 204, 26
_WORDS = ("booking", "flight", "customer", "refund", "agent", "policy", "seat", "change", "please", "confirm", "date", "payment")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversations:
    """At least `STEPS * MESSAGES_A_STEP` messages in order, and their source."""

    messages: list[Message]
    source: str
    real: bool

    def contexts(self) -> Iterator[list[Message]]:
        """The context at each step: all messages up to it."""
        for step in range(1, STEPS + 1):
            yield self.messages[: step * MESSAGES_A_STEP]


def load() -> Conversations:
    """Reads the file named by `TRAJECTORIES`, or the one beside the repository; generates messages when there is neither."""
    path = Path(os.environ.get(VARIABLE) or BESIDE)
    wanted = STEPS * MESSAGES_A_STEP
    if not path.is_file():
        return Conversations([_made(random.Random(number)) for number in range(wanted)], "made-up conversations", False)
    messages = [message for line in path.open(encoding="utf-8") for message in json.loads(line)["messages"]]
    if len(messages) < wanted:
        raise ValueError(f"{path} has {len(messages)} messages, but {wanted} are needed.")
    return Conversations(messages[:wanted], path.name, True)


def _made(source: random.Random) -> Message:
    """A message of the recorded messages' average length."""
    return {"role": source.choice(("user", "assistant", "tool")), "content": " ".join(source.choices(_WORDS, k=80))}
