"""The built package: one wheel with client, daemon, contract and migrations, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", out, root], check=True, capture_output=True)
    (path,) = out.glob("holdfast-*.whl")
    return zipfile.ZipFile(path)


def test_the_migrations_are_in_the_wheel_unchanged(wheel: zipfile.ZipFile, root: Path) -> None:
    files = {path.name: path.read_bytes() for path in (root / "migrations").glob("*.sql")}
    shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("holdfastd/migrations/")}
    assert {name.rsplit("/", 1)[1]: text for name, text in shipped.items()} == files


def test_client_daemon_and_generated_code_are_in_the_wheel(wheel: zipfile.ZipFile, root: Path) -> None:
    for folder, package in [("client", "holdfast"), ("daemon", "holdfastd")]:
        here = {
            path.relative_to(root / folder).as_posix()
            for path in (root / folder / package).rglob("*.py*")
            if path.suffix != ".pyc"
        }
        assert here <= set(wheel.namelist())
    assert "holdfast/py.typed" in wheel.namelist()
    assert "holdfast/v1/store_service_pb2.pyi" in wheel.namelist()


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {each for each in tops if not each.endswith(".dist-info")} == {"holdfast", "holdfastd"}


def required(wheel: zipfile.ZipFile, extra: str = "") -> set[str]:
    """The wheel's requirements, without extras or for one extra."""
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    every = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
    mark = f"extra == '{extra}'" if extra else ""
    return {re.split("[<>=! ;]", each)[0] for each in every if (mark in each if mark else "extra ==" not in each)}


def test_the_client_alone_needs_neither_trio_nor_a_database(wheel: zipfile.ZipFile) -> None:
    assert required(wheel) == {"googleapis-common-protos", "grpcio", "grpcio-status", "orjson", "protobuf", "zstandard"}


def test_the_command_line_is_an_extra_that_the_daemon_brings(wheel: zipfile.ZipFile) -> None:
    assert required(wheel, "cli") == {"click", "rich"}
    assert required(wheel, "cli") <= required(wheel, "daemon")


def test_an_installed_wheel_finds_its_migrations_and_starts(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "from holdfastd.store.sqlite.migrate import find_migrations, migrations_dir;"
        " print(migrations_dir(), len(find_migrations()))"
    )
    # PYTHONPATH precedes the editable installation.
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    directory, count = done.stdout.split()
    assert directory == str(tmp_path / "holdfastd/migrations")
    assert int(count) >= 1
