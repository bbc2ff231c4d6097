"""A Node client generated from the proto files alone appends to a transcript and follows it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonProcess
from tests.foreign.tools import ROOT, give_up, tool

pytestmark = pytest.mark.foreign

MODULES = ROOT / ".tools/node/node_modules"
NOT_FOUND = 5


class Node:
    """Runs tests/foreign/node/transcript.js against one daemon."""

    def __init__(self, socket_path: Path) -> None:
        if not (MODULES / "@grpc/grpc-js").is_dir():
            give_up("@grpc/grpc-js is not installed; `make foreign-tools` installs it with npm")
        script = Path(__file__).parent / "node/transcript.js"
        self._command = [tool("node"), str(script), str(socket_path), str(ROOT / "proto")]
        self._environment = os.environ | {"NODE_PATH": str(MODULES)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, *arguments], env=self._environment, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> Any:
        """Runs the command and returns its output, one line of JSON."""
        done = subprocess.run(
            [*self._command, *arguments], env=self._environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def node(daemon: DaemonProcess) -> Node:
    return Node(daemon.socket_path)


def test_entries_are_appended_and_followed(node: Node) -> None:
    session = node.run("new-session")
    assert node.run("append", session, "one", "two — zwei 二") == [1, 2]
    with node.start("follow", session, "4") as follower:
        assert follower.stdout is not None
        # The first two entries are replayed. The others are appended only after that, so they must arrive live.
        seen = [json.loads(follower.stdout.readline()) for _ in range(2)]
        assert node.run("append", session, "three", "four") == [3, 4]
        seen += [json.loads(line) for line in follower.stdout]
        assert follower.wait(10) == 0
    assert [each["number"] for each in seen] == [1, 2, 3, 4]
    assert [each["content"] for each in seen] == ["one", "two — zwei 二", "three", "four"]
    assert {each["role"] for each in seen} == {"response"}


def test_a_record_is_read_and_an_error_is_readable(node: Node) -> None:
    session = node.run("new-session")
    assert node.run("get", session) == {"title": "from Node", "version": 1}
    error = node.run("get", "ses_none")
    assert (error["code"], error["has_details"]) == (NOT_FOUND, True)
    assert "ses_none" in error["message"]
