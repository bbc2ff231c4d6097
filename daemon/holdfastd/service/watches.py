"""StoreService.Watch: replays the changes after a revision, then sends new ones as they are committed."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import KINDS, STORED_JOURNALS
from holdfast.v1 import store_service_pb2 as pb
from holdfastd.errors import InvalidArgument, OutOfRange
from holdfastd.model import codec
from holdfastd.model.call import Call
from holdfastd.model.mutations import NOTE, Change
from holdfastd.model.names import check_length, kind_named
from holdfastd.service.answers import MAX_ANSWER_BYTES, Budget, fill_record, frame_bytes
from holdfastd.service.decoding import check_count, workspace_of
from holdfastd.service.feed import Feed, Interest, follow
from holdfastd.service.reading import Reading, Snapshot, with_room
from holdfastd.service.unread import Unread
from holdfastd.store import changes
from holdfastd.store.changes import Damaged, Noted

ROWS_A_FRAME = 500
MAX_NAMES = 1_000
END_OF_REVISION = 2**62
UNREADABLE_SINCE = 4  # the API version in which a watch names a damaged change and goes on
NOTES_SINCE = 4  # the API version


class Watches:
    """Serves Watch. Thread-safe."""

    def __init__(self, reading: Reading, feed: Feed, unread: Unread) -> None:
        self._reading = reading
        self._feed = feed
        self._unread = unread

    def watch(self, request: pb.StoreServiceWatchRequest, call: Call) -> Iterator[pb.StoreServiceWatchResponse]:
        """Frames of changes. With `replay_only` the stream ends at the newest revision."""
        cursor = _Cursor(self._reading, self._unread, request, call)
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

    def __init__(self, reading: Reading, unread: Unread, request: pb.StoreServiceWatchRequest, call: Call) -> None:
        self.interest = _interest(request)
        self._unread = unread
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
            if frame.changes or frame.unreadable or (self._request.replay_only and not more):
                yield frame
            self._call.claim.release()  # the frame was sent

    def _next(self) -> tuple[pb.StoreServiceWatchResponse, bool]:
        self._call.is_long = self._is_behind  # a replay of which little matches walks the history

        def read() -> tuple[Snapshot, list[Noted | Damaged], bool]:
            with self._reading.snapshot(self._call, "") as snapshot:
                noted, more = self._page(snapshot)
                read_until = noted[-1].revision if more else snapshot.revision
                changes.check_revisions(snapshot.connection, self._place[0], read_until)
            self._call.claim.take(frame_bytes([each.change for each in noted if isinstance(each, Noted)]))
            return snapshot, noted, more

        snapshot, noted, more = with_room(read, self._call)
        frame = pb.StoreServiceWatchResponse()
        taken = _fill(noted, frame, self.interest.workspace, self._call.api_version)
        more = self._is_behind = more or taken < len(noted)
        self._place = (noted[taken - 1].revision, noted[taken - 1].ordinal) if more else (snapshot.revision, END_OF_REVISION)
        frame.MergeFrom(self.frame())
        self._unread.note(self.interest.workspace, frame.unreadable)
        return frame, more

    def _page(self, snapshot: Snapshot) -> tuple[list[Noted | Damaged], bool]:
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


def _fill(noted: list[Noted | Damaged], frame: pb.StoreServiceWatchResponse, workspace: str, api_version: int) -> int:
    """Adds changes until the frame is full. Returns the number added.

    Names damaged ones in `unreadable`. To callers of an API version without that field, raises DATA_LOSS when the first is
    damaged, and else ends the frame before it.
    """
    budget = Budget()
    for taken, each in enumerate(noted):
        if isinstance(each, Noted) and each.change.action == NOTE and api_version < NOTES_SINCE:
            continue
        found = _change(each, workspace) if isinstance(each, Noted) else each
        if isinstance(found, Damaged):
            if api_version < UNREADABLE_SINCE and not taken:
                raise changes.damaged(each.revision, each.ordinal)
            if api_version < UNREADABLE_SINCE or not _name(found, frame, budget):
                return taken
        elif budget.takes(found.ByteSize()):
            frame.changes.append(found)
        else:
            return taken
    return len(noted)


def _name(found: Damaged, frame: pb.StoreServiceWatchResponse, budget: Budget) -> bool:
    """Names a damaged change in the frame, if it fits."""
    named = pb.Unreadable(kind=found.kind, id=found.id, reason=found.reason, revision=found.revision, ordinal=found.ordinal)
    if fits := budget.takes(named.ByteSize()):
        frame.unreadable.append(named)
    return fits


def _change(noted: Noted, workspace: str) -> pb.Change | Damaged:
    """The change as a message; Damaged when its image, of a row without checksums, is no message of its kind."""
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
    try:
        _fill_image(change, each)
    except ValueError as error:
        return Damaged(noted.revision, noted.ordinal, each.kind, each.id, f"{error} in the history")
    return change


def _fill_image(change: pb.Change, noted: Change) -> None:
    """Sets the note or the record. Raises ValueError for a damaged image."""
    if noted.image is not None and noted.action == NOTE:
        change.parent_kind = ""  # the history has the action's name there; the note has it, too
        try:
            change.note.MergeFromString(noted.image)
        except DecodeError:
            raise ValueError("its note is damaged") from None
    elif noted.image is not None and noted.kind in KINDS:
        fill_record(change.record, KINDS[noted.kind], noted.id, noted.image)
