"""What a store must still do after a power cut, beyond holding what was acknowledged, and what must not be left on its disk."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from pathlib import Path

import sqlcipher3.dbapi2 as sqlite

import holdfast
from holdfast.v1 import store_service_pb2
from tests.durability.ledger import DONE, Operation
from tests.durability.oracle import LOST
from tests.durability.worker import committed_revision

_REPEATED = 3
_RECOVERY_S = 3.0
_LEFT = ("orphan_files", "temp_files_deleted")


def problems_of_use(store: holdfast.Store, operations: Iterable[Operation], rng: random.Random) -> list[str]:
    """Repeats some acknowledged requests, allocates an id, and writes."""
    done = [each for each in operations if each.stage == DONE]
    return _repeated(store, done, rng) + _allocated(store, done) + _written(store, rng)


def _repeated(store: holdfast.Store, done: list[Operation], rng: random.Random) -> list[str]:
    repeatable = [each for each in done if "request" in each.outcome]
    before = store.status().revision
    found = []
    for each in rng.sample(repeatable, min(_REPEATED, len(repeatable))):
        request = store_service_pb2.StoreServiceCommitRequest.FromString(bytes.fromhex(each.outcome["request"]))
        revision = committed_revision(store, request)
        if revision != each.outcome["revision"]:
            found.append(f"{each.id}: repeated, it was answered revision {revision} instead of {each.outcome['revision']}")
    if (after := store.status().revision) != before:
        found.append(f"repeated requests raised the revision from {before} to {after}")
    return found


def _allocated(store: holdfast.Store, done: list[Operation]) -> list[str]:
    new = store.tasks.next_id()
    given = {each.outcome.get(field) for each in done for field in ("allocated", "id")}
    return [f"the id {new} is given twice"] if new in given else []


def _written(store: holdfast.Store, rng: random.Random) -> list[str]:
    session = store.sessions.create(title="after")
    first = store.transcripts.append(session.id, role="response", content="after")
    content = rng.randbytes(60_000)
    put = store.artifacts.put(source=content, name="after")
    found = [f"a new journal begins with {first}"] if first != 1 else []
    return found + (["a new artifact reads as something else"] if store.blobs.get(put.content_digest) != content else [])


def leaks(store: holdfast.Store) -> list[str]:
    """Files that no row names, after the recovery that runs beside the first callers has had its time."""
    deadline = time.monotonic() + _RECOVERY_S
    while True:
        counts: dict[str, int] = {}
        for frame in store.run_job("recover", dry_run=True):
            counts = dict(frame.counts) or counts
        left = {name: counts[name] for name in _LEFT if counts.get(name)}
        if not left or time.monotonic() > deadline:
            return [f"leak: {left} after recovery"] if left else []
        time.sleep(0.1)


def snapshot_problems(data_dir: Path) -> list[str]:
    """A store that was migrated has a sound copy of what it was before, and no file that only looks like one."""
    copies = sorted((data_dir / "snapshots").glob("*.db"))
    unsound = [path for path in copies if not _is_sound(path)]
    found = [f"{LOST}snapshot: none of {len(copies)} is sound"] if len(unsound) == len(copies) else []
    return found + [f"snapshot: {path.name} is torn, {path.stat().st_size} bytes" for path in unsound]


def _is_sound(path: Path) -> bool:
    try:
        connection = sqlite.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            checked = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return checked and bool(connection.execute("SELECT EXISTS (SELECT 1 FROM commits)").fetchone()[0])
        finally:
            connection.close()
    except sqlite.Error:
        return False
