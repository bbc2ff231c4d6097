"""Translates gRPC's errors into the client's, by code and reason, never by text. No other module does.

The daemon sends `google.rpc.Status` in the trailer `grpc-status-details-bin` with an `ErrorInfo`, and a `RetryInfo`
where trying again later helps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast import errors

DETAILS_KEY = "grpc-status-details-bin"

_BY_CODE: dict[grpc.StatusCode, type[errors.HoldfastError]] = {
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: errors.PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.VersionMismatch,
    grpc.StatusCode.OUT_OF_RANGE: errors.OutOfRange,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DATA_LOSS: errors.DataLoss,
}

_BY_REASON: dict[str, type[errors.HoldfastError]] = {
    each.reason: each
    for each in (
        errors.TooLarge,
        errors.WorkspaceNotFound,
        errors.BaseNotFound,
        errors.ParentNotFound,
        errors.HasDependents,
        errors.VersionSkew,
        errors.Compacted,
        errors.DiskFull,
    )
}


def error_of(failure: grpc.RpcError, method: str = "") -> errors.HoldfastError:
    """The client's error for a failed call, with the daemon's reason and metadata where it sent them."""
    code: grpc.StatusCode = failure.code()
    info, retry_delay_s = _details(failure)
    message = failure.details() or code.name
    if code is grpc.StatusCode.UNIMPLEMENTED and method:
        message = (
            f"The daemon does not know the method {method} ({message}). It is older than this client, or not a Holdfast daemon."
        )
    error = _class_of(code, info.reason)(message, reason=info.reason, metadata=dict(info.metadata))
    if isinstance(error, errors.ResourceExhausted):
        error.retry_delay_s = retry_delay_s
    return error


def _class_of(code: grpc.StatusCode, reason: str) -> type[errors.HoldfastError]:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and not reason:
        return errors.TooLarge  # gRPC's own limit of a message size; the daemon always sends a reason
    if code is grpc.StatusCode.CANCELLED and not reason:
        # A stopping server drops calls that it has not begun. Our own close() is detected earlier.
        return errors.Unavailable
    found = _BY_CODE.get(code, errors.InternalError)
    refined = _BY_REASON.get(reason)
    return refined if refined is not None and issubclass(refined, found) else found


def _details(failure: grpc.RpcError) -> tuple[error_details_pb2.ErrorInfo, float]:
    info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    trailers = dict(cast(Iterable[tuple[str, Any]], failure.trailing_metadata() or ()))
    for detail in _parsed(trailers.get(DETAILS_KEY, b"")).details:
        # Unpack returns False for a message of another type.
        if not detail.Unpack(info):
            detail.Unpack(delay)
    return info, delay.retry_delay.seconds + delay.retry_delay.nanos / 1e9


def _parsed(value: bytes) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(value)
    except DecodeError:
        return status_pb2.Status()
