"""Every writing method of the store is also a step of a transaction, with the same name and parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.wire.connection import Connection

# Attributes of the store that are no collections: values, and methods of the connection or the whole store.
NOT_DOMAINS = {"workspace", "actor", "revision", "scope"}
# Methods that don't write. Every public method is one of these, an exception below, or a step.
READS = {
    "all",
    "as_map",
    "batch_get",
    "blocked",
    "by_var",
    "count",
    "detail",
    "diff",
    "exists",
    "first",
    "follow",
    "for_task",
    "get",
    "get_full",
    "history",
    "latest",
    "lineage",
    "list",
    "list_latest",
    "load",
    "load_all",
    "needs_materialization",
    "next_id",
    "of",
    "open",
    "open_content",
    "page",
    "phases",
    "query",
    "read",
    "ready",
    "recent",
    "reviews",
    "stale",
    "stat",
    "tasks",
    "text",
    "variables",
    "versions",
    "watch",
}
NO_STEPS = {
    "artifacts.of_construct": "reads",
    "blobs.chunks": "reads",
    "blobs.put": "has no step: the content is uploaded at once, and kept if a record of the commit refers to it",
    "blobs.upload": "as `put`",
    "contexts.materialize": "writes local files, and only reads the store",
    "transcripts.writer": "a separate stream with its own acknowledgements",
}


@pytest.fixture(scope="module")
def store() -> holdfast.Store:
    """A client without a connection; it has the same names as a connected one."""
    nowhere = Connection(Path("/nowhere/holdfast.sock"), timeout_s=1.0)
    return holdfast.Store(nowhere, "default", "nobody")


def methods(value: Any) -> set[str]:
    return {name for name, _ in inspect.getmembers(value, inspect.ismethod) if not name.startswith("_")}


def domains(store: holdfast.Store) -> dict[str, Any]:
    """The store's attributes that have methods."""
    names = {name for name in dir(store) if not name.startswith("_")} - NOT_DOMAINS
    return {name: value for name in names if not inspect.ismethod(value := getattr(store, name))}


def writing(store: holdfast.Store) -> Iterator[tuple[str, str]]:
    for noun, domain in domains(store).items():
        yield from ((noun, name) for name in methods(domain) - READS)


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]


def test_the_nouns_are_those_of_the_store(store: holdfast.Store) -> None:
    nouns = set(domains(store))
    assert {"tasks", "workflows", "logs", "states", "specs", "attachments", "transcripts", "constitution"} <= nouns
    assert READS.issubset(name for domain in domains(store).values() for name in methods(domain))


def test_what_writes_has_a_step_of_the_same_name_and_parameters(store: holdfast.Store) -> None:
    missing, others = set(), set()
    transaction = store.transaction()
    for noun, name in writing(store):
        step = getattr(getattr(transaction, noun, None), name, None)
        if step is None:
            missing.add(f"{noun}.{name}")
        elif parameters(step) != parameters(getattr(getattr(store, noun), name)):
            others.add(f"{noun}.{name}")
    assert missing == set(NO_STEPS), "the methods without a step must be exactly NO_STEPS"
    assert others == set()


def test_a_transaction_has_no_other_steps(store: holdfast.Store) -> None:
    transaction = store.transaction()
    for noun, domain in domains(store).items():
        if (steps := getattr(transaction, noun, None)) is not None:
            assert methods(steps) <= methods(domain) - READS, noun


def test_steps_are_the_methods_of_the_store_s_collections(store: holdfast.Store) -> None:
    """Each writing method is written once: the step is the same function as the collection's method."""
    transaction = store.transaction()
    for noun, domain in domains(store).items():
        steps = getattr(transaction, noun, None)
        for name in methods(steps) if steps is not None else ():
            assert getattr(type(steps), name) is getattr(type(domain), name), f"{noun}.{name}"
