"""Imports point down only. The import contracts are in pyproject.toml; this file checks what they can't express."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOMES = [
    ("sqlcipher3", "store/sqlite/"),
    ("grpc", "rpc/"),
    ("grpc_health", "rpc/"),
    ("grpc_reflection", "rpc/"),
    ("grpc_status", "rpc/"),
]
ALLOWED_FROM_CLIENT = ("holdfast.v1", "holdfast.contract")


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, at any depth; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{each.name}" for each in node.names)


def importers(folder: Path, package: str) -> dict[str, set[str]]:
    """The files under `folder` that import `package`, with the names they import."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        taken = {each for each in imports(path) if (each + ".").startswith(package + ".")}
        if taken:
            found[path.relative_to(folder).as_posix()] = taken
    return found


def test_the_layers_of_the_daemon_hold(root: Path) -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("package", "home"), HOMES)
def test_a_technology_has_one_home_in_the_daemon(root: Path, package: str, home: str) -> None:
    found = importers(root / "daemon/holdfastd", package)
    assert {path: names for path, names in found.items() if not path.startswith(home)} == {}


def test_only_the_store_imports_sqlite(root: Path) -> None:
    assert importers(root / "daemon/holdfastd", "sqlite3") == {}
    assert importers(root / "client/holdfast", "sqlite3") == {}
    assert importers(root / "client/holdfast", "sqlcipher3") == {}


def test_the_daemon_imports_only_the_shared_packages_of_the_client(root: Path) -> None:
    for path, names in importers(root / "daemon/holdfastd", "holdfast").items():
        strangers = [each for each in names if not each.startswith(ALLOWED_FROM_CLIENT)]
        assert not strangers, f"{path} imports {strangers}"


def test_the_client_does_not_know_the_daemon(root: Path) -> None:
    assert importers(root / "client/holdfast", "holdfastd") == {}


def test_the_modules_of_the_command_line_import_each_other_without_a_circle(root: Path) -> None:
    modules = (root / "client/holdfast/cli").glob("*.py")
    needed = {path.stem: {each.split(".")[2] for each in imports(path) if each.startswith("holdfast.cli.")} for path in modules}
    TopologicalSorter(needed).prepare()  # raises CycleError


def test_the_daemon_has_no_asyncio(root: Path) -> None:
    assert importers(root / "daemon/holdfastd", "asyncio") == {}


def test_only_one_module_of_the_daemon_syncs(root: Path) -> None:
    call = re.compile(r"\b(fsync|fdatasync|syncfs)\(")
    assert [path.name for path in sorted((root / "daemon").rglob("*.py")) if call.search(path.read_text())] == ["durable.py"]
