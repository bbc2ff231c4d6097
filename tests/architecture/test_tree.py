"""Rules of the source tree that no other test or tool checks."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MAX_FUNCTION_LINES = 50
FOLDERS = ["client", "daemon", "docs", "migrations", "packaging", "proto", "systemd", "tests"]
NAMELESS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}


def sources(root: Path) -> Iterator[Path]:
    """Every handwritten Python file."""
    for folder in ["client", "daemon"]:
        yield from (path for path in sorted((root / folder).rglob("*.py")) if "_pb2" not in path.name)


def committed(root: Path) -> Iterator[Path]:
    """Every text file of the tree, handwritten or generated."""
    for folder in [root, root / ".ci"]:
        yield from (path for path in folder.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_functions_are_not_long(root: Path) -> None:
    long = []
    for path in sources(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(root)}: {node.name} has {lines} lines")
    assert long == []


def test_every_module_says_what_it_is_and_has_a_name(root: Path) -> None:
    for path in sources(root):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or not tree.body, f"{path.relative_to(root)} has no docstring"
        assert path.stem not in NAMELESS, f"{path.relative_to(root)}: name it after its contents"


def test_there_are_no_to_do_marks(root: Path) -> None:
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [path.relative_to(root).as_posix() for path in committed(root) if mark.search(path.read_text())]
    assert found == []


def test_the_contract_is_linted_by_the_standard_rules(root: Path) -> None:
    assert "STANDARD" in (root / "proto/buf.yaml").read_text()


def test_generated_code_is_what_the_contract_says(root: Path) -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = [root / "packaging/generate.sh", "--check"]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_change_of_the_generated_code_is_noticed(root: Path, tmp_path: Path) -> None:
    for name in ["proto", "packaging", "client/holdfast/v1"]:
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / "client/holdfast/v1/left_behind_pb2.py").write_text("")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = [tmp_path / "packaging/generate.sh", "--check"]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "left_behind_pb2.py" in done.stdout


@pytest.mark.parametrize("extra", ["daemon", "dev"])
def test_the_product_needs_only_packages_from_pip(project: dict[str, Any], extra: str) -> None:
    assert project["project"]["optional-dependencies"][extra]
    assert not any("@" in each for each in project["project"]["dependencies"]), "a dependency is given by URL"
