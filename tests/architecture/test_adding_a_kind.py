"""The page on adding a kind is correct: its example, applied to a copy of the tree, passes the tests of all kinds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_contract import landed_files, newest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COPIED = ["client", "daemon", "docs", "migrations", "packaging", "proto", "tests", "Makefile", "pyproject.toml"]
# Run for the new kind alone: these have a case for each kind.
OF_ONE_KIND = [
    "tests/architecture/test_schema.py",
    "tests/architecture/test_query_plans.py",
    "tests/unit/test_codec.py",
    "tests/registry",
]
# Run whole: these go over all kinds within a test.
WHOLE = [
    "tests/architecture/test_contract.py",
    "tests/unit/test_cli_arguments.py",
    "tests/unit/test_client_kinds.py",
    "tests/unit/test_query.py",
    "tests/registry/test_lives.py::test_a_live_watch_is_told_of_every_kind",
]
VERSIONS = ("client/holdfast/contract/versions.py", "daemon/holdfastd/__init__.py")
NEXT = newest(landed_files()) + 1
LAST_MEMBER = re.compile(r"(?s)(  oneof value \{.*?)(\n  \}\n)")


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """A copy of the tree with the page's message and migration added."""
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(root / name, tmp_path / name)
    member, messages = blocks(root, "proto")
    proto = tmp_path / "proto/holdfast/v1/record.proto"
    text = LAST_MEMBER.sub(lambda found: f"{found[1]}\n{in_version(member.rstrip())}{found[2]}", proto.read_text(), count=1)
    proto.write_text(f"{text}\n{messages}")
    for name in VERSIONS:
        (tmp_path / name).write_text(in_version((tmp_path / name).read_text()))
    (migration,) = blocks(root, "sql")
    number = len({path.name[:4] for path in (root / "migrations").glob("*.sql")}) + 1
    (tmp_path / f"migrations/{number:04d}_incident.sql").write_text(migration)
    return tmp_path


def in_version(text: str) -> str:
    """The text with the API version that the page tells its reader to use, which rises with each landing."""
    return re.sub(r"(since = |^API_VERSION = |^MAX_API_VERSION = )\d+", rf"\g<1>{NEXT}", text, flags=re.MULTILINE)


def blocks(root: Path, language: str) -> list[str]:
    return re.findall(rf"(?s)```{language}\n(.*?)```", (root / "docs/adding-a-kind.md").read_text())


def run(tree: Path, *command: str) -> str:
    """Runs a command on the copy, whose packages take precedence over the installed ones."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{tree / 'client'}:{tree / 'daemon'}:{tree}"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_of_the_page_is_a_kind(tree: Path) -> None:
    run(tree, "packaging/generate.sh")
    run(tree, "packaging/generate.sh", "--check")
    assert "incidents: Collection[views.Incident]" in (tree / "client/holdfast/nouns.py").read_text()
    assert "class Incident(View):" in (tree / "client/holdfast/values/views.pyi").read_text()
    assert passed(tree, *OF_ONE_KIND, "-k", "incident") > 20
    assert passed(tree, *WHOLE, "-m", "not foreign") > 100


def passed(tree: Path, *arguments: str) -> int:
    """Runs tests of the copy and returns the number that passed."""
    told = run(tree, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
    return int(re.findall(r"(\d+) passed", told)[0])
