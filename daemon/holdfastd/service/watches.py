"""StoreService.Watch: replays the changes after a revision, then sends new ones as they are committed."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.contract.kinds import KINDS, STORED_JOURNALS
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import InvalidArgument, OutOfRange
from holdfastd.model import codec
from holdfastd.model.call import Call
from holdfastd.model.mutations import NOTE
from holdfastd.model.names import check_length, kind_named
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, fill_record, frame_bytes
from holdfastd.service.decoding import check_count, workspace_of
from holdfastd.service.feed import Feed, Interest, follow
from holdfastd.service.reading import Reading, Snapshot, with_room
from holdfastd.store import changes
from holdfastd.store.changes import Noted

ROWS_A_FRAME = 500
MAX_NAMES = 1_000
END_OF_REVISION = 2**62
NOTES_SINCE = 4  # the API version


class Watches:
    """Serves Watch. Thread-safe."""

    def __init__(self, reading: Reading, feed: Feed) -> None:
        self._reading = reading
        self._feed = feed

    def watch(self, request: pb.StoreServiceWatchRequest, call: Call) -> Iterator[pb.StoreServiceWatchResponse]:
        """Frames of changes. With `replay_only` the stream ends at the newest revision."""
        cursor = _Cursor(self._reading, request, call)
        if request.replay_only:
            return cursor.frames()
        return follow(self._feed, cursor.interest, call, cursor.frames, cursor.frame)


def _interest(request: pb.StoreServiceWatchRequest) -> Interest:
    """What the request asks for, each name once. INVALID_ARGUMENT for too many names, and for one that nothing can have."""
    check_count(len(request.kinds), MAX_NAMES, "kinds")
    check_count(len(request.ids), MAX_NAMES, "ids")
    interest = Interest(workspace_of(request.workspace), frozenset(request.kinds), frozenset(request.ids))
    for name in interest.kinds:
        if name not in STORED_JOURNALS:
            kind_named(name)
    for id in interest.ids:
        check_length(id, "ids")
    return interest


class _Cursor:
    """A watch's position in the history: every change up to (revision, ordinal) has been sent."""

    def __init__(self, reading: Reading, request: pb.StoreServiceWatchRequest, call: Call) -> None:
        self.interest = _interest(request)
        self._reading = reading
        self._request = request
        self._call = call
        self._place = self._begin()
        self._is_behind = True  # it has not come to the newest revision yet

    def _begin(self) -> tuple[int, int]:
        with self._reading.snapshot(self._call, "") as snapshot:
            newest, oldest = snapshot.revision, changes.oldest_revision(snapshot.connection)
        if self._request.cursor:
            place = _parse_cursor(self._request.cursor)
        elif self._request.HasField("after_revision"):
            place = (self._request.after_revision, END_OF_REVISION)
        else:
            place = (newest, END_OF_REVISION)
        if place[0] < 0:
            raise InvalidArgument(
                "after_revision must not be negative; 0 is the start of the store.",
                reason="VALUE_INVALID",
                field="after_revision",
            )
        if place[0] > newest:
            raise OutOfRange(
                f"Revision {place[0]} does not exist yet: the store is at {newest}. Is this the store that you watched before?",
                reason="REVISION_IN_FUTURE",
                revision=newest,
            )
        if place[0] < oldest:
            raise OutOfRange(
                f"Watches resume after revision {oldest} or later, not {place[0]}. List the records, then watch from there.",
                reason="REVISION_COMPACTED",
                oldest_revision=oldest,
            )
        return place

    def frame(self) -> pb.StoreServiceWatchResponse:
        """A frame without changes that carries the position."""
        revision, ordinal = self._place
        sent = revision if ordinal == END_OF_REVISION else revision - 1
        return pb.StoreServiceWatchResponse(cursor=f"{revision}.{ordinal}", revision=sent)

    def frames(self) -> Iterator[pb.StoreServiceWatchResponse]:
        """The frames of the changes after the position. Moves the position."""
        more = True
        while more:
            frame, more = self._next()
            if frame.changes or (self._request.replay_only and not more):
                yield frame
            self._call.claim.release()  # the frame was sent

    def _next(self) -> tuple[pb.StoreServiceWatchResponse, bool]:
        self._call.is_long = self._is_behind  # a replay of which little matches walks the history

        def read() -> tuple[Snapshot, list[Noted], bool]:
            with self._reading.snapshot(self._call, "") as snapshot:
                noted, more = self._page(snapshot)
                read_until = noted[-1].revision if more else snapshot.revision
                changes.check_revisions(snapshot.connection, self._place[0], read_until)
            self._call.claim.take(frame_bytes([each.change for each in noted]))
            return snapshot, noted, more

        snapshot, noted, more = with_room(read, self._call)
        sent: list[pb.Change] = []
        taken = _fill(noted, sent, self.interest.workspace, self._call.api_version >= NOTES_SINCE)
        more = self._is_behind = more or taken < len(noted)
        self._place = (noted[taken - 1].revision, noted[taken - 1].ordinal) if more else (snapshot.revision, END_OF_REVISION)
        frame = self.frame()
        frame.changes.extend(sent)
        return frame, more

    def _page(self, snapshot: Snapshot) -> tuple[list[Noted], bool]:
        return changes.page(
            snapshot.connection,
            self.interest.workspace,
            self.interest.kinds,
            self.interest.ids,
            self._place,
            snapshot.revision,
            ROWS_A_FRAME,
            MAX_ANSWER_BYTES,
        )


def _parse_cursor(text: str) -> tuple[int, int]:
    revision, _, ordinal = text.partition(".")
    if not (revision.isdecimal() and ordinal.isdecimal() and len(text) < 40):
        raise InvalidArgument("The cursor is not one that a watch gave out.", reason="VALUE_INVALID", field="cursor")
    return int(revision), min(int(ordinal), END_OF_REVISION)


def _fill(noted: list[Noted], sent: list[pb.Change], workspace: str, notes: bool) -> int:
    """Adds changes until the frame is full. Returns the number used. notes: whether the caller knows of them."""
    budget = Budget()
    for taken, each in enumerate(noted):
        if each.change.action == NOTE and not notes:
            continue
        change = _change(each, workspace)
        if not budget.takes(change.ByteSize()):
            return taken
        sent.append(change)
    return len(noted)


def _change(noted: Noted, workspace: str) -> pb.Change:
    each = noted.change
    change = pb.Change(
        revision=noted.revision,
        ordinal=noted.ordinal,
        workspace=workspace,
        kind=each.kind,
        id=each.id,
        action=each.action,  # type: ignore[arg-type]  # the column holds the enum's numbers
        version=each.version,
        parent_kind=each.parent_kind,
        first_number=each.first_number,
        last_number=each.last_number,
        actor=noted.actor,
    )
    codec.set_time(change.commit_time, noted.commit_time)
    if each.image is not None and each.action == NOTE:
        change.parent_kind = ""
        change.note.MergeFromString(each.image)
    elif each.image is not None and each.kind in KINDS:
        fill_record(change.record, KINDS[each.kind], each.id, each.image)
    return change
