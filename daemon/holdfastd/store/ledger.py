"""The writer's state in memory: the newest revision, known workspaces and journals, remembered answers, unwritten history.

The answer to a request is remembered under its key, so that a retried request applies once. Keys are scoped to workspace and
actor. Only successes are remembered, in the transaction that applies the request. A remembered answer holds no records; they
are read again from the images in `changes`.

The rows of `commits`, `changes` and `request` of a whole batch are written together at its end (`flush`), because no statement
of the batch reads them earlier. Used only by the thread that holds the writer's connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import orjson

from holdfastd.errors import VERIFY_AND_RESTORE, DataLoss, InvalidArgument
from holdfastd.model import checksums
from holdfastd.model.commands import Command, Commit, ExpireRequests, Request, RequestKey
from holdfastd.model.mutations import DELETE, Change
from holdfastd.model.names import check_new_id
from holdfastd.store import changes, workspaces
from holdfastd.store.engine import Connection, Head
from holdfastd.store.journal_heads import Heads
from holdfastd.store.vocabularies import Vocabularies

log = logging.getLogger(__name__)

KEYS_A_STATEMENT = 64
MAX_WORKSPACES = 10_000  # that are known to exist without a look at the store
# When the last commit's time is further ahead of the clock than this, the clock was wrong then and has been set right.
MAX_AHEAD_NS = 3600 * 10**9

_COMMIT_COLUMNS = ("revision", "commit_time", "workspace", "actor", "request_id", "peer_uid", "peer_pid")
_CHANGE_COLUMNS = ("revision", "ordinal", "workspace", *Change._fields, "image_checksum", "checksum")
_REQUEST_COLUMNS = ("workspace", "actor", "request_id", "revision", "create_time", "fingerprint", "answer", "checksum")

Row = Sequence[Any]


class Remembered(NamedTuple):
    """A remembered answer."""

    revision: int
    create_time: int
    fingerprint: bytes
    answer: bytes  # JSON: a list of rows
    checksum: int | None


class Mark(NamedTuple):
    """A point within a batch to which `reset` can return."""

    revision: int
    commit_time: int
    commits: int
    changes: int
    requests: int
    set_back: int


class Ledger:
    """The writer's state. `revision` and `commit_time` are those of the newest commit, durable or in this batch."""

    def __init__(self, connection: Connection) -> None:
        self.revision, self.commit_time = changes.newest(connection)
        self._is_newest = changes.newest_change(connection) == self.revision
        self.heads = Heads(self.unwritten)
        self._applying: Sequence[Change] = ()  # the changes of the commit that is applied now
        self.vocabularies = Vocabularies()
        self._workspaces: set[str] = set()
        self._remembered: dict[RequestKey, Remembered | None] = {}  # the stored answers to the requests of this batch
        self._commits: list[Row] = []
        self._changes: list[Row] = []
        self._requests: dict[RequestKey, Row] = {}
        self._deleted: dict[tuple[str, str, str], int] = {}  # workspace, kind, id → last version, of unwritten changes
        self._set_back: list[int] = []
        self.set_back = self._read_set_back(connection)
        self.image_bytes = 0  # of this batch: its results hold them until it is acknowledged

    def _read_set_back(self, connection: Connection) -> list[int]:
        noted = changes.noted_set_back(connection)
        self._note_again = noted is None
        if noted is None:
            log.warning("The value of clock_set_back in the table meta is damaged. The next commit replaces it.")
        return changes.find_set_back(connection) if noted is None else noted

    # One batch

    def begin(self, head: Head, connection: Connection, commands: Iterable[Command[Any]]) -> None:
        """Starts a batch from `head`, and looks up the request keys of all its commands."""
        self.revision, self.commit_time = head.revision, head.time
        self.image_bytes = 0
        keys = [key for command in commands if (key := command.request_key) is not None]
        self._remembered = _find(connection, keys)

    def prepare(self, connection: Connection, command: Command[Any]) -> bool:
        """Call before each command, outside its savepoint. Returns whether the command needs a savepoint.

        When the same request came earlier in this batch, writes the history now, because the repeated answer is read from it.
        """
        key = command.request_key
        if key is not None and key in self._requests:
            self._remembered |= {each: Remembered(*row[3:]) for each, row in self._requests.items()}
            self.flush(connection)
        return not self._cannot_be_refused(command, key)

    def _cannot_be_refused(self, command: Command[Any], key: RequestKey | None) -> bool:
        """Whether the command is a new request that appends unconditionally to a journal in the cache.

        Such a command is only an insert, which does not fail in normal operation, so it runs without a savepoint. If it fails
        nevertheless, the whole batch is rolled back.
        """
        append = command.lone_append
        if append is None or not isinstance(command, Commit) or (key is not None and self._remembered[key] is not None):
            return False
        journal = (command.workspace, append.journal.name, append.parent_kind, append.parent_id)
        return command.workspace in self._workspaces and self.heads.get(journal) is not None

    def flush(self, connection: Connection) -> None:
        """Writes the unwritten rows into the open transaction."""
        with connection.together():
            connection.insert_rows("commits", _COMMIT_COLUMNS, self._commits)
            connection.insert_rows("changes", _CHANGE_COLUMNS, self._changes)
            connection.insert_rows("request", _REQUEST_COLUMNS, list(self._requests.values()))
            if self._set_back or self._note_again:
                changes.note_clock_set_back(connection, [*self.set_back, *self._set_back])
        self.set_back = [*self.set_back, *self._set_back]
        self._note_again = False
        self.forget()

    def forget(self) -> None:
        """Drops the unwritten rows, after they were written or rolled back."""
        self._commits, self._changes, self._requests, self._deleted, self._set_back = [], [], {}, {}, []

    def mark(self) -> Mark:
        """The current point in the batch; call it before a command."""
        return Mark(
            self.revision,
            self.commit_time,
            len(self._commits),
            len(self._changes),
            len(self._requests),
            len(self._set_back),
        )

    def reset(self, mark: Mark) -> None:
        """Returns to a mark, after the transaction or savepoint was rolled back to it. Clears the caches."""
        self.revision, self.commit_time = mark.revision, mark.commit_time
        del self._commits[mark.commits :], self._changes[mark.changes :], self._set_back[mark.set_back :]
        self.set_back = [each for each in self.set_back if each <= self.revision]
        self._deleted = {(row[2], row[3], row[4]): row[6] for row in self._changes if row[5] == DELETE} if self._deleted else {}
        while len(self._requests) > mark.requests:
            self._requests.popitem()
        self.heads.clear()
        self.vocabularies.clear()
        self._workspaces.clear()

    # One command

    def next_time(self, now_ns: int) -> int:
        """The time of the next commit: now, or the previous commit's time if the clock has gone back by up to an hour.

        If it has gone back by more, the time is now, and the revision begins an era (`changes.eras`): otherwise one wrong jump
        forward would give all later commits the same time.
        """
        if self.commit_time - now_ns > MAX_AHEAD_NS:
            self._set_back.append(self.revision + 1)
            self.commit_time = now_ns
        self.commit_time = max(self.commit_time, now_ns)
        return self.commit_time

    def clock_warnings(self, now_ns: int) -> list[str]:
        """The warnings of `GetStatus` about the clock. For any thread."""
        found, last = [], self.set_back[-1] if self.set_back else 0
        behind_s = (self.commit_time - now_ns) / 1e9
        if behind_s > 1:
            is_wrong = behind_s * 1e9 > MAX_AHEAD_NS
            effect = "are ordered by revision, not by time" if is_wrong else "get the time of the last commit"
            found.append(f"The clock is {behind_s:,.0f} s behind the last commit. Until it has caught up, commits {effect}.")
        return [*found, changes.set_back_warning(last)] if last else found

    def make_workspace(self, connection: Connection, name: str, now_ns: int) -> None:
        """Inserts the workspace unless it exists. INVALID_ARGUMENT for a new one whose name looks like an option.

        DATA_LOSS (HISTORY_DAMAGED) when it is not certain which revision is the newest: then revisions would be given twice.
        """
        if name not in self._workspaces:
            if not self._is_newest:
                raise DataLoss(
                    f"The newest revision in the table commits is {self.revision}, but that of the newest change is another, so"
                    f" one of their indexes is damaged. Nothing was written. {VERIFY_AND_RESTORE}",
                    reason="HISTORY_DAMAGED",
                    revision=self.revision,
                )
            if not workspaces.exists(connection, name):
                check_new_id(name, "workspace")
                connection.execute("INSERT INTO workspace (name, create_time) VALUES (?, ?)", (name, now_ns))
            if len(self._workspaces) >= MAX_WORKSPACES:
                self._workspaces.clear()
            self._workspaces.add(name)

    def begin_commit(self, made: Sequence[Change]) -> None:
        """Call before a commit is applied. made: its changes, as they are added."""
        self._applying = made

    def unwritten(self, workspace: str, kind: str, id: str, parent_kind: str) -> tuple[int, int] | None:
        """As `journal_heads.Unwritten`. Scans the changes of this batch, so call it only when the tables disagree."""
        place = (kind, id, parent_kind)
        for each in reversed(self._applying):
            if (each.kind, each.id, each.parent_kind) == place:
                return each.action, each.last_number
        for _, _, where, *values in reversed(self._changes):
            change = Change(*values[: len(Change._fields)])
            if where == workspace and (change.kind, change.id, change.parent_kind) == place:
                return change.action, change.last_number
        return None

    def recall(self, command: Request[Any]) -> tuple[int, list[Row]] | None:
        """The revision and answer remembered for this request; None when it is new.

        INVALID_ARGUMENT (REQUEST_ID_REUSED) when another request body used the key.
        """
        key = command.request_key
        found = None if key is None else self._remembered[key]
        if key is None or found is None:
            return None
        _check_intact(key, found)
        if found.fingerprint != command.fingerprint:
            raise InvalidArgument(
                f"request_id {command.request_id!r} was used for another request, at revision {found.revision}."
                " Use a new id for each request.",
                reason="REQUEST_ID_REUSED",
                revision=found.revision,
            )
        return found.revision, orjson.loads(found.answer)

    def note(self, command: Commit, revision: int, time_ns: int, made: Sequence[Change]) -> None:
        """Keeps the rows of a commit and its changes for `flush`; its revision becomes the newest."""
        workspace = command.workspace
        peer = command.peer
        pid = peer.pid or None  # the kernel gives 0 for a process outside this namespace of processes
        commit = (time_ns, command.actor, command.request_id, peer.uid, pid)
        self._commits.append((revision, time_ns, workspace, *commit[1:]))
        self._changes += [_change_row(workspace, (revision, ordinal), change, commit) for ordinal, change in enumerate(made)]
        self.image_bytes += sum(len(each.image) for each in made if each.image is not None)
        for each in made:
            if each.action == DELETE:
                self._deleted[workspace, each.kind, each.id] = each.version
        self.revision = revision

    def last_version(self, workspace: str, kind: str, id: str) -> int | None:
        """The last version of a record that an earlier commit of this batch deleted; None: see the history."""
        return self._deleted.get((workspace, kind, id))

    def remember(self, command: Request[Any], revision: int, now_ns: int, answer: Sequence[Row]) -> None:
        """Keeps the answer to a request for `flush`; does nothing when the request has no id."""
        if (key := command.request_key) is not None:
            told = (revision, now_ns, command.fingerprint, orjson.dumps(answer))
            self._requests[key] = (*key, *told, checksums.of_answer(key, *told))


