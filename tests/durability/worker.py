"""One client of the load: random operations of every sort, each written to the ledger before and after the call.

It outlives the daemon: the client repeats an interrupted call with the same request id, and the daemon must apply it once.
The worker does not watch the daemon. Any error that a client cannot expect is a finding.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import holdfast
from holdfast.contract.ids import request_id
from holdfast.v1 import store_service_pb2
from tests.durability.ledger import Ledger

SHARED_SESSION = "shared"
SHARED_TASKS = ("TASK-901", "TASK-902", "TASK-903")
CALL_TIMEOUT_S = 60.0
FLURRY = 8
FLURRY_CALL = "flurry"  # operations of this name run concurrently, so their order is undefined
_STATUSES = ("planned", "running", "paused", "blocked", "completed", "failed")
_LONGEST_CONTEXT = 400_000
# A lease of two seconds may expire before the commit that refers to the blob. The daemon must then refuse the commit.
_EXPECTED = ("VERSION_MISMATCH", "BLOB_NOT_FOUND")


def set_up(socket: Path, directory: Path) -> None:
    """Creates what all workers share: a session and a few tasks."""
    ledger = Ledger(directory, "setup")
    op = ledger.new_id()
    marks = [f"{op}#{n}" for n in range(len(SHARED_TASKS) + 1)]
    ledger.tried(op, "set up", marks)
    with holdfast.connect(socket, actor="setup") as store, store.transaction() as commit:
        commit.sessions.create(id=SHARED_SESSION, title=marks[0])
        for id, mark in zip(SHARED_TASKS, marks[1:], strict=True):
            commit.tasks.create(id=id, title="shared", description=mark)
    ledger.done(op)


class Worker:
    """The operations. `seed` determines what is tried; the results depend on the daemon and its deaths."""

    def __init__(self, store: holdfast.Store, ledger: Ledger, rng: random.Random) -> None:
        self._store = store
        self._ledger = ledger
        self._rng = rng
        self._session = ""
        self._context = ""
        self._trees: list[str] = []
        self._artifacts: list[str] = []
        self._threads = ThreadPoolExecutor(FLURRY)
        self._operations: list[tuple[int, Callable[[], None]]] = [
            (10, self.append_one),
            (6, self.append_many),
            (2, self.append_stream),
            (4, self.flurry),
            (4, self.insert_construct),
            (2, self.insert_repeatably),
            (8, self.move_task),
            (3, self.insert_task),
            (3, self.allocate_id),
            (6, self.save_checkpoint),
            (2, self.load_checkpoint),
            (5, self.put_artifact),
            (2, self.delete_artifact),
            (3, self.plant_tree),
            (2, self.fell_tree),
            (2, self.put_loose_blob),
            (1, self.sweep),
        ]

    def begin(self) -> None:
        """Creates the worker's own session."""
        mark = self._ledger.new_id()

        def act() -> dict[str, Any]:
            self._session = self._store.sessions.create(title=mark).id
            return {"id": self._session}

        self._attempt(mark, "session", act, keys=[mark])

    def step(self) -> None:
        """Runs one operation, then sleeps for up to 8 ms, so that the daemon's jobs run as well."""
        weights, operations = zip(*self._operations, strict=True)
        self._rng.choices(operations, weights)[0]()
        time.sleep(self._rng.uniform(0, 0.008))

    def every_operation(self) -> None:
        """Runs each operation once."""
        for _, operation in self._operations:
            operation()

    def append_one(self) -> None:
        mark, session = self._ledger.new_id(), self._any_session()
        self._attempt(mark, "append", lambda: self._appended(session, mark), entries=[mark], parent=session)

    def append_many(self) -> None:
        op, session = self._ledger.new_id(), self._any_session()
        marks = [f"{op}#{n}" for n in range(self._rng.randint(2, 20))]

        def act() -> dict[str, Any]:
            entries = [{"role": "chunk", "content": self._text(mark)} for mark in marks]
            return {"first": self._store.transcripts.append_many(session, entries).start}

        self._attempt(op, "append many", act, entries=marks, parent=session)

    def append_stream(self) -> None:
        op, session = self._ledger.new_id(), self._any_session()
        marks = [f"{op}#{n}" for n in range(self._rng.randint(10, 80))]
        acknowledged = 0

        def note(batch: Any) -> None:
            nonlocal acknowledged
            acknowledged += batch.last_number - batch.first_number + 1
            self._ledger.partly(op, acknowledged)

        def act() -> dict[str, Any]:
            with self._store.transcripts.writer(session, on_acknowledged=note) as writer:
                for mark in marks:
                    writer.write(role="chunk", content=self._text(mark))
            return {}

        self._attempt(op, "append stream", act, entries=marks, parent=session, streamed=True)

    def flurry(self) -> None:
        """Concurrent calls, which the writer puts into one batch. Of those that update the same task at most one may succeed."""
        id = self._rng.choice(SHARED_TASKS)
        version = self._store.tasks.get(id).version
        calls = [(self._ledger.new_id(), self._any_session(), self._rng.random() < 0.3) for _ in range(FLURRY)]

        def call(mark: str, session: str, moves: bool) -> None:
            if moves:
                self._attempt(mark, FLURRY_CALL, lambda: self._moved(id, version, mark, "running"), keys=[mark])
            else:
                self._attempt(mark, FLURRY_CALL, lambda: self._appended(session, mark), entries=[mark], parent=session)

        for done in [self._threads.submit(call, *each) for each in calls]:
            done.result()

    def insert_construct(self) -> None:
        mark = self._ledger.new_id()
        fields = {"name": mark, "type": "crash", "metadata": {"n": self._rng.randint(0, 9)}}
        self._attempt(mark, "construct", lambda: {"id": self._store.constructs.create(**fields).id}, keys=[mark])

    def insert_repeatably(self) -> None:
        """The ledger keeps the request and its answer, so that the same request can be sent again later."""
        mark = self._ledger.new_id()
        request = store_service_pb2.StoreServiceCommitRequest(workspace="default", actor="repeats", request_id=request_id())
        request.mutations.add().insert.record.construct.name = mark

        def act() -> dict[str, Any]:
            return {"request": request.SerializeToString().hex(), "revision": committed_revision(self._store, request)}

        self._attempt(mark, "repeatable", act, keys=[mark])

    def move_task(self) -> None:
        mark, id = self._ledger.new_id(), self._rng.choice(SHARED_TASKS)
        version = self._store.tasks.get(id).version
        status = self._rng.choice(_STATUSES)
        self._attempt(mark, "move task", lambda: self._moved(id, version, mark, status), keys=[mark])

    def insert_task(self) -> None:
        mark = self._ledger.new_id()
        blocked_by = self._rng.sample(SHARED_TASKS, self._rng.randint(0, 2))

        def act() -> dict[str, Any]:
            return {"id": self._store.tasks.create(title="new", description=mark, blocked_by=blocked_by).id}

        self._attempt(mark, "task", act, keys=[mark])

    def allocate_id(self) -> None:
        op = self._ledger.new_id()
        self._attempt(op, "allocate", lambda: {"allocated": self._store.tasks.next_id()})

    def save_checkpoint(self) -> None:
        """The context grows, is sometimes started anew, and always when it is long."""
        mark = self._ledger.new_id()
        if len(self._context) > _LONGEST_CONTEXT or self._rng.random() < 0.05:
            self._context = ""
        self._context += f"{mark}: {self._rng.randbytes(self._rng.choice((50, 2_000, 20_000))).hex()}\n"
        context = self._context

        def act() -> dict[str, Any]:
            saved = self._store.checkpoints.save(self._session, context=context, name=mark)
            return {"id": saved.id, "digest": saved.context_digest, "expected": _digest(context.encode())}

        self._attempt(mark, "checkpoint", act, keys=[mark])

    def load_checkpoint(self) -> None:
        """Reads the newest checkpoint's context; its digest must match."""
        for latest in self._store.checkpoints.list(self._session, order_by="number desc", limit=1):
            if _digest(self._store.blobs.get(latest.context_digest)) != latest.context_digest:
                self._ledger.seen(f"checkpoint {latest.id} has a context with another digest")

    def put_artifact(self) -> None:
        """A third of the artifacts have content that other workers put and delete as well."""
        shared = self._rng.random() < 0.33
        source = random.Random(self._rng.randint(0, 4)) if shared else self._rng
        self.put_content(source.randbytes(90_000 if shared else self._rng.choice((0, 300, 40_000, 300_000))))

    def put_content(self, content: bytes) -> None:
        """Puts an artifact with this content."""
        mark = self._ledger.new_id()

        def act() -> dict[str, Any]:
            put = self._store.artifacts.put(source=content, name=mark)
            self._artifacts.append(put.id)
            return {"id": put.id, "digest": put.content_digest, "expected": _digest(content)}

        self._attempt(mark, "artifact", act, keys=[mark])

    def delete_artifact(self) -> None:
        if self._artifacts:
            op, id = self._ledger.new_id(), self._artifacts.pop(self._rng.randrange(len(self._artifacts)))
            self._attempt(op, "delete", lambda: self._deleted(self._store.artifacts, id), keys=[f"-artifact/{id}"])

    def plant_tree(self) -> None:
        """Creates a construct with every kind of dependent, in one commit."""
        op = self._ledger.new_id()
        keys = [f"{op}#{part}" for part in ("construct", "session", "checkpoint", "artifact", "link", "task")]
        entries = [f"{op}#entry{n}" for n in range(3)]
        construct = self._store.constructs.next_id()
        session = self._store.sessions.next_id()

        def act() -> dict[str, Any]:
            with self._store.transaction() as commit:
                commit.constructs.create(id=construct, name=keys[0])
                commit.sessions.create(id=session, construct_id=construct, title=keys[1])
                commit.transcripts.append_many(session, [{"role": "prompt", "content": self._text(mark)} for mark in entries])
                commit.checkpoints.save(session, context=f"tree {op}", name=keys[2])
                commit.artifacts.put(source=f"leaf {op}".encode() * 50, name=keys[3], construct_id=construct)
                commit.links.create(type=keys[4], from_kind="session", from_id=session, to_kind="task", to_id=SHARED_TASKS[0])
                commit.tasks.create(title="of a tree", description=keys[5], construct_id=construct)
            self._trees.append(construct)
            return {"revision": commit.revision}

        self._attempt(op, "plant", act, keys=keys, entries=entries, parent=session)

    def fell_tree(self) -> None:
        if self._trees:
            op, id = self._ledger.new_id(), self._trees.pop(self._rng.randrange(len(self._trees)))
            self._attempt(op, "fell", lambda: self._deleted(self._store.constructs, id), keys=[f"-construct/{id}"])

    def put_loose_blob(self) -> None:
        """No record refers to the blob, so a sweep deletes it."""
        op = self._ledger.new_id()
        content = self._rng.randbytes(self._rng.choice((1_000, 120_000)))

        def act() -> dict[str, Any]:
            put = self._store.blobs.put(content)
            return {"loose": put.digest, "until_ns": put.lease_expire_time.ToNanoseconds()}

        self._attempt(op, "loose blob", act)

    def sweep(self) -> None:
        """A job has no request id, so it is not repeated when the daemon dies during it."""
        try:
            for _ in self._store.run_job("sweep"):
                pass
        except (holdfast.Unavailable, holdfast.Cancelled):
            pass

    def _attempt(
        self,
        op: str,
        what: str,
        act: Callable[[], dict[str, Any]],
        *,
        keys: list[str] | None = None,
        entries: list[str] | None = None,
        parent: str = "",
        streamed: bool = False,
    ) -> None:
        self._ledger.tried(op, what, keys or [], entries or [], parent, streamed)
        try:
            outcome = act()
        except holdfast.HoldfastError as error:
            if error.reason not in _EXPECTED:
                raise
            self._ledger.refused(op, error.reason)
        else:
            self._ledger.done(op, **outcome)

    def _appended(self, session: str, mark: str) -> dict[str, Any]:
        return {"first": self._store.transcripts.append(session, role="response", content=self._text(mark))}

    def _moved(self, id: str, version: int, mark: str, status: str) -> dict[str, Any]:
        moved = self._store.tasks.update(id, version=version, status=status, description=mark, tags=[mark, status])
        return {"id": id, "version": moved.version}

    @staticmethod
    def _deleted(collection: Any, id: str) -> dict[str, Any]:
        collection.delete(id, cascade=True)
        return {}

    def _any_session(self) -> str:
        return self._rng.choice((self._session, SHARED_SESSION))

    def _text(self, mark: str) -> str:
        return f"{mark} {os.urandom(self._rng.randint(0, 120)).hex()}"


def committed_revision(store: holdfast.Store, request: store_service_pb2.StoreServiceCommitRequest) -> int:
    """Sends the commit as it is, with its own request id, and returns its revision."""
    return store._scope.connection.call(lambda stubs: stubs.store.Commit, request).revision


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
