"""The demo in a short form: it succeeds, and its proof fails when an acknowledged write is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.demo.__main__ import _command
from holdfast.demo.acknowledgements import Acknowledgements
from holdfast.demo.analysis import analyse, propose_docstrings
from holdfast.demo.play import Plan, Play
from holdfast.demo.processes import Process, ProcessFailed

DEMO = (sys.executable, "-m", "holdfast.demo")
SHORT = ("--agents", "3", "--modules", "2", "--pace", "0.05")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def performed() -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """A finished demo and its directory. The path is short, because the length of a socket's path is limited."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        place = Path(directory) / "d"
        yield place, run(*SHORT, "--directory", str(place))


@pytest.mark.slow
def test_agents_and_daemon_are_killed_and_nothing_is_lost(
    performed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, result = performed
    assert result.returncode == 0, result.stdout + result.stderr
    killed = re.search(r"✗ (agent-[123]) is killed with SIGKILL in the middle of \S+, [1-9]\d* stages done", result.stdout)
    assert killed is not None, result.stdout
    assert f"✓ {killed[1]} continues from its checkpoint" in result.stdout
    assert "the daemon is killed with SIGKILL" in result.stdout
    assert "(6 of 6)" in result.stdout
    assert "Nothing acknowledged was lost" in result.stdout


class Agent(Process):
    """A fake agent: works if `at_work` until it is killed; a `quick` one has ended before the kill."""

    def __init__(self, at_work: bool, *, quick: bool = False) -> None:
        self.at_work = at_work
        self._quick = quick

    def ended(self) -> bool:
        return not self.at_work

    def kill(self) -> bool:
        was_alive, self.at_work = self.at_work and not self._quick, False
        return was_alive


def play_with(place: Path, **agents: Agent) -> Play:
    """A demo in which each agent has done two stages of a task."""
    for name in agents:
        Acknowledgements(place, name).note("checkpoint", in_task=True, item=f"the work of {name}", stage=2)
    play = Play.__new__(Play)
    play._plan, play._agents = Plan(place, len(agents), 6, 0.0, ""), dict(agents)
    return play


def test_the_killed_agent_is_at_work(tmp_path: Path) -> None:
    play = play_with(tmp_path, done=Agent(False), quick=Agent(True, quick=True), one=Agent(True), other=Agent(True))
    Acknowledgements(tmp_path, "one").note("checkpoint", in_task=False, item="", stage=0)
    name, at = play._killed_in_a_task()
    assert (name, at["item"], at["stage"]) == ("other", "the work of other", 2)
    assert [each.ended() for each in play._agents.values()] == [True, True, False, True]


def test_a_demo_without_an_agent_to_kill_fails(tmp_path: Path) -> None:
    for agents in ({"one": Agent(False)}, {"one": Agent(True, quick=True), "other": Agent(False)}):
        with pytest.raises(ProcessFailed, match="No agent was left"):
            play_with(tmp_path, **agents)._kill_agent()


@pytest.mark.slow
def test_proof_fails_when_an_acknowledged_item_is_missing(
    performed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, _ = performed
    assert run("--prove", str(place)).returncode == 0
    with (place / "acknowledged" / "agent-1.jsonl").open("a") as file:
        file.write(json.dumps({"what": "entries", "first": 9999, "marks": ["TASK-001.0.0"], "revision": 1}) + "\n")
        file.write(json.dumps({"what": "checkpoint", "id": "ckp_none", "number": 1, "digest": ""}) + "\n")
        file.write(json.dumps({"what": "task", "id": "BOARD", "version": 2, "status": "failed"}) + "\n")
    result = run("--prove", str(place))
    assert result.returncode == 1
    assert "TASK-001.0.0 was acknowledged as entry 9999 and is not there" in result.stdout
    assert "(ckp_none) was acknowledged and is missing or differs" in result.stdout
    assert "BOARD: version 2 (failed) was acknowledged and is not there" in result.stdout
    assert "BOARD: version 2 was acknowledged 2 times" in result.stdout


@pytest.mark.slow
def test_conversations_are_replayed() -> None:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        path = Path(directory) / "talks.jsonl"
        call = {"id": "c1", "function": {"name": "look", "arguments": "{}"}, "type": "function"}
        messages = [
            {"role": "user", "content": "Where is my bag?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"bag": "Oslo"}'},
            {"role": "assistant", "content": "In Oslo."},
        ]
        talks = [{"id": f"talk-{n}", "reward": 1.0, "messages": messages * 4} for n in range(4)]
        path.write_text("".join(json.dumps(talk) + "\n" for talk in talks))
        place = Path(directory) / "d"
        result = run("--agents", "2", "--modules", "2", "--pace", "0.1", "--directory", str(place), "--trajectories", str(path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "talk-3" in result.stdout
    assert "16 messages, 4 tool calls" in result.stdout


def test_the_command_that_the_demo_prints_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = Path(sys.prefix).parent
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))  # as with make
    assert _command("holdfast") == f"./{Path(sys.executable).parent.relative_to(root)}/holdfast"
    assert subprocess.run([_command("holdfastd"), "--version"], env={}, capture_output=True, check=False).returncode == 0
    monkeypatch.chdir(tmp_path)
    assert _command("holdfast") == str(Path(sys.executable).with_name("holdfast"))
    assert _command("nothing").endswith("-m nothing")


def test_findings_and_proposed_change_of_a_module() -> None:
    method = ["    def f(self, b):", "        # HACK: more", "        if b and self:", "            return 1", "        return 2"]
    source = "\n".join(["class A:", "    x = 1", "", *method, ""])
    found = analyse(source)
    assert [(each.name, each.complexity, each.lines) for each in found.functions] == [("A.f", 3, 5)]
    assert found.comments == [(5, "# HACK: more")]
    assert found.undocumented == [(1, "A"), (4, "A.f")]
    assert '+    """To be described: the class A."""' in propose_docstrings(source, "a.py")
    assert '+        """To be described: A.f(b)."""' in propose_docstrings(source, "a.py")
