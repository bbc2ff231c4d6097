"""docs/seeds.md lists every demand of the five documents, and every call that its table names exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holdfast
from holdfast.cli.entry import COMMANDS
from holdfast.wire.connection import Connection
from holdfastd.settings import Settings, flag_of, load_settings
from tests.scenarios import orchestrator, workflow_engine

ROOT = Path(__file__).resolve().parents[2]
DEMANDS = {"S0": 8, "S1": 13, "S2": 9, "S3": 19, "S4": 10}
LATER = "*later*"
# Demands that may still be partly missing. Remove one when it is met; add none.
MAY_BE_LATER = {
    *("S0.1", "S0.8", "S1.6", "S1.7", "S1.8", "S1.10", "S1.11", "S1.12", "S1.13", "S2.6", "S2.7", "S3.6", "S3.14", "S3.18"),
    *("S3.19", "S4.3", "S4.4", "S4.5", "S4.5b", "S4.6", "S4.7"),
}
SERVICE_FILES = ["store_service", "journal_service", "blob_service", "admin_service"]
REPOSITORIES = ["WorkflowRepository", "LogRepository", "MetricsRepository"]
# Maps a repository's private attributes to the client's collections.
ATTRIBUTES = {"_workflows": "workflows", "_logs": "logs", "_patterns": "patterns"}


@dataclass(frozen=True)
class Row:
    """A row of the table: the demand's id, its text, the calls and the service's methods."""

    id: str
    asked: str
    call: str
    service: str

    @property
    def calls(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.call)


def rows() -> Iterator[Row]:
    for line in (ROOT / "docs/seeds.md").read_text().splitlines():
        if line.startswith("| S"):
            yield Row(*(cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")))


ROWS = list(rows())


@pytest.fixture(scope="module")
def store() -> holdfast.Store:
    """A client without a connection; it has the same names as a connected one."""
    nowhere = Connection(Path("/nowhere/holdfast.sock"), timeout_s=1.0)
    return holdfast.Store(nowhere, "default", "nobody")


def path_of(call: str) -> list[str]:
    """Splits `store.tasks.list(filter="…")` into [store, tasks, list]."""
    return call.partition("(")[0].split(".")


def is_there(call: str, store: holdfast.Store) -> bool:
    """True when the named thing exists: a client call, a command, a flag or an environment variable."""
    first, _, rest = call.partition(" ")
    if call.startswith(("store.", "holdfast.")):
        found: Any = {"store": store, "holdfast": holdfast}[path_of(call)[0]]
        for name in path_of(call)[1:]:
            found = getattr(found, name, None)
        return callable(found)
    if first == "holdfast":
        return rest in COMMANDS
    if first == "holdfastd":
        return rest in ("serve", "migrate")
    if first.startswith("--"):
        return first in [flag_of(each) for each in fields(Settings)]
    if (variable := re.fullmatch(r"([A-Z_]+)=(\S+)", call)) is not None:
        return load_settings({}, {variable[1]: variable[2]}) != load_settings({}, {})
    return False


def methods() -> set[str]:
    """The contract's methods as `Service.Method`."""
    found = set()
    for name in SERVICE_FILES:
        module: ModuleType = importlib.import_module(f"holdfast.v1.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            found.update(f"{service.name}.{method.name}" for method in service.methods)
    return found


def test_every_demand_has_a_row() -> None:
    ids = {each.id for each in ROWS}
    assert ids == {f"{seed}.{number}" for seed, count in DEMANDS.items() for number in range(1, count + 1)} | {"S4.5b"}


def test_nothing_else_is_put_off() -> None:
    assert {row.id for row in ROWS if "later" in f"{row.asked} {row.call} {row.service}".lower()} <= MAY_BE_LATER


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.id} {row.asked[:40]}" for row in ROWS])
def test_what_a_row_names_exists(row: Row, store: holdfast.Store) -> None:
    calls = [each for each in row.calls if not each.startswith((".", "summary:"))]
    missing = [each for each in calls if not is_there(each, store)]
    assert missing == []
    assert calls or LATER in row.call, "a row must name calls or be marked as later"
    assert set(re.findall(r"`([^`]+)`", row.service)) <= methods()


@pytest.mark.parametrize(
    "wrong", ["store.tasks.lost()", "store.nothing.get()", "holdfast nothing", "--nothing 1", "NOTHING=1", "x"]
)
def test_what_is_not_there_would_be_noticed(wrong: str, store: holdfast.Store) -> None:
    assert not is_there(wrong, store)


def client_call(function: Any) -> str:
    """The client call that a scenario's operation makes, such as `store.tasks.save`."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and (match := re.match(r"self\.(store|_\w+)\.([\w.]+)\(", ast.unparse(node))):
            attribute, rest = match.groups()
            name = rest if attribute == "store" else f"{ATTRIBUTES[attribute]}.{rest}"
            return "store." + re.match(r"\w+(\.\w+)?", name)[0]  # type: ignore[index]
    raise AssertionError(f"{function.__name__} calls no client")


def operations() -> Iterator[tuple[str, Any]]:
    """The operations of the two interfaces, by their names in the table."""
    for name, function in vars(orchestrator.Backend).items():
        if name[0].isupper():
            yield name, function
    for repository in REPOSITORIES:
        for name, function in vars(getattr(workflow_engine, repository)).items():
            if name[0].isupper():
                yield f"{repository}.{name}", function


@pytest.mark.parametrize(("name", "function"), [pytest.param(*each, id=each[0]) for each in operations()])
def test_the_table_names_the_call_that_the_scenario_makes(name: str, function: Any) -> None:
    (row,) = [each for each in ROWS if f"`{name}`" in each.asked]
    assert client_call(function) in [".".join(path_of(each)) for each in row.calls]
