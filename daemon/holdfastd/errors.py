"""The daemon's errors: one class for each reaction that a caller may have.

Any layer may raise them; only `rpc/status.py` maps them to gRPC. Programs read `reason` (`ErrorInfo.reason`) and `metadata`
(strings), people read the message, which says what to do.
"""

from __future__ import annotations

VERIFY_AND_RESTORE = "Run verify, and restore a backup."


class HoldfastError(Exception):
    """The base class. Raise its subclasses only."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(HoldfastError):
    """The request is wrong and would fail again: change it."""

    reason = "INVALID_ARGUMENT"


class NotFound(HoldfastError):
    """The request names something that does not exist."""

    reason = "NOT_FOUND"


class AlreadyExists(HoldfastError):
    """The request creates something that already exists."""

    reason = "ALREADY_EXISTS"


class VersionMismatch(HoldfastError):
    """The record has another version than the caller expected: read it again and decide."""

    reason = "VERSION_MISMATCH"


class FailedPrecondition(HoldfastError):
    """The store is not in the state that the request needs: change the state first."""

    reason = "FAILED_PRECONDITION"


class PermissionDenied(HoldfastError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"


class OutOfRange(HoldfastError):
    """A revision or an offset lies past the end."""

    reason = "OUT_OF_RANGE"


class Exhausted(HoldfastError):
    """A limit of the daemon is reached: try again after `retry_delay_s`."""

    reason = "QUEUE_FULL"

    def __init__(self, message: str, *, reason: str | None = None, retry_delay_s: float = 0.0, **metadata: object) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_delay_s = retry_delay_s


class DiskFull(Exhausted):
    """The disk has no room for the write: free some space. Reads still work."""

    reason = "DISK_FULL"

    def __init__(self, message: str, *, reason: str | None = None, retry_delay_s: float = 5.0, **metadata: object) -> None:
        super().__init__(message, reason=reason, retry_delay_s=retry_delay_s, **metadata)


class Stopping(HoldfastError):
    """The daemon is stopping: reconnect and try again."""

    reason = "STOPPING"


class StoreReplaced(Stopping):
    """The daemon's files are no longer those at their paths, so it ends: reconnect and try again. Nothing was acknowledged."""

    reason = "STORE_REPLACED"


class DeadlineExceeded(HoldfastError):
    """The deadline passed before the work began; nothing was applied."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(HoldfastError):
    """The caller cancelled or disconnected; nothing was applied."""

    reason = "CANCELLED"


class DataLoss(HoldfastError):
    """Stored data is damaged: it cannot be read as it was written."""

    reason = "DATA_LOSS"

    @property
    def fault(self) -> str:
        """The message without the advice to run verify, for the output of verify."""
        return str(self).replace(VERIFY_AND_RESTORE, "").strip()


class SetupError(HoldfastError):
    """The daemon cannot start with these settings and this data directory; the message says what to do."""

    reason = "SETUP"
