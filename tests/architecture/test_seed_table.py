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
DEMANDS = {"S0": 8, "S1": 13, "S2": 9, "S3": 19, "S4": 10, "C": 10}
LATER = "*later*"
# Demands that may still be partly missing. Remove one when it is met; add none.
MAY_BE_LATER = {
    *("S0.1", "S0.8", "S1.6", "S1.7", "S1.8", "S1.10", "S1.11", "S1.12", "S1.13", "S2.6", "S2.7", "S3.6", "S3.14", "S3.18"),
    *("S3.19", "S4.3", "S4.4", "S4.5", "S4.5b", "S4.6", "S4.7"),
    *("C.3", "C.6", "C.7", "C.9", "C.10"),
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
        if line.startswith(("| S", "| C.")):
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


def test_the_shape_is_as_the_table_says() -> None:
    (row,) = [each for each in ROWS if each.id == "C.9"]
    named = re.findall(r"\b(daemon|proto|client|migrations|tests|packaging)\b", row.asked)
    assert len(named) == 6 and all((ROOT / each).is_dir() for each in named)


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


def client_calls(owner: type, name: str) -> set[str]:
    """The client calls that a scenario's operation makes, also by methods of its class, such as `store.tasks.save`."""
    calls = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(getattr(owner, name))))):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        for attribute, noun in ATTRIBUTES.items():
            called = called.replace(f"self.{attribute}.", f"store.{noun}.")
        if match := re.search(r"\bstore(\.\w+){1,2}$", called):
            calls.add(match[0])
        elif match := re.match(r"self\.(_\w+)", called):
            calls |= client_calls(owner, match[1])
        if match := re.search(r"\)\.([A-Z]\w+)$", called):
            calls |= client_calls(owner, match[1])
    return calls


def operations() -> Iterator[tuple[str, type]]:
    """The operations of the two interfaces, by their names in the table, and their classes."""
    for name in vars(orchestrator.Backend):
        if name[0].isupper():
            yield name, orchestrator.Backend
    for repository in REPOSITORIES:
        for name in vars(getattr(workflow_engine, repository)):
            if name[0].isupper():
                yield f"{repository}.{name}", getattr(workflow_engine, repository)


@pytest.mark.parametrize(("name", "owner"), [pytest.param(*each, id=each[0]) for each in operations()])
def test_the_table_names_the_call_that_the_scenario_makes(name: str, owner: type) -> None:
    (row,) = [each for each in ROWS if f"`{name}`" in each.asked]
    assert client_calls(owner, name.rpartition(".")[2]) & {".".join(path_of(each)) for each in row.calls}


def scenario_sources() -> str:
    """The scenarios' code, with the repositories' attributes as the collections they are, and the page whose commands run."""
    paths = [*sorted((ROOT / "tests/scenarios").glob("*.py")), ROOT / "docs/moving-in.md"]
    text = "\n".join(path.read_text() for path in paths)
    for attribute, noun in ATTRIBUTES.items():
        text = text.replace(f"self.{attribute}.", f"store.{noun}.")
    return text


def is_exercised(call: str, sources: str) -> bool:
    """Whether a scenario has the call, runs the command, or gives the flag or the environment variable."""
    first, _, rest = call.partition(" ")
    if call.startswith(("store.", "holdfast.")):
        names = path_of(call)
        after = r"\." if len(names) > 2 else rf"(\)|\b{names[0]})\."
        return re.search(after + re.escape(".".join(names[1:])) + r"\(", sources) is not None
    if first in ("holdfast", "holdfastd"):
        return f"{first} {rest}" in sources or f'"{first}", "{rest}"' in sources
    return re.split("[= ]", call)[0] in sources


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.id} {row.asked[:40]}" for row in ROWS])
def test_a_scenario_makes_the_calls_of_a_row(row: Row) -> None:
    """Every call, not one of them: a row claims each."""
    sources = scenario_sources()
    calls = [each for each in row.calls if not each.startswith((".", "summary:"))]
    assert [each for each in calls if not is_exercised(each, sources)] == []


@pytest.mark.parametrize("wrong", ["store.tasks.lost()", "store.lost()", "holdfast nothing", "--nothing 1", "NOTHING=1"])
def test_what_no_scenario_does_would_be_noticed(wrong: str) -> None:
    assert not is_exercised(wrong, scenario_sources())
