"""Everything that callers can read from a store, and the comparison of a damaged store's answers with the undamaged one's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from holdfast.contract.kinds import KINDS
from holdfast.v1 import blob_service_pb2, journal_service_pb2, store_service_pb2
from tests.support.api import TIMEOUT_S, Api

DEFECTS = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED")
_FILTERS = ("version > 0", 'create_time > "2000-01-01T00:00:00Z"', 'id > "M"')
# Whole, from the middle to the end, and two ranges that begin and end within a block of 256 KiB.
_RANGES = ((0, 0), (0.5, 0), (0.1, 0.3), (0.7, 0.1))
# An index decides which records a list has (docs/checksums.md), unlike entries and changes, whose numbers have no gaps.
_SELECTED = ("records", "scan", "find", "count")
Digest = str
NOTHING: Mapping[str, set[str]] = {}
Items = Iterator[tuple[str, Any]]


@dataclass
class Answer:
    """The items of one answer by their names, how many the daemon called unreadable, those that came twice, and the error that
    ended it, if any."""

    items: dict[str, str] = field(default_factory=dict)
    unreadable: int = 0
    error: str = ""
    twice: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contents:
    """What there is to read: the sessions with a journal, and the sizes of the blobs."""

    kinds: tuple[str, ...]
    sessions: tuple[str, ...]
    blobs: dict[Digest, int]


def read_all(api: Api, contents: Contents, *, ranges: bool = True) -> dict[str, Answer]:
    """Makes every reading, of ranges of blobs only if wanted; an error ends only its own reading."""
    answers: dict[str, Answer] = {}
    for name, reading in _readings(api, contents, _RANGES if ranges else _RANGES[:1]):
        answers[name] = answer = Answer()
        try:
            for key, value in reading():
                if key == "unreadable":
                    answer.unreadable += value
                else:
                    answer.twice += [key] * (key in answer.items)
                    answer.items[key] = value if isinstance(value, str) else _short(value)
        except grpc.RpcError as error:
            answer.error = error.code().name
    return answers


def differences(good: dict[str, Answer], got: dict[str, Answer], added: Mapping[str, set[str]] = NOTHING) -> list[str]:
    """Answers that were served as good and are not, items that are missing without a word or came twice, and defects.

    added: the items that were written between the two, by the names of the readings that must have them.
    """
    found = []
    for name, answer in got.items():
        expected, new = good[name], added.get(name, set())
        wrong = [key for key, value in answer.items.items() if key not in new and expected.items.get(key) != value]
        missing = len(expected.items) + len(new) - len(answer.items)
        if answer.twice and name.partition(" ")[0] not in _SELECTED:
            found.append(f"{name} has items twice: {answer.twice[:3]}")
        if wrong and name.partition(" ")[0] != "count":
            found.append(f"{name} served wrong data as good: {wrong[:3]}")
        if missing > answer.unreadable and not answer.error and name.partition(" ")[0] not in _SELECTED:
            found.append(f"{name} lacks {missing} items and names {answer.unreadable}")
        if answer.error in DEFECTS:
            found.append(f"{name} ended with {answer.error}")
    return found


def _readings(api: Api, contents: Contents, ranges: Sequence[tuple[float, float]]) -> Iterator[tuple[str, Callable[[], Items]]]:
    for kind in contents.kinds:
        yield f"records {kind}", lambda kind=kind: _pages(lambda token: api.list(kind, page_size=20, page_token=token), _record)
        yield f"scan {kind}", lambda kind=kind: _scan(api, kind)
        for filter in _FILTERS:
            yield f"count {kind} {filter}", lambda kind=kind, filter=filter: iter([("n", api.count(kind, filter=filter))])
            yield (
                f"find {kind} {filter}",
                lambda kind=kind, filter=filter: _pages(
                    lambda token: api.list(kind, page_size=500, filter=filter, page_token=token), _record
                ),
            )
    for session in contents.sessions:
        yield f"read {session}", lambda session=session: _entries(api.read(session))
        yield f"get {session}", lambda session=session: iter([("record", api.get("session", session))])
    for journal in ("transcript", "audit"):
        yield f"list {journal}", lambda journal=journal: _pages(lambda token: _journal_page(api, journal, token), _entry)
    yield "watch", lambda: _changes(api.watch(after_revision=0, replay_only=True))
    for digest, size in contents.blobs.items():
        for start, share in ranges:
            yield (
                f"blob {digest} {start} {share}",
                lambda digest=digest, size=size, start=start, share=share: _blob(
                    api, digest, int(start * size), int(share * size)
                ),
            )


def _pages(page: Callable[[str], Any], item: Callable[[Any], Iterable[tuple[str, Any]]]) -> Items:
    token = ""
    while True:
        answer = page(token)
        yield from item(answer)
        yield "unreadable", len(answer.unreadable)
        if not (token := answer.next_page_token):
            return


def _record(page: Any) -> Items:
    return ((each.id, each) for each in page.records)


def _entry(page: Any) -> Items:
    return ((f"{each.parent_kind}/{each.parent_id}/{each.revision}/{each.number}", each) for each in page.entries)


def _journal_page(api: Api, journal: str, token: str) -> Any:
    request = journal_service_pb2.JournalServiceListRequest(
        workspace=api.workspace, journal=journal, page_size=1000, page_token=token
    )
    return api.journal.List(request, timeout=TIMEOUT_S)


def _scan(api: Api, kind: str) -> Items:
    lists = [store_service_pb2.ScanList(kind=kind)]
    for frame in api.store.Scan(
        store_service_pb2.StoreServiceScanRequest(workspace=api.workspace, lists=lists), timeout=TIMEOUT_S
    ):
        yield from ((each.id, each) for each in frame.records)
        yield "unreadable", len(frame.unreadable)


def _entries(stream: Any) -> Items:
    for frame in stream:
        yield from ((str(each.number), each) for each in frame.entries)
        yield "unreadable", len(frame.unreadable)


def _changes(stream: Any) -> Items:
    for frame in stream:
        yield from ((f"{each.revision}/{each.ordinal}", each) for each in frame.changes)
        yield "unreadable", len(frame.unreadable)


def _blob(api: Api, digest: str, offset: int, length: int) -> Items:
    request = blob_service_pb2.BlobServiceGetRequest(digest=digest, offset=offset, length=length)
    content = hashlib.sha256()
    for frame in api.blob.Get(request, timeout=TIMEOUT_S):
        content.update(frame.chunk)
    yield "content", content.hexdigest()


def _short(value: Any) -> str:
    data = value.SerializeToString(deterministic=True) if hasattr(value, "SerializeToString") else repr(value).encode()
    return hashlib.sha256(data).hexdigest()


def kinds_of(api: Api) -> tuple[str, ...]:
    """The kinds of which the workspace has records."""
    return tuple(kind for kind in KINDS if api.count(kind))
