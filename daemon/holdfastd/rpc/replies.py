"""How a call is answered or refused: one `Reply` for each short call, and `refuse`, the one way from an error to a status."""

from __future__ import annotations

from typing import Any

import grpc

from holdfastd import logs
from holdfastd.errors import HoldfastError
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.message_first import Sender
from holdfastd.rpc.status import internal, to_status

log = logs.logger(__name__)


class Reply:
    """The one answer to a short call, from whichever thread has it. Its methods do not raise."""

    __slots__ = ("_context", "_gate", "_method", "_sender")

    def __init__(self, context: grpc.ServicerContext, sender: Sender, gate: Gate, method: str) -> None:
        self._context = context
        self._sender = sender
        self._gate = gate
        self._method = method

    def succeed(self, answer: Any) -> None:
        """Sends the answer. A caller that has gone is sent nothing."""
        try:
            self._sender.send(answer.SerializeToString())
        except Exception as error:
            self.fail(error)
        else:
            self._gate.leave()

    def fail(self, error: BaseException) -> None:
        """Sends the error."""
        try:
            refuse(self._context, error, self._method)
            self._sender.send(None)
        except Exception:
            log.exception("answer_failed", extra={"method": self._method})
            self._sender.abort()
        finally:
            self._gate.leave()


def refuse(context: grpc.ServicerContext, error: BaseException, method: str) -> None:
    """Sets the status that the call ends with; the caller of this then ends it. What is not ours is logged, and INTERNAL."""
    if isinstance(error, HoldfastError):
        status = to_status(error)
    else:
        # A bare RpcError comes from the request stream of a caller that has gone.
        if type(error) is not grpc.RpcError:
            log.error("call_failed", extra={"method": method}, exc_info=error)
        status = internal()
    context.set_trailing_metadata(status.trailing_metadata)
    context.set_code(status.code)
    context.set_details(status.details)
