"""StoreService.Commit, StoreService.AllocateId and JournalService.Append: all writes to records and journals."""

from __future__ import annotations

from holdfast.contract.kinds import KINDS
from holdfast.v1 import journal_service_pb2, store_service_pb2
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec
from holdfastd.model.call import Call
from holdfastd.model.commands import Allocated, AllocateIds, Commit, Committed
from holdfastd.model.names import check_name, kind_named
from holdfastd.service.answers import Budget, fill_record
from holdfastd.service.decoding import append_of, fingerprint, mutations_of, workspace_of
from holdfastd.service.pending import Pending
from holdfastd.writer.writer import Writer

MAX_IDS = 1_000

WriteRequest = (
    store_service_pb2.StoreServiceCommitRequest
    | journal_service_pb2.JournalServiceAppendRequest
    | store_service_pb2.StoreServiceAllocateIdRequest
)


class Commits:
    """The writing use cases. Each returns a `Pending`, which is answered when its command is durable. Thread-safe."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def commit(
        self, request: store_service_pb2.StoreServiceCommitRequest, call: Call
    ) -> Pending[Committed, store_service_pb2.StoreServiceCommitResponse] | store_service_pb2.StoreServiceCommitResponse:
        """Applies the request's mutations, whole or not at all."""
        mutations = mutations_of(request, call.api_version)
        if not mutations:
            return store_service_pb2.StoreServiceCommitResponse(revision=self._writer.revision)
        return_records = request.return_records  # copied, so that `answer` does not keep the whole request in memory

        def answer(committed: Committed) -> store_service_pb2.StoreServiceCommitResponse:
            response = store_service_pb2.StoreServiceCommitResponse(revision=committed.revision)
            codec.set_time(response.commit_time, committed.commit_time)
            _fill_results(response, committed, return_records and _has_room(committed, call))
            return response

        return Pending(self._writer, Commit(*_who(request), mutations, call.peer), call, answer)

    def append(
        self, request: journal_service_pb2.JournalServiceAppendRequest, call: Call
    ) -> Pending[Committed, journal_service_pb2.JournalServiceAppendResponse] | journal_service_pb2.JournalServiceAppendResponse:
        """Appends entries to one journal."""
        expected = request.expected_last_number if request.HasField("expected_last_number") else None
        mutation = append_of(request.parent_kind, request.parent_id, request.entries, expected)
        if not mutation.rows and expected is None:
            return journal_service_pb2.JournalServiceAppendResponse(revision=self._writer.revision)

        def answer(committed: Committed) -> journal_service_pb2.JournalServiceAppendResponse:
            (result,) = committed.results
            response = journal_service_pb2.JournalServiceAppendResponse(
                revision=committed.revision, first_number=result.first_number, last_number=result.last_number
            )
            codec.set_time(response.commit_time, committed.commit_time)
            return response

        return Pending(self._writer, Commit(*_who(request), (mutation,), call.peer), call, answer)

    def allocate_id(
        self, request: store_service_pb2.StoreServiceAllocateIdRequest, call: Call
    ) -> Pending[Allocated, store_service_pb2.StoreServiceAllocateIdResponse]:
        """Allocates ids; a later call never gets the same ones."""
        count = request.count or 1
        if not 1 <= count <= MAX_IDS:
            raise InvalidArgument(f"count is 1 to {MAX_IDS:,}.", reason="VALUE_INVALID", field="count", limit=MAX_IDS)

        def answer(allocated: Allocated) -> store_service_pb2.StoreServiceAllocateIdResponse:
            return store_service_pb2.StoreServiceAllocateIdResponse(ids=allocated.ids, revision=allocated.revision)

        return Pending(self._writer, AllocateIds(*_who(request), kind_named(request.kind), count), call, answer)


def _who(request: WriteRequest) -> tuple[str, str, str, bytes]:
    """Workspace, actor, request id and fingerprint."""
    return (
        workspace_of(request.workspace),
        check_name(request.actor, "actor"),
        check_name(request.request_id, "request_id"),
        fingerprint(request) if request.request_id else b"",
    )


def _has_room(committed: Committed, call: Call) -> bool:
    """Takes memory for the records of the answer: the message and its encoding. A caller over its share gets it without them."""
    return call.claim.fits(2 * sum(len(each.image) for each in committed.results if each.image is not None))


def _fill_results(response: store_service_pb2.StoreServiceCommitResponse, committed: Committed, return_records: bool) -> None:
    budget = Budget()
    for each in committed.results:
        result = response.results.add(
            kind=each.kind, id=each.id, version=each.version, first_number=each.first_number, last_number=each.last_number
        )
        if return_records and each.image is not None and budget.takes(len(each.image)):
            fill_record(result.record, KINDS[each.kind], each.id, each.image)
