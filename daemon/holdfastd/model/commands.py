"""Commands: everything that the writer can be asked to do. Pure data; blobs add theirs in `model/blobs.py`."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.contract.kinds import Kind
from holdfastd.model.mutations import Change, Mutation, Result


@dataclass(frozen=True, slots=True)
class Commit:
    """Mutations to apply whole or not at all. `fingerprint` tells one request body from another."""

    workspace: str
    actor: str
    request_id: str
    fingerprint: bytes
    mutations: tuple[Mutation, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a commit. `changes` is empty when it is an earlier answer given again."""

    revision: int
    commit_time: int
    results: tuple[Result, ...]
    workspace: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class AllocateIds:
    """Take `count` numbers from a kind's counter."""

    workspace: str
    actor: str
    request_id: str
    fingerprint: bytes
    kind: Kind
    count: int


@dataclass(frozen=True, slots=True)
class Allocated:
    """The ids handed out, and the revision at that moment."""

    ids: tuple[str, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class ExpireRequests:
    """Forget the answers to requests that were committed before a time or before a revision."""

    before_time: int
    before_revision: int
    limit: int


@dataclass(frozen=True, slots=True)
class FreePages:
    """Give up to `limit` pages that hold nothing back to the file system. Result: how many are left to give."""

    limit: int


@dataclass(frozen=True, slots=True)
class CompactWatches:
    """Let watches resume no earlier than after this revision. Nothing is deleted: history outlives watches."""

    revision: int
