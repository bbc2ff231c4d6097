"""The messages that the contexts grow from: real conversations where the file is, made ones elsewhere."""

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
    """At least `STEPS * MESSAGES_A_STEP` messages, one after the other, and where they come from."""

    messages: list[Message]
    source: str
    real: bool

    def contexts(self) -> Iterator[list[Message]]:
        """The context of each step: all messages so far."""
        for step in range(1, STEPS + 1):
            yield self.messages[: step * MESSAGES_A_STEP]


def load() -> Conversations:
    """From the file that `TRAJECTORIES` names, or the one beside the repository; made ones when there is neither."""
    path = Path(os.environ.get(VARIABLE) or BESIDE)
    wanted = STEPS * MESSAGES_A_STEP
    if not path.is_file():
        return Conversations([_made(random.Random(number)) for number in range(wanted)], "made-up conversations", False)
    messages = [message for line in path.open(encoding="utf-8") for message in json.loads(line)["messages"]]
    if len(messages) < wanted:
        raise ValueError(f"{path} has {len(messages)} messages, and {wanted} are needed.")
    return Conversations(messages[:wanted], path.name, True)


def _made(source: random.Random) -> Message:
    """A message as long as the real ones are on average."""
    return {"role": source.choice(("user", "assistant", "tool")), "content": " ".join(source.choices(_WORDS, k=80))}
