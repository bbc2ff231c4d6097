"""A daemon's parts in this process without a socket: a real database file, the writer, and the use cases."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from holdfast.contract.kinds import JOURNALS, KINDS
from holdfast.v1 import entry_pb2, journal_service_pb2, record_pb2, store_service_pb2
from holdfastd.composition import OpenStore, Parts, open_store
from holdfastd.model.call import Call
from holdfastd.model.commands import Commit
from holdfastd.model.mutations import Append, Delete, Insert, Mutation, Update
from holdfastd.service.feed import Feed
from holdfastd.service.pending import Pending
from holdfastd.settings import load_settings
from holdfastd.store.commands import Handlers
from tests.support.migrated import begin_database

Row = tuple[Any, ...]
PATIENCE_S = 10.0


def answered(answer: Any) -> Any:
    """The answer of a use case; waits for it if it is pending."""
    return answer.answer(answer.writer.submit(answer.command, answer.call)) if isinstance(answer, Pending) else answer


class NotedFeed(Feed):
    """A feed that records what the writer published. `on_publish` is called each time."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Any] = []
        self.on_publish: Callable[[], None] = lambda: None

    def publish(self, results: Sequence[Any]) -> None:
        self.published.extend(results)
        self.on_publish()
        super().publish(results)


class Engine:
    """One store in a test's directory. To reopen it, close it and create another on the same directory."""

    def __init__(
        self,
        directory: Path,
        *,
        extra_handlers: Handlers | None = None,
        wrap: Callable[[Any], Any] = lambda connection: connection,
        queue_max: int = 10_000,
        batch_max: int = 1_000,
        readers: int = 2,
        store: OpenStore | None = None,
        **more: Any,
    ) -> None:
        given = {"data_dir": directory, "socket": directory / "s.sock", "readers": readers}
        settings = load_settings({**given, "writer_queue_max": queue_max, "batch_max": batch_max, **more}, {})
        self.sync_failures: list[BaseException] = []
        self._exits = ExitStack()
        if store is None:
            begin_database(settings.database_path)
            store = open_store(settings, self._exits, self.sync_failures.append)
            store.connection.execute("PRAGMA synchronous = OFF")  # these tests do not simulate a power failure
        self.connection, self.readers = store.connection, store.readers
        self.feed = NotedFeed()
        self.published = self.feed.published
        self.parts = parts = Parts(
            settings,
            dataclasses.replace(store, connection=wrap(store.connection)),
            self.sync_failures.append,
            start_time_ns=0,
            feed=self.feed,
            extra_handlers=extra_handlers,
        )
        self.ledger, self.batcher, self.writer = parts.ledger, parts.batcher, parts.writer
        self.commits, self.records, self.journals, self.watches = parts.commits, parts.records, parts.journals, parts.watches

    def close(self) -> None:
        self.writer.stop(PATIENCE_S)
        self.parts.gate.close()
        self._exits.close()

    def submit(self, *mutations: Mutation, request_id: str = "", fingerprint: bytes = b"x", call: Call | None = None) -> Any:
        """Applies one commit in the default workspace."""
        return self.writer.submit(commit_of(*mutations, request_id=request_id, fingerprint=fingerprint), call or Call(30.0))

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """Reads on the writer's connection, bypassing the store."""
        return list(self.connection.execute(sql, parameters).fetchall())

    def revisions(self) -> list[int]:
        return [row[0] for row in self.query("SELECT revision FROM commits ORDER BY revision")]

    def changes(self, after: int = 0) -> list[Any]:
        """The changes that a watch replays after a revision."""
        request = store_service_pb2.StoreServiceWatchRequest(after_revision=after, replay_only=True)
        return [change for frame in self.watches.watch(request, Call()) for change in frame.changes]

    def entries(self, parent_id: str, parent_kind: str = "session", **fields: Any) -> list[Any]:
        """The entries that a Read streams."""
        request = journal_service_pb2.JournalServiceReadRequest(parent_kind=parent_kind, parent_id=parent_id, **fields)
        return [entry for frame in self.read(request, Call()) for entry in frame.entries]

    def read(
        self, request: journal_service_pb2.JournalServiceReadRequest, call: Call
    ) -> Generator[journal_service_pb2.JournalServiceReadResponse, None, None]:
        """The frames of a Read, decoded as a client does it."""
        with closing(self.journals.read(request, call)) as frames:
            for frame in frames:
                yield journal_service_pb2.JournalServiceReadResponse.FromString(frame.SerializeToString())


_names = itertools.count(1)


def commit_of(*mutations: Mutation, request_id: str = "", fingerprint: bytes = b"x", workspace: str = "default") -> Commit:
    return Commit(workspace, "tester", request_id, fingerprint, mutations)


def insert_task(id: str = "", **fields: Any) -> Insert:
    return Insert(KINDS["task"], record_pb2.Task(id=id, **({"title": "t"} | fields)))


def insert_session(id: str = "", **fields: Any) -> Insert:
    return Insert(KINDS["session"], record_pb2.Session(id=id, **fields))


def update_task(id: str, version: int = 0, **fields: Any) -> Update:
    return Update(KINDS["task"], record_pb2.Task(id=id, **fields), tuple(fields), version)


def delete(kind: str, id: str, *, version: int = 0, cascade: bool = False) -> Delete:
    return Delete(KINDS[kind], id, version, cascade)


def append(parent_id: str, *contents: str, expected: int | None = None, parent_kind: str = "session") -> Append:
    rows = tuple(
        ("", "", 0, "prompt", content, None, None, entry_pb2.Transcript(role="prompt", content=content).SerializeToString())
        for content in contents
    )
    return Append(JOURNALS["transcript"], parent_kind, parent_id, rows, expected)


def new_name(prefix: str = "x") -> str:
    """A name that no other test uses."""
    return f"{prefix}{next(_names)}"
