"""Every error that the client raises, one class for each reaction that a caller can choose.

`wire/status.py` makes them from gRPC's errors. Programs read the class and `reason`; the message is for people.
"""

from __future__ import annotations

from collections.abc import Mapping


class HoldfastError(Exception):
    """The base class of the client's errors. Never raised itself.

    `reason` is a constant that names the cause, such as `RECORD_NOT_FOUND`; `metadata` holds details as strings.
    """

    reason = "UNKNOWN"

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason:
            self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InternalError(HoldfastError):
    """The daemon failed unexpectedly; its log has the details."""

    reason = "INTERNAL"


class InvalidArgument(HoldfastError):
    """The request is invalid and will be refused every time: change it."""

    reason = "INVALID_ARGUMENT"


class TooLarge(InvalidArgument):
    """A part of the request exceeds `metadata["limit"]`, in bytes or items."""

    reason = "TOO_LARGE"


class NotFound(HoldfastError):
    """The record, blob or job that the request names does not exist."""

    reason = "NOT_FOUND"


class WorkspaceNotFound(NotFound):
    """Nothing has been written to the workspace yet. The first write creates it."""

    reason = "WORKSPACE_NOT_FOUND"


class BaseNotFound(NotFound):
    """The store does not have the base of a blob's delta: send the whole content. `checkpoints.save` does this itself."""

    reason = "BASE_NOT_FOUND"


class AlreadyExists(HoldfastError):
    """A record with this id, or with the same values in its unique fields, exists already."""

    reason = "ALREADY_EXISTS"


class VersionMismatch(HoldfastError):
    """The record changed after the caller read it: read it again and decide. `metadata` has `expected` and `actual`."""

    reason = "VERSION_MISMATCH"


class FailedPrecondition(HoldfastError):
    """The store is not in the state that the request needs; the message says what to change first."""

    reason = "FAILED_PRECONDITION"


class ParentNotFound(FailedPrecondition):
    """A record that the request refers to does not exist: create it first."""

    reason = "PARENT_NOT_FOUND"


class HasDependents(FailedPrecondition):
    """Other records refer to the one to delete; `metadata` counts them by kind. With `cascade=True` they are deleted too."""

    reason = "HAS_DEPENDENTS"


class VersionSkew(FailedPrecondition):
    """Client and daemon share no version of the API, or a call needs a newer version than the daemon has.

    The message says which of them to upgrade. `metadata` has the daemon's versions (`min`, `max`) and the client's (`client`).
    For a call that the daemon is too old for, it also has `call`, such as `StoreService.Scan`, and the version that it `needs`;
    such a call is not sent.
    """

    reason = "API_VERSION_UNSUPPORTED"


class OutOfRange(HoldfastError):
    """A revision or an offset lies beyond the newest."""

    reason = "OUT_OF_RANGE"


class Compacted(OutOfRange):
    """The changes after that revision have been removed; `oldest_revision` is the oldest that a watch can resume after."""

    reason = "REVISION_COMPACTED"

    @property
    def oldest_revision(self) -> int:
        return int(self.metadata.get("oldest_revision", 0))


class ResourceExhausted(HoldfastError):
    """The daemon is at a limit, such as the length of its queue: try again after `retry_delay_s` seconds."""

    reason = "QUEUE_FULL"
    retry_delay_s = 0.0


class DiskFull(ResourceExhausted):
    """The disk has no space for the write. Reads still work."""

    reason = "DISK_FULL"


class Unavailable(HoldfastError):
    """No daemon answered in time. A write may or may not have been applied: read, or repeat it."""

    reason = "UNAVAILABLE"


class StartFailed(Unavailable):
    """The daemon could not be started; the message holds the last lines of its log."""

    reason = "START_FAILED"


class DeadlineExceeded(HoldfastError):
    """The daemon did not answer before the deadline. A write may or may not have been applied."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(HoldfastError):
    """The call was cancelled: by `Store.with_cancellation`, or because another thread closed the store.

    A write may or may not have been applied, unless `metadata["sent"]` is "no". `metadata["request_id"]` is its request id.
    """

    reason = "CANCELLED"


class Closed(Cancelled):
    """The store, the writer or the transaction is closed."""

    reason = "CLOSED"


class DataLoss(HoldfastError):
    """Stored content is missing or damaged. `metadata["digest"]` names the blob."""

    reason = "DATA_LOSS"


class Unimplemented(HoldfastError):
    """The daemon does not know the method, which the message names, though it speaks the API version that added it."""

    reason = "UNIMPLEMENTED"


class PermissionDenied(HoldfastError):
    """The daemon does not allow the call."""

    reason = "PERMISSION_DENIED"
