"""The properties of each command, and the table of the functions that apply them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from holdfastd.model import commands
from holdfastd.model.commands import Command, Commit, Exclusive, Request
from holdfastd.service.pending import NeverWaits
from holdfastd.store.commands import handlers
from tests.support.engine import Engine, append, commit_of, delete, insert_task

COMMANDS = sorted(
    (each for each in vars(commands).values() if isinstance(each, type) and issubclass(each, Command)),
    key=lambda each: each.__name__,
)
ABSTRACT = {Command, Request}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def result_of(command: type[Command[Any]]) -> Any:
    """The result type in the command's class definition."""
    return get_args(command.__orig_bases__[0])[0]  # type: ignore[attr-defined]


def hints_of(handler: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(handler.func if isinstance(handler, partial) else handler)


def test_every_command_has_one_function_that_takes_it_and_returns_its_result(engine: Engine) -> None:
    table = handlers(engine.ledger)
    assert set(table) == set(COMMANDS) - ABSTRACT
    for command, handler in table.items():
        if command is not Exclusive:  # its result type is that of the work
            hints = hints_of(handler)
            assert hints["command"] is command
            assert hints["return"] == (type(None) if result_of(command) is None else result_of(command)), command


def test_only_commands_that_free_space_are_applied_on_a_full_disk() -> None:
    always = {each.__name__ for each in COMMANDS if each.gives_space is True}
    assert always == {"DiscardFile", "EmptyTrash", "ExpireRequests", "FreePages", "SweepBlobs"}
    assert commit_of(delete("task", "T1"), delete("task", "T2")).gives_space
    assert not commit_of(delete("task", "T1"), insert_task()).gives_space


def test_only_a_request_with_an_id_has_a_key() -> None:
    assert commit_of(insert_task(), request_id="r").request_key == ("default", "tester", "r")
    assert commit_of(insert_task()).request_key is None


@pytest.mark.parametrize(
    ("commit", "is_lone"),
    [
        (commit_of(append("S", "a")), True),
        (commit_of(append("S")), False),
        (commit_of(append("S", "a", expected=0)), False),
        (commit_of(append("S", "a"), append("S", "b")), False),
        (commit_of(insert_task()), False),
    ],
)
def test_a_lone_append_has_entries_and_no_condition(commit: Commit, is_lone: bool) -> None:
    assert (commit.lone_append is not None) == is_lone


def test_the_calls_that_only_queue_a_command_run_in_the_serving_thread(engine: Engine) -> None:
    calls = {name: each for methods in engine.parts.use_cases().values() for name, each in methods.items()}
    assert {name for name, each in calls.items() if isinstance(each, NeverWaits)} == {"Commit", "AllocateId", "Append", "Load"}


def test_the_rows_of_a_commit_are_those_of_child_tables_and_entries_too() -> None:
    tagged = insert_task(tags=[str(number) for number in range(40)])
    assert commit_of(tagged, delete("task", "T"), append("S", "a", "b")).rows == 41 + 1 + 2
