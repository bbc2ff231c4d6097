"""The one answer to a short call, from whichever thread has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from holdfastd import logs
from holdfastd.errors import HoldfastError
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.status import internal, to_status

log = logs.logger(__name__)

Send = Callable[[bytes | None], None]  # an encoded answer and OK; None ends the call with the status that its context has


class Reply:
    """What one short call is answered with, once. Its methods do not raise."""

    __slots__ = ("_context", "_gate", "_method", "_send")

    def __init__(self, context: grpc.ServicerContext, send: Send, gate: Gate, method: str) -> None:
        self._context = context
        self._send = send
        self._gate = gate
        self._method = method

    def succeed(self, answer: Any) -> None:
        """Sends the answer; to a caller who has gone, nothing."""
        try:
            self._send(answer.SerializeToString())
        except Exception as error:
            self.fail(error)
        else:
            self._gate.leave()

    def fail(self, error: Exception) -> None:
        """Sends the error."""
        try:
            refuse(self._context, self._send, error, self._method)
        except Exception:
            log.exception("answer_failed", extra={"method": self._method})
        finally:
            self._gate.leave()


def refuse(context: grpc.ServicerContext, send: Send, error: Exception, method: str) -> None:
    """Ends a call with the status of an error; what nobody foresaw is logged and told as INTERNAL."""
    if isinstance(error, HoldfastError):
        status = to_status(error)
    else:
        log.error("call_failed", extra={"method": method}, exc_info=error)
        status = internal()
    context.set_trailing_metadata(status.trailing_metadata)
    context.set_code(status.code)
    context.set_details(status.details)
    send(None)
