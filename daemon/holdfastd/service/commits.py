"""StoreService.Commit, StoreService.AllocateId and JournalService.Append: all writes to records and journals."""

from __future__ import annotations

from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec
from holdfastd.model.call import Call
from holdfastd.model.commands import AllocateIds, Commit, Committed
from holdfastd.model.ids import check_name
from holdfastd.model.kinds import KINDS, kind_named
from holdfastd.service.answers import Budget, fill_from_image
from holdfastd.service.reading import Reading
from holdfastd.service.requests import append_of, fingerprint, mutations_of, workspace_of
from holdfastd.writer.writer import Writer

MAX_IDS = 1_000


class Commits:
    """The writing use cases. Thread-safe; every method blocks until the write is durable."""

    def __init__(self, writer: Writer, reading: Reading) -> None:
        self._writer = writer
        self._reading = reading

    def commit(
        self, request: store_service_pb2.StoreServiceCommitRequest, call: Call
    ) -> store_service_pb2.StoreServiceCommitResponse:
        """Applies the request's mutations, whole or not at all."""
        mutations = mutations_of(request)
        response = store_service_pb2.StoreServiceCommitResponse()
        if not mutations:
            response.revision = self._reading.revision(call)
            return response
        committed = self._writer.submit(
            Commit(
                workspace_of(request.workspace),
                check_name(request.actor, "actor"),
                check_name(request.request_id, "request_id"),
                fingerprint(request) if request.request_id else b"",
                mutations,
            ),
            call,
        )
        response.revision = committed.revision
        codec.set_time(response.commit_time, committed.commit_time)
        _fill_results(response, committed, request.return_records)
        return response

    def append(
        self, request: journal_service_pb2.JournalServiceAppendRequest, call: Call
    ) -> journal_service_pb2.JournalServiceAppendResponse:
        """Appends entries to one journal."""
        expected = request.expected_last_number if request.HasField("expected_last_number") else None
        mutation = append_of(request.parent_kind, request.parent_id, request.entries, expected)
        response = journal_service_pb2.JournalServiceAppendResponse()
        if not mutation.rows and expected is None:
            response.revision = self._reading.revision(call)
            return response
        committed = self._writer.submit(
            Commit(
                workspace_of(request.workspace),
                check_name(request.actor, "actor"),
                check_name(request.request_id, "request_id"),
                fingerprint(request) if request.request_id else b"",
                (mutation,),
            ),
            call,
        )
        response.revision = committed.revision
        codec.set_time(response.commit_time, committed.commit_time)
        response.first_number = committed.results[0].first_number
        response.last_number = committed.results[0].last_number
        return response

    def allocate_id(
        self, request: store_service_pb2.StoreServiceAllocateIdRequest, call: Call
    ) -> store_service_pb2.StoreServiceAllocateIdResponse:
        """Hands out ids for good."""
        count = request.count or 1
        if not 1 <= count <= MAX_IDS:
            raise InvalidArgument(f"count is 1 to {MAX_IDS:,}.", reason="VALUE_INVALID", field="count", limit=MAX_IDS)
        allocated = self._writer.submit(
            AllocateIds(
                workspace_of(request.workspace),
                check_name(request.actor, "actor"),
                check_name(request.request_id, "request_id"),
                fingerprint(request) if request.request_id else b"",
                kind_named(request.kind),
                count,
            ),
            call,
        )
        return store_service_pb2.StoreServiceAllocateIdResponse(ids=allocated.ids, revision=allocated.revision)


def _fill_results(response: store_service_pb2.StoreServiceCommitResponse, committed: Committed, return_records: bool) -> None:
    budget = Budget()
    for each in committed.results:
        result = response.results.add(
            kind=each.kind, id=each.id, version=each.version, first_number=each.first_number, last_number=each.last_number
        )
        if return_records and each.image is not None and budget.takes(len(each.image)):
            fill_from_image(result.record, KINDS[each.kind], each.image)
