"""Runs the commands of docs/grpcurl.md and compares their output with the document."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import DaemonProcess
from tests.foreign.tools import ROOT, tool

pytestmark = pytest.mark.foreign

STEP = re.compile(r"^```sh\n(?P<command>.*?)^```\n```text\n(?P<answer>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the document and its documented output."""

    command: str
    answer: str


def read_steps(text: str) -> list[Step]:
    return [Step(each["command"], each["answer"]) for each in STEP.finditer(text)]


def matches(promised: str, given: str) -> bool:
    """Compares the output with the documented one, ignoring white space; `…` matches any text, also none."""
    parts = [re.escape(" ".join(part.split())) for part in promised.split("…")]
    return re.fullmatch(r"\s*.*?\s*".join(parts), " ".join(given.split()), re.DOTALL) is not None


def run(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_the_document_can_be_followed_command_by_command(own_daemon: DaemonProcess) -> None:
    steps = read_steps((ROOT / "docs/grpcurl.md").read_text())
    assert len(steps) >= 10
    environment = {"ADDRESS": f"unix:{own_daemon.socket_path}", "PATH": f"{Path(tool('grpcurl')).parent}:{os.environ['PATH']}"}
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step.command], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        given = done.stdout + done.stderr
        assert matches(step.answer, given), f"{step.command}\n--- documented\n{step.answer}\n--- printed\n{given}"
        assert (done.returncode != 0) == step.answer.startswith("ERROR"), step.command


def test_every_command_of_the_document_has_its_answer() -> None:
    text = (ROOT / "docs/grpcurl.md").read_text()
    assert len(re.findall(r"^```sh$", text, re.MULTILINE)) == len(read_steps(text))


@pytest.mark.parametrize(
    ("promised", "given", "same"),
    [
        ('{ "a": "…" }', '{\n  "a": "1"\n}', True),
        ('{ "a": "1" }', '{ "a": "2" }', False),
        ("a … b", "a b", True),
        ("a", "a and more", False),
    ],
)
def test_an_answer_is_compared_whole(promised: str, given: str, same: bool) -> None:
    assert matches(promised, given) is same
