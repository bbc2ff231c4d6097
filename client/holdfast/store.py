"""`connect` and `Store`, the client's entry points: one attribute for each collection, and the calls about the whole store."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from holdfast.blobs.session_memory import SessionMemory
from holdfast.contract.kinds import KINDS
from holdfast.contract.messages import message_with
from holdfast.domain.attachments import Attachments
from holdfast.domain.audit import AuditLog
from holdfast.domain.collections import COLLECTIONS
from holdfast.domain.specs import Specs
from holdfast.domain.states import States
from holdfast.errors import HoldfastError, InvalidArgument
from holdfast.journals.events import Events
from holdfast.journals.transcripts import Transcripts
from holdfast.nouns import StoreNouns
from holdfast.records.collection import Collection, Records
from holdfast.records.sink import CommitSink
from holdfast.records.watch import Watch, open_watch
from holdfast.transaction import Transaction
from holdfast.v1 import admin_service_pb2
from holdfast.wire.address import explicit_socket, user_place
from holdfast.wire.autostart import find_or_start
from holdfast.wire.cancellation import Cancellation
from holdfast.wire.connection import Connection
from holdfast.wire.pages import LARGEST_PAGE, OnUnreadable
from holdfast.wire.scope import Scope
from holdfast.wire.streams import SingleStream

if TYPE_CHECKING:
    from holdfast.domain.loads import LoadReport
    from holdfast.domain.task_contexts import TaskContexts

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_IDLE_EXIT_S = 900
CONNECT_TIMEOUT_S = 2.0


def connect(
    address: str | os.PathLike[str] | None = None,
    *,
    workspace: str = "default",
    actor: str | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    idle_exit_s: int = DEFAULT_IDLE_EXIT_S,
) -> Store:
    """Connects to a store; use it in a `with` block, or `close()` it.

    `address` is a socket's path or `unix:PATH`; the default is `HOLDFAST_SOCKET`. With an address, no daemon is started, and
    Unavailable is raised when none answers within `connect_timeout_s`. Without one, this connects to the per-user store and
    starts its daemon if none runs; that daemon exits `idle_exit_s` seconds after its last call (0: never).

    `actor` is recorded with every write; the default is the user's name. `timeout_s` limits each call, including its retries
    while the daemon is away; `Store.with_timeout` changes it for single calls. Raises VersionSkew, StartFailed, Unavailable.
    """
    to = explicit_socket(address) or partial(find_or_start, user_place(), idle_exit_s=idle_exit_s)
    return opened(Connection(to, timeout_s=timeout_s), workspace, actor, connect_timeout_s)


def opened(connection: Connection, workspace: str, actor: str | None = None, timeout_s: float = CONNECT_TIMEOUT_S) -> Store:
    """Opens a connection and returns a store on it; closes the connection if that fails. Used by `connect` and the commands."""
    try:
        connection.open(timeout_s)
    except BaseException:
        connection.close()
        raise
    return Store(connection, workspace, _user_name() if actor is None else actor)


class Store(StoreNouns):
    """One workspace of a store. Thread-safe; a forked child opens a connection of its own.

    Each kind has a collection, named by its plural: `store.tasks`, `store.sessions`. The first write to a workspace creates it.
    `states`, `specs`, `attachments`, `logs` and `contexts` are views of some collections; `audit` is a view of the history.
    """

    def __init__(self, connection: Connection, workspace: str, actor: str, memory: SessionMemory | None = None) -> None:
        self._connection = connection
        self._scope = Scope(connection, workspace, actor)
        self._memory = memory or SessionMemory()
        self._sink = CommitSink(self._scope, self._memory)
        self._collections = {each.name: COLLECTIONS.get(each.name, Collection)(self._sink, each) for each in KINDS.values()}
        for kind in KINDS.values():
            setattr(self, kind.noun, self._collections[kind.name])
        self.blobs = self._sink.blobs
        self.transcripts = Transcripts(self._scope)
        self.events = Events(self._scope)
        self.audit = AuditLog(self._sink)
        self.logs = self.execution_logs
        self.states = States(self._sink, self.task_states)
        self.specs = Specs(self.phase_outputs)
        self.attachments = Attachments(self._sink, self.artifacts)

    @cached_property
    def contexts(self) -> TaskContexts:
        """The contexts of tasks, written as files."""
        from holdfast.domain.task_contexts import TaskContexts  # imported late: it takes 4 ms, and few programs write files

        return TaskContexts(self._scope, self.tasks, self.artifacts)

    @property
    def workspace(self) -> str:
        """The name of the workspace that the collections read and write."""
        return self._scope.workspace

    @property
    def actor(self) -> str:
        """The actor that is recorded with every write."""
        return self._scope.actor

    @property
    def revision(self) -> int:
        """The highest revision of the store that this connection has seen."""
        return self._connection.revision

    def collection(self, kind: str) -> Records[Any]:
        """Returns the collection of a kind, such as `task`. Raises KeyError for a kind that the client does not know."""
        return self._collections[kind]

    def in_workspace(self, workspace: str) -> Store:
        """Returns a Store for another workspace on the same connection. Closing either closes both."""
        return Store(self._connection, workspace, self._scope.actor)

    def as_actor(self, actor: str) -> Store:
        """Returns a Store on the same connection that writes as another actor, for a server that speaks for many people.

            store.as_actor("ada@example.org").tasks.update(id, status="running")

        It costs no call. Closing either closes both. Raises InvalidArgument for an empty name.
        """
        if not actor:
            told = "as_actor: the actor is empty. Name the person or program that the writes are for."
            raise InvalidArgument(told, reason="VALUE_INVALID", metadata={"field": "actor"})
        return Store(self._connection, self.workspace, actor, self._memory)

    def with_timeout(self, seconds: float) -> Store:
        """Returns a Store on the same connection whose calls fail after `seconds`. Closing either closes both.

            store.with_timeout(2).tasks.save(task)

        A call that takes longer raises DeadlineExceeded, or Unavailable while the daemon is away. A commit whose deadline
        passes before the daemon begins it changes nothing. The limit holds for each call with its retries; a method that makes
        several calls may take several times as long. A stream that follows has no deadline, but fails after an outage of
        this length.
        """
        return Store(self._connection.with_timeout(seconds), self.workspace, self.actor, self._memory)

    def with_cancellation(self, cancellation: Cancellation) -> Store:
        """Returns a Store on the same connection whose calls and streams end when another thread calls `cancellation()`.

            stop = holdfast.Cancellation()
            threading.Timer(5, stop).start()
            store.with_cancellation(stop).tasks.save(task)

        They raise Cancelled, also later ones, and also while they wait for a daemon that is away (but not while the client starts
        one). A write that was cancelled may or may not have been applied, unless `metadata["sent"]` of the error is "no": read,
        or repeat it. Closing either store closes both.
        """
        return Store(self._connection.with_cancellation(cancellation), self.workspace, self.actor, self._memory)

    def transaction(self, *, request_id: str = "") -> Transaction:
        """Returns a transaction: its steps are sent as one commit at the end of its `with` block and apply all or none.

        `request_id` is a name for the commit. If its outcome is unknown (Cancelled, DeadlineExceeded, Unavailable), repeat the
        transaction with it within an hour: the same steps, which give their new records the same ids, apply once in all and
        return what the first commit did. Other steps under that id raise InvalidArgument.
        """
        return Transaction(self._sink, request_id)

    def watch(
        self,
        *,
        kinds: Iterable[str] = (),
        ids: Iterable[str] = (),
        since: int | None = None,
        cursor: str = "",
        replay_only: bool = False,
        on_unreadable: OnUnreadable | None = None,
    ) -> Watch:
        """Returns the workspace's changes as they are committed, each once and in order, until `Watch.close()`.

        `kinds` selects kinds and journals (`transcript`, `event`); `ids` selects records, or journals by their parents' ids.
        Empty means all. The watch begins after the revision `since`, at a `cursor` of an earlier watch, or (with neither) now.
        With `replay_only` it ends at the present. A damaged change is left out: it is in `unreadable` of the watch, and is logged
        as a warning or given to `on_unreadable`, which may raise. (An older daemon ends the watch there with DataLoss.)
        Raises Compacted when the changes after `since` are no longer kept, OutOfRange when `since` is after the last revision.
        """
        return open_watch(self._scope, kinds, ids, since, cursor, replay_only=replay_only, on_unreadable=on_unreadable)

    def sync(self) -> None:
        """Waits until every entry that the client's open writers have taken is durable. Returns at once if none waits.

        Raises the error that ended a writer.
        """
        self._connection.flush_writers()

    def status(self) -> admin_service_pb2.AdminServiceGetStatusResponse:
        """Returns the daemon's versions, process and addresses, and the size of the store."""
        return self._connection.call(lambda stubs: stubs.admin.GetStatus, admin_service_pb2.AdminServiceGetStatusRequest())

    def workspaces(self) -> Iterator[str]:
        """Yields the names of all workspaces of the store, sorted. A page is requested when its first name is needed."""
        request = admin_service_pb2.AdminServiceListWorkspacesRequest(page_size=LARGEST_PAGE)
        while True:
            page = self._connection.call(lambda stubs: stubs.admin.ListWorkspaces, request)
            yield from (each.name for each in page.workspaces)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def load(
        self,
        name: str,
        items: Iterable[Any],
        /,
        *,
        parent: tuple[str, str] = ("", ""),
        skip_existing: bool = False,
        dry_run: bool = False,
        batch: int = 1000,
    ) -> LoadReport:
        """Adds existing records or entries, which keep their ids, times, versions, numbers and actors. `holdfast load` calls it.

        `name` is a kind or journal, such as `task` or `transcript`. An item is a view, a message, or a dict of its fields, in
        which times may be RFC 3339 text, a `Path` is a file to read the field or blob from (`.gz` and `.zst` are decompressed),
        and `@actor` names the actor of its row in the history. Fields that are not set get what `create` or `append` give them.
        `parent` is the kind and id of the parent of entries that name none.

        The items are sent in batches of up to `batch` items and 4 MiB, each of which applies whole or not at all. An error's
        metadata has the position of the wrong item (`index`) and how many were `loaded` before its batch. With `skip_existing`,
        what the store has already is left out, so that a load that broke off can be repeated; each item then needs its id or
        number. With `dry_run`, the daemon checks everything and changes nothing.

        Raises InvalidArgument, AlreadyExists, ParentNotFound, FailedPrecondition.
        """
        from holdfast.domain.loads import Loader  # imported late: few programs load

        loader = Loader(self._scope, name, parent=parent, skip_existing=skip_existing, dry_run=dry_run, batch=batch)
        return loader.run(items)

    def run_job(
        self, job: str, /, *, dry_run: bool = False, options: Mapping[str, str] | None = None
    ) -> Iterator[admin_service_pb2.AdminServiceRunJobResponse]:
        """Runs a job in the daemon, such as `sweep`, and yields its progress. The last frame has the counts."""
        request = message_with(admin_service_pb2.AdminServiceRunJobRequest, job=job, dry_run=dry_run, options=options)
        return iter(SingleStream(self._connection, lambda stubs: stubs.admin.RunJob, lambda: request))

    def verify(self, *, read_blobs: bool = False) -> Iterator[admin_service_pb2.AdminServiceVerifyResponse]:
        """Checks rows and blobs for consistency and yields progress and problems. With `read_blobs` it decodes every blob."""
        request = admin_service_pb2.AdminServiceVerifyRequest(read_blobs=read_blobs)
        return iter(SingleStream(self._connection, lambda stubs: stubs.admin.Verify, lambda: request))

    def close(self) -> None:
        """Flushes and closes the open writers, then closes the connection. Closing twice does nothing.

        Raises the error that kept entries from being stored, or DeadlineExceeded if that takes longer than the timeout; a note
        says how many are durable. The connection is closed all the same. Running calls and streams fail with an error. A program
        that ends without closing the store flushes the writers too, and logs what is lost (logger `holdfast`).
        """
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the store also after an exception in the block. If that fails as well, its error becomes a note."""
        try:
            self.close()
        except HoldfastError as failure:
            if error is None:
                raise
            error.add_note(" ".join(("Closing the store failed:", str(failure), *getattr(failure, "__notes__", ()))))


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
