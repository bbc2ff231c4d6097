"""Errors in the form that the daemon sends, for the fake servers of tests."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from holdfast.wire.status import DETAILS_KEY


def fail(context: Any, code: grpc.StatusCode, reason: str, delay_s: float, **metadata: object) -> None:
    details: list[Any] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(reason=reason, metadata={key: str(value) for key, value in metadata.items()}))
    if delay_s:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=int(delay_s * 1e9))))
    status = status_pb2.Status(code=code.value[0], message="as told", details=[packed(each) for each in details])
    context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
    context.abort(code, "as told")


def packed(message: Any) -> any_pb2.Any:
    result = any_pb2.Any()
    result.Pack(message)
    return result
