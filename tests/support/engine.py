"""The daemon's insides in this process, without gRPC: a real database file, the writer, and the use cases over it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.contract.kinds import JOURNALS, KINDS
from holdfast.v1 import journal_service_pb2, record_pb2, store_service_pb2
from holdfastd.composition import handlers
from holdfastd.model.call import Call
from holdfastd.model.commands import Commit
from holdfastd.model.mutations import Append, Delete, Insert, Mutation, Update
from holdfastd.service.commits import Commits
from holdfastd.service.feed import Feed
from holdfastd.service.journals import Journals
from holdfastd.service.pending import Pending
from holdfastd.service.reading import Reading
from holdfastd.service.records import Records
from holdfastd.service.watches import Watches
from holdfastd.store.ledger import Ledger
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate
from holdfastd.writer.batch import Batcher, Handler
from holdfastd.writer.writer import Writer

Row = tuple[Any, ...]
PATIENCE_S = 10.0


def answered(answer: Any) -> Any:
    """The answer of a use case, waited for where it is pending."""
    return answer.answer(answer.writer.submit(answer.command, answer.call)) if isinstance(answer, Pending) else answer


class Engine:
    """One store in a directory of a test's own. Close it, and make another over the same directory to reopen."""

    def __init__(
        self,
        directory: Path,
        *,
        extra_handlers: Mapping[type, Handler] | None = None,
        wrap: Callable[[Any], Any] = lambda connection: connection,
        queue_max: int = 10_000,
        batch_max: int = 1_000,
        readers: int = 2,
        database: Any = None,
    ) -> None:
        self.connection: Any = database.open_writer() if database is not None else _new(directory)
        database = self.connection.engine
        self.ledger = Ledger(self.connection)
        self.sync_failures: list[BaseException] = []
        self.feed = Feed()
        self.published: list[Any] = []
        self.batcher = Batcher(
            wrap(self.connection),
            self.ledger,
            {**handlers(self.ledger), **(extra_handlers or {})},
            time.time_ns,
            self.sync_failures.append,
        )
        self.writer = Writer(self.batcher, self._publish, queue_max=queue_max, batch_max=batch_max)
        self._readers = database.open_readers(readers)
        reading = Reading(self._readers)
        self.commits = Commits(self.writer)
        self.records = Records(reading)
        self.journals = Journals(reading, self.feed)
        self.watches = Watches(reading, self.feed)

    def _publish(self, results: Sequence[Any]) -> None:
        self.published.extend(results)
        self.feed.publish(results)

    def close(self) -> None:
        self.writer.stop(PATIENCE_S)
        self._readers.close()
        self.connection.close()

    def submit(self, *mutations: Mutation, request_id: str = "", fingerprint: bytes = b"x", call: Call | None = None) -> Any:
        """Applies one commit in the default workspace."""
        return self.writer.submit(commit_of(*mutations, request_id=request_id, fingerprint=fingerprint), call or Call(30.0))

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """Reads past everything, on the writer's connection."""
        return list(self.connection.execute(sql, parameters).fetchall())

    def revisions(self) -> list[int]:
        return [row[0] for row in self.query("SELECT revision FROM commits ORDER BY revision")]

    def changes(self, after: int = 0) -> list[Any]:
        """What a watch replays from behind a revision."""
        request = store_service_pb2.StoreServiceWatchRequest(after_revision=after, replay_only=True)
        return [change for frame in self.watches.watch(request, Call()) for change in frame.changes]

    def entries(self, parent_id: str, parent_kind: str = "session", **fields: Any) -> list[Any]:
        """What a Read streams."""
        request = journal_service_pb2.JournalServiceReadRequest(parent_kind=parent_kind, parent_id=parent_id, **fields)
        return [entry for frame in self.journals.read(request, Call()) for entry in frame.entries]


def _new(directory: Path) -> Connection:
    connection = Database(directory / "holdfast.db").open_writer()
    migrate(connection, directory / "snapshots")
    connection.execute("PRAGMA synchronous = OFF")  # these tests lose no power
    return connection


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
    rows = tuple(("", "", 0, "prompt", content, None, None) for content in contents)
    return Append(JOURNALS["transcript"], parent_kind, parent_id, rows, expected)


def new_name(prefix: str = "x") -> str:
    """A name that no other test uses."""
    return f"{prefix}{next(_names)}"
