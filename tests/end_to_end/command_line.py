"""The output of a command line, and the offers of its completion."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from click.shell_completion import ShellComplete

from holdfast.cli.entry import cli
from holdfast.cli.options import Options
from holdfast.cli.shells import VARIABLE


@dataclass(frozen=True)
class Ran:
    """The output and the exit code of a command."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def reason(self) -> str:
        """The reason of the failure, for a command with `--json`."""
        return str(json.loads(self.err)["reason"])


Run = Callable[..., Ran]


def candidates(words: list[str]) -> list[str]:
    """What completion offers for the last of the words, which stand after `holdfast`."""
    found = ShellComplete(cli, {"obj": Options()}, "holdfast", VARIABLE).get_completions(words[:-1], words[-1])
    return sorted(each.value for each in found)
