"""Commands: everything that the writer can be asked to do, and the result of each. Pure data.

`service/` and `jobs/` create commands, `writer/` queues them, and `store/commands.py` maps each to the function that applies
it. The command `Commit` changes records and journals; its mutations are in `model/mutations.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from holdfast.contract.kinds import Kind
from holdfastd.model.blobs import BlobRow
from holdfastd.model.call import OWN, Peer
from holdfastd.model.loads import LoadStep
from holdfastd.model.mutations import Append, Change, Delete, Mutation, Result

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

RequestKey = tuple[str, str, str]  # workspace, actor, request id


class Command(Generic[R_co]):
    """One command; the type parameter is the type of its result. The attributes tell the writer how to treat it.

    exclusive: run it alone while no transaction is open, instead of in a batch.
    gives_space: it frees space, so apply it even when the disk is full.
    request_key: remember its answer under this key, and repeat the answer to a command with the same key; None: do not.
    rows: about how many rows it changes; the writer takes commands of many rows in smaller batches.
    is_held: the memory that its call holds is the command's, so the writer takes it for the command's size.
    lone_append: the only mutation of the command, if that is an unconditional append without blobs; it may need no savepoint.
    """

    __slots__ = ()

    exclusive: ClassVar[bool] = False
    is_held: ClassVar[bool] = False

    @property
    def gives_space(self) -> bool:
        return False

    @property
    def rows(self) -> int:
        return 1

    @property
    def request_key(self) -> RequestKey | None:
        return None

    @property
    def lone_append(self) -> Append | None:
        return None


@dataclass(frozen=True, slots=True)
class Exclusive(Command[R]):
    """Call `work` in the writer's thread while no transaction is open. Result: the value that `work` returns."""

    exclusive: ClassVar[bool] = True

    work: Callable[[], R]


# Records and journals


@dataclass(frozen=True, slots=True)
class Request(Command[R_co]):
    """A command whose answer is remembered when it has a request id. `fingerprint` is a digest of the request's body."""

    workspace: str
    actor: str
    request_id: str
    fingerprint: bytes

    @property
    def request_key(self) -> RequestKey | None:
        return (self.workspace, self.actor, self.request_id) if self.request_id else None


@dataclass(frozen=True, slots=True)
class Committed:
    """Result of Commit. `changes` is empty when this is a remembered answer."""

    revision: int
    commit_time: int
    results: tuple[Result, ...]
    workspace: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit(Request[Committed]):
    """Apply all of the mutations, or none. `peer` is the process that asked for it."""

    is_held: ClassVar[bool] = True

    mutations: tuple[Mutation, ...]
    peer: Peer = OWN

    @property
    def rows(self) -> int:
        return sum(each.row_count for each in self.mutations)

    @property
    def gives_space(self) -> bool:
        return all(isinstance(each, Delete) for each in self.mutations)

    @property
    def lone_append(self) -> Append | None:
        if len(self.mutations) != 1:
            return None
        append = self.mutations[0]
        if not isinstance(append, Append) or append.blobs:
            return None
        return append if append.expected_last_number is None and append.rows else None


@dataclass(frozen=True, slots=True)
class Load(Request[Committed]):
    """Insert records and append entries that keep their ids, times, versions and numbers; all or none.

    A result whose version and numbers are 0 is that of an item that was left out, because the store has it.
    skips: whether such items are left out instead of refused. is_trial: apply everything, then undo it.
    assumed_digests: blobs that a trial takes as stored.
    """

    is_held: ClassVar[bool] = True

    steps: tuple[LoadStep, ...]
    peer: Peer = OWN
    skips: bool = False
    is_trial: bool = False
    assumed_digests: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(each.row_count for each in self.steps)


@dataclass(frozen=True, slots=True)
class Allocated:
    """Result of AllocateIds: the ids, and the newest revision at that time."""

    ids: tuple[str, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class AllocateIds(Request[Allocated]):
    """Allocate `count` new ids of a kind."""

    kind: Kind
    count: int


@dataclass(frozen=True, slots=True)
class ExpireRequests(Command[int]):
    """Delete up to `limit` remembered answers that are older than a time or a revision. Result: the number deleted."""

    gives_space: ClassVar[bool] = True

    before_time: int
    before_revision: int
    limit: int


@dataclass(frozen=True, slots=True)
class CompactWatches(Command[int]):
    """Raise the oldest revision after which watches may resume. Deletes nothing. Result: the new oldest revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class FreePages(Command[int]):
    """Return up to `limit` empty pages to the file system. Result: the number of empty pages left."""

    gives_space: ClassVar[bool] = True

    limit: int


# Blobs


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Result of StoreBlob and RenewBlob. `revision` is the newest commit's."""

    row: BlobRow
    existed: bool
    revision: int


@dataclass(frozen=True, slots=True)
class StoreBlob(Command[StoredBlob]):
    """Insert the row of a blob, or renew the lease if the blob exists. Bytes that are not in `content` must be durable already.

    in_place_of: the path (empty: inline) of stored bytes that were found lost or damaged. If the row still has that path, it gets
    these bytes instead, which must then be a whole blob: a delta could be based on a blob that is itself based on this one.
    NOT_FOUND (BASE_NOT_FOUND) when the base is gone, or was stored again at a depth other than `depth` - 1.
    """

    digest: str
    size_bytes: int
    stored_bytes: int
    stored_digest: str
    codec: str
    path: str
    content: bytes | None
    lease_ns: int
    base_digest: str | None = None
    depth: int = 0
    step: int = 0
    key_id: str = ""
    in_place_of: str | None = None
    checksums: bytes = b""  # of the blocks of a raw file


@dataclass(frozen=True, slots=True)
class RenewBlob(Command[StoredBlob | None]):
    """Renew the lease of a blob. Result: None when there is no such blob."""

    digest: str
    lease_ns: int


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """Result of SweepBlobs. `examined` is 0 when no candidate was due; `files_deleted` counts paths put into the trash."""

    examined: int
    blobs_deleted: int
    bytes_freed: int
    files_deleted: int


@dataclass(frozen=True, slots=True)
class SweepBlobs(Command[SweepCounts]):
    """Examine up to `limit` due candidates. Delete those that have no reference, no dependent delta and no running lease."""

    gives_space: ClassVar[bool] = True

    limit: int


@dataclass(frozen=True, slots=True)
class EmptyTrash(Command[None]):
    """Remove these paths from the trash table; their files have been unlinked."""

    gives_space: ClassVar[bool] = True

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiscardFile(Command[bool]):
    """Put the file of an interrupted Put into the trash, unless a row names it already. Result: whether it was put there."""

    gives_space: ClassVar[bool] = True

    path: str
    stored_bytes: int


# Checksums of rows that an earlier version wrote


@dataclass(frozen=True, slots=True)
class ChecksumsFilled:
    """Result of FillChecksums: the key to go on after, None at the end of the table; and how many rows were looked at."""

    after: tuple[Any, ...] | None
    examined: int


@dataclass(frozen=True, slots=True)
class FillChecksums(Command[ChecksumsFilled]):
    """Fill in the checksums of up to `limit` rows of a table after a key; an empty key means from its beginning."""

    table: str
    after: tuple[Any, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class StoreBlockChecksums(Command[None]):
    """Add the checksums of the blocks of a raw file, unless they are there or the blob has gone."""

    digest: str
    checksums: bytes


@dataclass(frozen=True, slots=True)
class FinishChecksums(Command[None]):
    """Note that every row has its checksum."""