def _change_row(workspace: str, place: tuple[int, int], change: Change, commit: checksums.CommitSaid) -> Row:
    image = change.image
    of_image = None if image is None else checksums.of_image(workspace, change.kind, change.id, image)
    return (*place, workspace, *change, of_image, checksums.of_change(workspace, place, change, of_image, commit))


def _check_intact(key: RequestKey, found: Remembered) -> None:
    """Raises DATA_LOSS when a remembered answer is damaged. An earlier version stored answers without a checksum."""
    if found.checksum not in (None, checksums.of_answer(key, *found[:-1])):
        raise DataLoss(
            f"The request {key[2]!r} was applied, but its stored answer is damaged. Nothing was applied again. Read what it"
            " changed, and run verify.",
            reason="ANSWER_DAMAGED",
            request_id=key[2],
        )


@cache
def _find_sql(count: int) -> str:
    keys = ", ".join(["(?, ?, ?)"] * count)
    return (
        "SELECT workspace, actor, request_id, revision, create_time, fingerprint, answer, checksum FROM request"
        f" WHERE (workspace, actor, request_id) IN (VALUES {keys})"
    )


def _find(connection: Connection, keys: Sequence[RequestKey]) -> dict[RequestKey, Remembered | None]:
    """The stored answer for each of these keys; None for a key without one."""
    found: dict[RequestKey, Remembered | None] = dict.fromkeys(keys)
    for start in range(0, len(keys), KEYS_A_STATEMENT):
        some = keys[start : start + KEYS_A_STATEMENT]
        for workspace, actor, request_id, *row in connection.execute(_find_sql(len(some)), tuple(chain.from_iterable(some))):
            found[workspace, actor, request_id] = Remembered(*row)
    return found


def expire_requests(connection: Connection, command: ExpireRequests, now_ns: int) -> int:
    """Deletes up to `limit` remembered answers that are older than either bound, oldest first. Returns how many."""
    by_time = changes.time_of(connection, command.before_revision) or command.before_time
    # Not later than now: the clock may have been ahead when that revision was committed.
    bound = max(command.before_time, min(by_time, now_ns))
    deleted = connection.execute(
        "DELETE FROM request WHERE (workspace, actor, request_id) IN"
        " (SELECT workspace, actor, request_id FROM request WHERE create_time < ? ORDER BY create_time LIMIT ?)",
        (bound, command.limit),
    )
    return int(deleted.rowcount)
