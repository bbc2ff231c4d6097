"""Compares the store with the workers' ledgers, while no worker calls it.

An acknowledged operation must be found whole, once and in order. A refused one must not be found. One that
was not answered is found whole or not at all, and that stays so. Nothing else may be in the store. Each problem is one sentence;
those that begin with LOST are about something acknowledged that is gone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import holdfast
from holdfast.v1 import blob_service_pb2
from tests.durability.history import History, differences
from tests.durability.ledger import DONE, REFUSED, TRIED, Ledgers, Operation
from tests.durability.worker import FLURRY_CALL

LOST = "LOST "
_LEASE_MARGIN_NS = 300_000_000


class Oracle:
    """Remembers the operations it has judged, so that each call costs only what is new since the last one.

    now_ns: the time at which the store must still hold what was leased. reads: whether to read the content with this digest
    through the client. `verify` reads all content anyway, so that a sample is enough where each call judges everything.
    """

    def __init__(
        self,
        ledgers: Ledgers,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        reads: Callable[[str], bool] = lambda digest: True,
    ) -> None:
        self._ledgers = ledgers
        self._now_ns = now_ns
        self._reads = reads
        self._history = History()
        self._owners: dict[str, Operation] = {}
        self._judged: set[str] = set()
        self._last_revision: dict[str, int] = {}
        self._allocated: dict[str, str] = {}
        self._abandoned: dict[str, bool] = {}

    @property
    def operations(self) -> int:
        """Number of judged operations."""
        return len(self._judged)

    @property
    def revision(self) -> int:
        """The last revision that was checked."""
        return self._history.revision

    def ask(self, store: holdfast.Store) -> list[str]:
        """Returns the problems found; empty when there are none."""
        self._ledgers.read()
        problems = self._verified(store) + self._replayed(store) + self._ledgers.problems
        new = [each for each in self._ledgers.operations.values() if each.id not in self._judged]
        for each in new:
            self._owners.update(dict.fromkeys((*each.keys, *each.entries), each))
        for each in new:
            problems += self._judge(each, store)
            self._judged.add(each.id)
        return problems + self._strangers()

    @staticmethod
    def _verified(store: holdfast.Store) -> list[str]:
        frames = list(store.verify(read_blobs=True))
        problems = [f"verify: {each.reason} {each.subject}: {each.detail}" for frame in frames for each in frame.problems]
        return problems if frames and frames[-1].finished else [*problems, "verify did not finish"]

    def _replayed(self, store: holdfast.Store) -> list[str]:
        """Without any commit there is no history, and each operation is judged as missing."""
        try:
            self._history.catch_up(store)
            return self._history.problems + differences(self._history, store)
        except holdfast.NotFound:
            return []
        except holdfast.DataLoss as error:
            return [*self._history.problems, f"the store cannot be read: {error}"]

    def _judge(self, operation: Operation, store: holdfast.Store) -> list[str]:
        name = f"{operation.id} ({operation.what}, {operation.stage})"
        keys = [*operation.keys, *(operation.entries if self._has_journal(operation) else ())]
        revisions = [self._history.seen[key][0] for key in keys if self._history.seen.get(key)]
        missing = [key for key in keys if not self._history.seen.get(key)]
        if operation.streamed:
            problems = self._judge_stream(operation, keys, missing)
        else:
            problems = self._judge_whole(operation, revisions, missing)
        problems += self._in_order(operation, revisions)
        problems += self._entries_in_order(operation)
        if operation.stage == DONE:
            problems += self._judge_outcome(operation, store)
        return [f"{LOST if each.startswith(LOST) else ''}{name}: {each.removeprefix(LOST)}" for each in problems]

    def _has_journal(self, operation: Operation) -> bool:
        """False once the session is deleted: its entries are deleted with it and can't be read."""
        return bool(operation.entries) and ("session", operation.parent) in self._history.records

    @staticmethod
    def _judge_whole(operation: Operation, revisions: list[int], missing: list[str]) -> list[str]:
        if operation.stage == DONE and missing:
            return [f"{LOST}was acknowledged, and {missing} are not there"]
        if operation.stage == REFUSED and revisions:
            return [f"was refused, and is there at revisions {revisions}"]
        if revisions and missing:
            return [f"was applied in part: {missing} are missing"]
        return [f"was one commit, and is found at revisions {revisions}"] if len(set(revisions)) > 1 else []

    @staticmethod
    def _judge_stream(operation: Operation, keys: list[str], missing: list[str]) -> list[str]:
        there = len(keys) - len(missing)
        if missing and missing != keys[there:]:
            return [f"has gaps: {missing} are missing"]
        if keys and there < operation.acknowledged:
            return [f"{LOST}{operation.acknowledged} entries were acknowledged, and {there} are found"]
        return []

    def _in_order(self, operation: Operation, revisions: list[int]) -> list[str]:
        """A worker's operations have rising revisions, except the concurrent calls of a flurry."""
        if not revisions:
            return []
        before = self._last_revision.get(operation.worker, 0)
        self._last_revision[operation.worker] = max(before, revisions[-1])
        if operation.what == FLURRY_CALL:
            return []
        wrong = revisions != sorted(revisions) or revisions[0] <= before
        return [f"is at revisions {revisions}, the worker's previous operation at {before}"] if wrong else []

    def _entries_in_order(self, operation: Operation) -> list[str]:
        places = [self._history.places[mark] for mark in operation.entries if mark in self._history.places]
        numbers = [number for _, number in places]
        if any(journal != ("session", operation.parent) for journal, _ in places):
            return [f"has entries in a journal other than {operation.parent}'s"]
        if operation.streamed:
            return [] if numbers == sorted(numbers) else [f"has entries out of order: {numbers}"]
        first = operation.outcome.get("first", numbers[0] if numbers else 0)
        wrong = numbers and numbers != list(range(first, first + len(numbers)))
        return [f"has entries {numbers}, expected consecutive numbers from {first}"] if wrong else []

    def _judge_outcome(self, operation: Operation, store: holdfast.Store) -> list[str]:
        outcome = operation.outcome
        problems = []
        if "digest" in outcome and outcome["digest"] != outcome["expected"]:
            problems.append(f"was answered the digest {outcome['digest']} instead of {outcome['expected']}")
        for id in (outcome.get("allocated", ""), outcome.get("id", "") if operation.what == "task" else ""):
            if id and id in self._allocated:
                problems.append(f"was given the id {id}, which {self._allocated[id]} had been given")
            elif id:
                self._allocated[id] = operation.id
        if outcome.get("until_ns", 0) > self._now_ns() + _LEASE_MARGIN_NS and not store.blobs.exists(outcome["loose"]):
            problems.append(f"{LOST}has a lease on {outcome['loose']}, which does not exist")
        return problems + self._unreadable(outcome, store)

    def _unreadable(self, outcome: dict[str, str], store: holdfast.Store) -> list[str]:
        """Records that still exist: the store returns the content that the worker saved."""
        kinds = [kind for kind in ("checkpoint", "artifact") if (kind, outcome.get("id", "")) in self._history.records]
        if "digest" not in outcome or not kinds:
            return []
        record = self._history.records[kinds[0], outcome["id"]]
        named = record.checkpoint.context_digest or record.artifact.content_digest
        if named != outcome["digest"]:
            return [f"names the content {named} instead of {outcome['digest']}"]
        return self._wrong_content(named, store) if self._reads(named) else []

    @staticmethod
    def _wrong_content(digest: str, store: holdfast.Store) -> list[str]:
        try:
            read = hashlib.sha256(store.blobs.get(digest)).hexdigest()
        except (holdfast.DataLoss, holdfast.NotFound) as error:
            return [f"{LOST}its content {digest} cannot be read: {error.reason}"]
        return [] if digest == f"sha256:{read}" else [f"reads as sha256:{read} instead of {digest}"]

    def _strangers(self) -> list[str]:
        """Marks that are in no ledger, and operations that appeared after an earlier check found them not applied."""
        fells = {each for key, owner in self._owners.items() if key.startswith("-") for each in self._history.seen.get(key, ())}
        found = []
        for mark, revisions in self._history.seen.items():
            if mark not in self._owners and not (mark.startswith("-") and revisions[0] in fells):
                found.append(f"{mark} is there at revisions {revisions}, and no ledger has it")
        for id, operation in self._ledgers.operations.items():
            if operation.stage == TRIED and operation.keys and not operation.streamed:
                there = bool(self._history.seen.get(operation.keys[0]))
                if self._abandoned.setdefault(id, there) != there:
                    found.append(f"{id} changed its state after its worker was killed")
        return found


def stray_files(store: holdfast.Store, data_dir: Path) -> list[str]:
    """Blob files without a row. Call it at the end, after the leases have expired and a sweep has run."""
    found = []
    for path in sorted((data_dir / "blobs").rglob("*")):
        if path.is_file() and path.name != "store_id" and not _named_by_row(store, path, data_dir):
            found.append(f"{path.relative_to(data_dir)} is a file that no row names")
    return found


def _named_by_row(store: holdfast.Store, path: Path, data_dir: Path) -> bool:
    stat = _stat(store, path)
    return stat is not None and stat.path == str(path.relative_to(data_dir))


def _stat(store: holdfast.Store, path: Path) -> blob_service_pb2.BlobServiceStatResponse | None:
    if path.parent.name == "tmp":
        return None
    try:
        return store.blobs.stat(f"sha256:{path.name[:64]}")
    except holdfast.NotFound:
        return None
