"""What the writer remembers between commits, and the history that it has yet to write.

The rows of `commits`, `changes` and `request` of a whole batch go in together, at its end (`flush`), for nothing in the
batch needs them before. For the holder of the writer's connection only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfastd.model.commands import AllocateIds, Commit
from holdfastd.model.mutations import Append, Change
from holdfastd.store import changes, requests
from holdfastd.store.engine import Connection, Head
from holdfastd.store.journals import Heads
from holdfastd.store.requests import Answer, RequestKey


@dataclass(frozen=True, slots=True)
class Mark:
    """A place to go back to, within a batch."""

    revision: int
    commits: int
    changes: int
    requests: int


class Ledger:
    """The newest revision and commit time, the workspaces and journals seen, the history to be written."""

    def __init__(self, connection: Connection) -> None:
        self.revision, self.commit_time = changes.newest(connection)
        self.heads = Heads()
        self._workspaces: set[str] = set()
        self._commits: list[Sequence[Any]] = []
        self._changes: list[Sequence[Any]] = []
        self._requests: list[Sequence[Any]] = []
        self._known: dict[RequestKey, requests.Row | None] = {}

    def begin(self, head: Head, connection: Connection, commands: Iterable[object]) -> None:
        """Stands on the batch's head, and looks the request ids of the whole batch up at once."""
        self.revision, self.commit_time = head.revision, head.time
        keys = [key for command in commands if (key := _key_of(command)) is not None]
        self._known = requests.find(connection, keys) if keys else {}

    def prepare(self, connection: Connection, command: object) -> None:
        """Call before a command's savepoint: a request that came twice in one batch finds the first one's answer."""
        key = _key_of(command)
        if key is not None and any(tuple(row[:3]) == key for row in self._requests):
            self.flush(connection)
            self._known.pop(key, None)

    def cannot_be_refused(self, command: object) -> bool:
        """Whether nothing is left that could refuse the command: an append to a journal that is known, and a request that is new.

        It is one insert, so it needs no savepoint; should it fail all the same, the whole batch is rolled back.
        """
        if not isinstance(command, Commit) or len(command.mutations) != 1 or self._is_known(command):
            return False
        append = command.mutations[0]
        if not isinstance(append, Append) or append.expected_last_number is not None or not append.rows:
            return False
        journal = (command.workspace, append.journal.name, append.parent_kind, append.parent_id)
        return command.workspace in self._workspaces and self.heads.get(journal) is not None

    def _is_known(self, command: Commit) -> bool:
        key = _key_of(command)
        return key is not None and self._known.get(key, key) is not None

    def mark(self) -> Mark:
        """The place before a command."""
        return Mark(self.revision, len(self._commits), len(self._changes), len(self._requests))

    def reset(self, mark: Mark) -> None:
        """Goes back to a place: what came after it was rolled back."""
        self.revision = mark.revision
        del self._commits[mark.commits :], self._changes[mark.changes :], self._requests[mark.requests :]
        self.heads.clear()
        self._workspaces.clear()

    def next_time(self, now_ns: int) -> int:
        """The time of the next commit: never before the last one's, whatever the clock says."""
        self.commit_time = max(self.commit_time, now_ns)
        return self.commit_time

    def make_workspace(self, connection: Connection, name: str, now_ns: int) -> None:
        """Makes the workspace unless it is there."""
        if name not in self._workspaces:
            connection.execute("INSERT INTO workspace (name, create_time) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, now_ns))
            self._workspaces.add(name)

    def recall(self, connection: Connection, command: Commit | AllocateIds) -> Answer | None:
        """The earlier answer to this request; None when there is none. INVALID_ARGUMENT when it had another body."""
        key = _key_of(command)
        if key is None:
            return None
        row = self._known[key] if key in self._known else requests.find(connection, [key])[key]
        return requests.answer_of(row, command) if row is not None else None

    def note(self, command: Commit, revision: int, time_ns: int, noted: Sequence[Change]) -> None:
        """Keeps a commit for `flush`, and makes its revision the newest."""
        self._commits.append(changes.commit_row(command, revision, time_ns))
        self._changes += [changes.change_row(command, revision, ordinal, each) for ordinal, each in enumerate(noted)]
        self.revision = revision

    def remember(self, command: Commit | AllocateIds, revision: int, now_ns: int, answer: Sequence[Sequence[object]]) -> None:
        """Keeps the answer to a request for `flush`."""
        if command.request_id:
            self._requests.append(requests.row_of(command, revision, now_ns, answer))

    def flush(self, connection: Connection) -> None:
        """Writes what is kept into the open transaction."""
        with connection.together():
            changes.add(connection, self._commits, self._changes)
            requests.add(connection, self._requests)
        self.forget()

    def forget(self) -> None:
        """Drops what is kept: it was written, or rolled back."""
        self._commits, self._changes, self._requests = [], [], []


def _key_of(command: object) -> RequestKey | None:
    if isinstance(command, Commit | AllocateIds) and command.request_id:
        return (command.workspace, command.actor, command.request_id)
    return None
