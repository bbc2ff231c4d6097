"""The one table that maps our errors to gRPC's codes, and their details to `google.rpc.ErrorInfo`.

An error that is not in the table becomes INTERNAL without details; the log has them.
"""

from __future__ import annotations

import math

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from holdfastd import errors

DOMAIN = "holdfast"
# A message is sent twice, once percent-encoded, and all trailers together must stay below gRPC's limit of 8 KiB.
MAX_MESSAGE_BYTES = 1024
MAX_DETAIL_BYTES = 2048

_CODES: tuple[tuple[type[errors.HoldfastError], grpc.StatusCode], ...] = (
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.VersionMismatch, grpc.StatusCode.ABORTED),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.SetupError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.OutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (errors.Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Stopping, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Cancelled, grpc.StatusCode.CANCELLED),
    (errors.DataLoss, grpc.StatusCode.DATA_LOSS),
)


def code_of(error: errors.HoldfastError) -> grpc.StatusCode:
    """The canonical code of one of our errors."""
    return next((code for known, code in _CODES if isinstance(error, known)), grpc.StatusCode.INTERNAL)


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _info(error: errors.HoldfastError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=error.reason, metadata=error.metadata)
    if info.ByteSize() > MAX_DETAIL_BYTES:
        info.metadata.clear()
    return info


def to_status(error: errors.HoldfastError) -> grpc.Status:
    """The status of an error: code, message, ErrorInfo, and RetryInfo when the error has a time to try again."""
    details = [_packed(_info(error))]
    if isinstance(error, errors.Exhausted) and error.retry_delay_s:
        fraction, whole = math.modf(error.retry_delay_s)
        delay = duration_pb2.Duration(seconds=int(whole), nanos=int(fraction * 1e9))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    status: grpc.Status = rpc_status.to_status(
        status_pb2.Status(code=code_of(error).value[0], message=_cut(error.message), details=details)
    )
    return status


def _cut(message: str) -> str:
    encoded = message.encode(errors="replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return message
    return encoded[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"


def internal() -> grpc.Status:
    """The status of an error that is not ours."""
    return to_status(errors.HoldfastError("The daemon failed during this call; see its log. Nothing was acknowledged."))
