"""Every error that the client raises, one class for each thing a caller can do something about.

The daemon's own errors are made from gRPC's by `status.py`; `reason` is what programs read, the message is for people.
"""

from __future__ import annotations

from collections.abc import Mapping


class HoldfastError(Exception):
    """The root of all errors of the client. Not raised itself.

    `reason` says in one word what is wrong (such as `RECORD_NOT_FOUND`), `metadata` holds the particulars as strings.
    """

    reason = "UNKNOWN"

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason:
            self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InternalError(HoldfastError):
    """Something in the daemon went wrong that nobody foresaw; its log has the details."""

    reason = "INTERNAL"


class InvalidArgument(HoldfastError):
    """The request can never work as it is: mend it."""

    reason = "INVALID_ARGUMENT"


class TooLarge(InvalidArgument):
    """Something is over its limit, which `metadata["limit"]` tells in bytes or pieces: put big content into a blob."""

    reason = "TOO_LARGE"


class NotFound(HoldfastError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class WorkspaceNotFound(NotFound):
    """Nobody has written to the workspace yet. The first write makes it."""

    reason = "WORKSPACE_NOT_FOUND"


class BaseNotFound(NotFound):
    """The base of a blob's delta is unknown: send the whole. `checkpoints.save` does so by itself."""

    reason = "BASE_NOT_FOUND"


class AlreadyExists(HoldfastError):
    """What the request would make is there already."""

    reason = "ALREADY_EXISTS"


class VersionMismatch(HoldfastError):
    """Somebody else was faster: read again and decide. `metadata` has `expected` and `actual`."""

    reason = "VERSION_MISMATCH"


class FailedPrecondition(HoldfastError):
    """The store is not in the state that the request needs: change that first."""

    reason = "FAILED_PRECONDITION"


class ParentNotFound(FailedPrecondition):
    """A record that the request refers to does not exist: make it first."""

    reason = "PARENT_NOT_FOUND"


class HasDependents(FailedPrecondition):
    """Other records hang on the one to delete; `metadata` counts them by kind. Pass `cascade=True` to delete them too."""

    reason = "HAS_DEPENDENTS"


class VersionSkew(FailedPrecondition):
    """Client and daemon speak different versions of the API. The message says which of them to upgrade."""

    reason = "API_VERSION_UNSUPPORTED"


class OutOfRange(HoldfastError):
    """A revision or an offset is past what exists."""

    reason = "OUT_OF_RANGE"


class Compacted(OutOfRange):
    """The changes after that revision are gone; `oldest_revision` is the oldest to resume after."""

    reason = "REVISION_COMPACTED"

    @property
    def oldest_revision(self) -> int:
        return int(self.metadata.get("oldest_revision", 0))


class ResourceExhausted(HoldfastError):
    """A limit of the daemon is reached: try again after `retry_delay_s` seconds."""

    reason = "QUEUE_FULL"
    retry_delay_s = 0.0


class DiskFull(ResourceExhausted):
    """There is no room for the write: free some. Reads go on."""

    reason = "DISK_FULL"


class Unavailable(HoldfastError):
    """No daemon answered within the time. Whether a write was applied is not known: read, or repeat it."""

    reason = "UNAVAILABLE"


class StartFailed(Unavailable):
    """The daemon could not be started; the message holds the last lines of its log."""

    reason = "START_FAILED"


class DeadlineExceeded(HoldfastError):
    """The time was up before the daemon answered. Whether a write was applied is not known."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(HoldfastError):
    """The call was cancelled, such as by closing the store in another thread."""

    reason = "CANCELLED"


class Closed(Cancelled):
    """The store, the writer or the transaction was closed before."""

    reason = "CLOSED"


class DataLoss(HoldfastError):
    """What was stored can no longer be read as it was stored. `metadata["digest"]` names the blob."""

    reason = "DATA_LOSS"


class Unimplemented(HoldfastError):
    """The daemon does not know the call: it is older than the client."""

    reason = "UNIMPLEMENTED"


class PermissionDenied(HoldfastError):
    """The daemon does not allow the call."""

    reason = "PERMISSION_DENIED"
