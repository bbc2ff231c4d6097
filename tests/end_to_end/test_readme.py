"""README and ARCHITECTURE are correct: the tours run as written, and the files that they name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli.entry import COMMANDS

pytestmark = pytest.mark.slow  # processes of its own

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", *(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")))
PACKAGES = (ROOT, ROOT / "daemon/holdfastd", ROOT / "client/holdfast")  # paths in the documents begin at one of these


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)


@pytest.fixture
def home() -> Iterator[dict[str, str]]:
    """The environment of a new user, with a home on a short path, because the length of a socket's path is limited."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "XDG_", "PERSIST"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    with tempfile.TemporaryDirectory(prefix="hf-") as home:
        environment = own | {"HOME": home, "XDG_RUNTIME_DIR": f"{home}/run", "PATH": path}
        Path(home, "run").mkdir(mode=0o700)
        yield environment
        subprocess.run(["holdfast", "down"], env=environment, cwd=home, check=True, timeout=30, capture_output=True)


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, cwd=environment["HOME"], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell_tour() -> list[str]:
    tour = next(block for block in blocks("sh") if "holdfast up" in block)
    return ["bash", "-euo", "pipefail", "-c", tour]


def test_both_tours_run_as_written(home: dict[str, str]) -> None:
    (python,) = blocks("python")
    said = run([sys.executable, "-c", python], home)
    assert "2 response Reading login.py" in said
    assert "is at version 2, not 1" in said
    assert "TASK-001 Fix the timeout" in said
    assert "first try" in run(shell_tour(), home)


def test_the_shells_tour_runs_on_a_fresh_store(home: dict[str, str]) -> None:
    said = run(shell_tour(), home)
    assert "second try" in said
    assert "status: running → completed" in said
    assert "TASK-001  running, ready  Fix the timeout\n└─ TASK-002" in said


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_the_documents_name_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert not [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    folders = r"(?:tests|daemon|client|proto|migrations|packaging|docs)/[\w./*-]+"
    files = re.findall(rf"`({folders}|[\w./-]+\.(?:py|sh|sql|proto))(?:::\w+)?`", text)
    named = {name for name in files if "NNNN" not in name}
    assert not [name for name in named if not any(list(package.glob(name.rstrip("/"))) for package in PACKAGES)]


def test_the_changelog_names_every_command() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [each for each in COMMANDS if f"`{each}`" not in text] == []


def test_the_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert named <= targets | {"help"}


def test_make_help_lists_the_targets_of_its_examples_and_of_the_documents() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.M))
    named = set(re.findall(r'@echo "  make ([a-z-]+)', makefile))
    for document in DOCUMENTS:
        named |= set(re.findall(r"`make ([a-z-]+)", (ROOT / document).read_text()))
    assert named <= listed
