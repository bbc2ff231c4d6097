"""Random commits against a dictionary: in this process on a real file, and through a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import store_service_pb2
from holdfastd.errors import HoldfastError
from holdfastd.model.call import Call
from tests.support.api import Api, refusal_of
from tests.support.engine import Engine, answered
from tests.support.random_commits import KINDS, NAMES, RandomCommits, Step, fields_of, mutation
from tests.support.reference import Model, Refused, replay


class InProcess:
    """The store under test, without gRPC."""

    def __init__(self, directory: Path) -> None:
        self.engine = Engine(directory)

    def commit(self, steps: list[Step]) -> tuple[str, Any]:
        """Returns `("", the answer)`, or the reason of the refusal."""
        request = store_service_pb2.StoreServiceCommitRequest(mutations=map(mutation, steps), return_records=True)
        try:
            return "", answered(self.engine.commits.commit(request, Call(30)))
        except HoldfastError as error:
            return error.reason, None

    def records(self, kind: str) -> list[Any]:
        request = store_service_pb2.StoreServiceListRequest(kind=kind)
        return [getattr(each, kind) for each in self.engine.records.list(request, Call()).records]

    def contents(self, kind: str, id: str) -> list[str]:
        return [each.transcript.content for each in self.engine.entries(id, kind)]

    def changes(self, after: int) -> list[Any]:
        return self.engine.changes(after)

    def close(self) -> None:
        self.engine.close()


class ThroughTheDaemon:
    """The same through the socket of a daemon."""

    def __init__(self, socket: Path) -> None:
        self.api = Api(socket)
        self.base = self.api.revision()

    def commit(self, steps: list[Step]) -> tuple[str, Any]:
        try:
            return "", self.api.commit(*map(mutation, steps), return_records=True)
        except grpc.RpcError as error:
            return refusal_of(error).reason, None

    def records(self, kind: str) -> list[Any]:
        return [getattr(each, kind) for each in self.api.list(kind).records]

    def contents(self, kind: str, id: str) -> list[str]:
        return [each.transcript.content for each in self.api.entries(id, parent_kind=kind)]

    def changes(self, after: int) -> list[Any]:
        return self.api.changes(after_revision=after)

    def close(self) -> None:
        self.api.channel.close()


Store = InProcess | ThroughTheDaemon


def step_through(store: Store, model: Model, steps: list[Step]) -> None:
    """Applies one commit to both; they must agree on success, the reason of a refusal, and the answer."""
    expected, before = "", model.revision
    try:
        model.commit(steps)
    except Refused as refusal:
        expected = str(refusal)
    reason, answer = store.commit(steps)
    assert reason == expected, steps
    if not reason and model.revision > before:
        assert len(answer.results) == len(steps)
        for step, result in zip(steps, answer.results, strict=True):
            assert (result.kind if step[0] != "append" else step[1], result.id) == (step[1], step[2])


def compare(store: Store, model: Model, base: int = 0) -> None:
    """Compares records, versions, journals and the history."""
    found = {(kind, each.id): each for kind in KINDS for each in store.records(kind)}
    assert {key: fields_of(each, model.records.get(key, {})) for key, each in found.items()} == model.records
    for key in model.records:
        if key[0] in ("session", "task"):
            assert store.contents(*key) == model.journals.get(key, [])
    changes = store.changes(base)
    records, lengths = replay(changes)
    assert records == found
    assert lengths == {key: len(entries) for key, entries in model.journals.items() if entries}
    places = [(each.revision, each.ordinal) for each in changes]
    assert places == sorted(set(places))
    for after in sorted({base, *(revision for revision, _ in places)})[:: max(1, len(places) // 20)]:
        assert [(each.revision, each.ordinal) for each in store.changes(after)] == [each for each in places if each[0] > after]


@pytest.mark.parametrize("seed", range(6))
def test_the_store_is_a_dictionary_with_a_history(tmp_path: Path, seed: int) -> None:
    store, model, commits = InProcess(tmp_path), Model(), RandomCommits(seed)
    for number in range(150):
        step_through(store, model, commits.commit())
        assert store.engine.ledger.revision == model.revision
        if number % 50 == 49:
            compare(store, model)
    assert store.engine.revisions() == list(range(1, model.revision + 1))
    store.close()
    reopened = InProcess(tmp_path)
    compare(reopened, model)
    reopened.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1015))
def test_the_same_for_longer(tmp_path: Path, seed: int) -> None:
    store, model, commits = InProcess(tmp_path), Model(), RandomCommits(seed)
    for _ in range(600):
        step_through(store, model, commits.commit())
    compare(store, model)
    store.close()


def test_through_the_daemon_it_is_the_same(daemon: Any) -> None:
    store, model, commits = ThroughTheDaemon(daemon.socket_path), Model(), RandomCommits(77)
    for name in NAMES:  # creates the workspace
        step_through(store, model, [("insert", "construct", name, {"name": "x"})])
    for _ in range(250):
        step_through(store, model, commits.commit())
    compare(store, model, store.base)
    store.close()
