"""Every error that the daemon tells a caller, one class for each thing a caller can do something about.

Raised on every floor, mapped to gRPC by `rpc/status.py` and nowhere else. `reason` is what programs read
(`ErrorInfo.reason`), the message says to people what to do, `metadata` carries the particulars as strings.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """The root. Not raised itself."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(HoldfastError):
    """The request can never work as it is: mend it."""

    reason = "INVALID_ARGUMENT"


class NotFound(HoldfastError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class AlreadyExists(HoldfastError):
    """What the request would make is there already."""

    reason = "ALREADY_EXISTS"


class VersionMismatch(HoldfastError):
    """Somebody else was faster: read again and decide."""

    reason = "VERSION_MISMATCH"


class FailedPrecondition(HoldfastError):
    """The store is not in the state that the request needs: change that first."""

    reason = "FAILED_PRECONDITION"


class OutOfRange(HoldfastError):
    """A revision or offset is past what exists."""

    reason = "OUT_OF_RANGE"


class Exhausted(HoldfastError):
    """A limit of the daemon is reached: try again after `retry_delay_s`."""

    reason = "QUEUE_FULL"

    def __init__(self, message: str, *, reason: str | None = None, retry_delay_s: float = 0.0, **metadata: object) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_delay_s = retry_delay_s


class DiskFull(Exhausted):
    """There is no room for the write: free some. Reads go on."""

    reason = "DISK_FULL"

    def __init__(self, message: str, *, reason: str | None = None, retry_delay_s: float = 5.0, **metadata: object) -> None:
        super().__init__(message, reason=reason, retry_delay_s=retry_delay_s, **metadata)


class Stopping(HoldfastError):
    """The daemon is going down: reconnect and try again."""

    reason = "STOPPING"


class DeadlineExceeded(HoldfastError):
    """The caller's time was up before the work began; nothing was applied."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(HoldfastError):
    """The caller has gone; nothing was applied."""

    reason = "CANCELLED"


class DataLoss(HoldfastError):
    """What was stored can no longer be read as it was stored."""

    reason = "DATA_LOSS"


class SetupError(HoldfastError):
    """The daemon cannot start as it was asked to; the message says what to do."""

    reason = "SETUP"
