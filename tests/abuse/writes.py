"""Plain writes to a damaged store, and what the readings after them must show: each acknowledged one, once, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from holdfast.v1 import blob_service_pb2
from tests.abuse.readings import DEFECTS, Answer
from tests.support.api import TIMEOUT_S, Api

TEXT = "written after the damage"
_ALLOWED = {"DATA_LOSS", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"}


@dataclass
class Written:
    """What was acknowledged, as keys of the readings that must have it, and what was wrong with the answers."""

    added: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, reading: str, key: str) -> None:
        self.added.setdefault(reading, set()).add(key)


def write(api: Api, good: dict[str, Answer], sessions: tuple[str, ...], base: tuple[str, bytes]) -> Written:
    """A sweep, an append to each session, an insert with an id that exists, and a Put on a base (digest and content)."""
    written = Written()
    _tried(written, "sweep", lambda: api.run_job("sweep"))
    for name in sessions:
        answer = _tried(written, f"append to {name}", lambda name=name: api.append(name, TEXT))
        if answer is not None:
            _note_append(written, good, name, answer)
        if _tried(written, f"insert {name}", lambda name=name: api.insert("session", id=name, title="again")) is not None:
            written.problems.append(f"an insert of the session {name}, which exists, was acknowledged")
    digest, content = base
    if (put := _tried(written, "put", lambda: api.put(content + TEXT.encode(), base_digest=digest))) is not None:
        written.blobs[put.digest] = content + TEXT.encode()
    return written


def check(api: Api, written: Written) -> list[str]:
    """The acknowledged contents that cannot be read as they were written, after a restart."""
    found = list(written.problems)
    for digest, content in written.blobs.items():
        try:
            frames = api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=digest), timeout=TIMEOUT_S)
            if b"".join(frame.chunk for frame in frames) != content:
                found.append(f"the blob {digest} was acknowledged, and is served with another content")
        except grpc.RpcError as error:
            found.append(f"the blob {digest} was acknowledged, and its Get ends with {error.code().name}")
    return found


def _note_append(written: Written, good: dict[str, Answer], name: str, answer: Any) -> None:
    number, expected = answer.first_number, len(good[f"read {name}"].items) + 1
    if number != expected:
        written.problems.append(f"an append to {name} was acknowledged as entry {number} instead of {expected}")
    written.add(f"read {name}", str(number))
    written.add("list transcript", f"session/{name}/{answer.revision}/{number}")
    written.add("list audit", f"transcript/{name}/{answer.revision}/1")
    written.add("watch", f"{answer.revision}/0")


def _tried(written: Written, what: str, call: Callable[[], Any]) -> Any:
    """The answer; None when the write was refused."""
    try:
        return call()
    except grpc.RpcError as error:
        code = error.code().name
        if code in DEFECTS or code not in _ALLOWED:
            written.problems.append(f"{what} ended with {code}: {error.details()}")
        return None
