"""Snapshots of a workspace at a revision, for the reads of records, journals and history.

Blobs belong to no workspace, so `service/blobs` takes its snapshots directly from the store's readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfastd.errors import NotFound, OutOfRange
from holdfastd.model.budget import NoRoom
from holdfastd.model.call import Call
from holdfastd.service.decoding import DEFAULT_WORKSPACE, workspace_of
from holdfastd.store import changes, workspaces
from holdfastd.store.dialect import Dialect
from holdfastd.store.engine import Connection, Readers

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state of the store, its revision, and the workspace that the caller reads."""

    connection: Connection
    workspace: str
    revision: int


@dataclass(frozen=True, slots=True)
class MayBeLong:
    """A use case of which some calls walk a whole table. is_long: whether this request's may; see `Call.is_long`."""

    use_case: Callable[[Any, Call], Any]
    is_long: Callable[[Any], bool]

    def __call__(self, request: Any, call: Call) -> Any:
        return self.use_case(request, call)


class Reading:
    """Opens snapshots. Thread-safe."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    @property
    def dialect(self) -> Dialect:
        """The engine's dialect, for statements that are built before a snapshot is taken."""
        return self._readers.dialect

    @contextmanager
    def snapshot(self, call: Call, workspace: str, min_revision: int = 0) -> Iterator[Snapshot]:
        """Holds a snapshot while the block runs; do not yield to gRPC inside it.

        NOT_FOUND when the workspace does not exist (`default` reads as empty). OUT_OF_RANGE when the store's revision is below
        `min_revision`: the caller has read another store, or this one was restored from a backup.
        """
        name = workspace_of(workspace)
        with self._readers.snapshot(call) as connection:
            revision = changes.revision(connection)
            if revision < min_revision:
                raise OutOfRange(
                    f"The store is at revision {revision}, not yet at {min_revision}. Is this the store that you wrote to?",
                    reason="REVISION_IN_FUTURE",
                    revision=revision,
                )
            if name != DEFAULT_WORKSPACE and not workspaces.exists(connection, name):
                raise NotFound(
                    f"There is no workspace {name}. The first write creates it.", reason="WORKSPACE_NOT_FOUND", workspace=name
                )
            yield Snapshot(connection, name, revision)

    def revision(self, call: Call) -> int:
        """The newest revision."""
        with self._readers.snapshot(call) as connection:
            return changes.revision(connection)


def with_room(read: Callable[[], Read], call: Call) -> Read:
    """Calls `read`, which takes memory for what it reads; when that does not fit, waits until it may and calls it once more.

    So nobody waits for memory while holding a snapshot. Raises NoRoom when it does not fit then either.
    """
    try:
        return read()
    except NoRoom as error:
        wanted = error.size_bytes
    call.claim.take_when_free(wanted, call)  # waits in order
    call.claim.give(wanted)
    return read()
