"""Answers and refuses calls: `Reply` sends the answer of a short call; `refuse` sets the status of an error, for all calls."""

from __future__ import annotations

from typing import Any

import grpc

from holdfastd import descriptors, logs
from holdfastd.errors import HoldfastError
from holdfastd.model.budget import Claim, NoRoom
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.message_handlers import Sender
from holdfastd.rpc.status import internal, to_status

ANSWER_COPIES = 2  # grpcio keeps the bytes that it was given beside gRPC's copy until that is written
LARGE_ANSWER_BYTES = 4 * 2**10  # smaller answers are counted with their call (IN_PROGRESS_BYTES)

log = logs.logger(__name__)


class Reply:
    """The answer of one short call. Call `succeed` or `fail` once, from any thread; they do not raise."""

    __slots__ = ("_claim", "_context", "_gate", "_method", "_sender")

    def __init__(self, context: grpc.ServicerContext, sender: Sender, gate: Gate, method: str, claim: Claim) -> None:
        self._claim = claim
        self._context = context
        self._sender = sender
        self._gate = gate
        self._method = method

    def succeed(self, answer: Any) -> None:
        """Sends the answer of a write; nothing when the caller has gone. It is sent whatever the caller's share of memory."""
        try:
            data = answer.SerializeToString()
            if len(data) > LARGE_ANSWER_BYTES:
                claim = self._claim.beside()
                claim.force(ANSWER_COPIES * len(data))
                self._release_when_written(claim)
            self._sender.send(data)
        except Exception as error:
            self.fail(error)
        else:
            self._leave()

    def offer(self, data: bytes) -> None:
        """Sends the encoded answer of a read. RESOURCE_EXHAUSTED when it does not fit into the caller's share of memory."""
        try:
            if len(data) > LARGE_ANSWER_BYTES:
                claim = self._claim.beside()
                self._take(claim, len(data))
                self._release_when_written(claim)
            self._sender.send(data)
        except Exception as error:
            self.fail(error)
        else:
            self._leave()

    def _take(self, claim: Claim, size_bytes: int) -> None:
        """Takes the memory for an answer. When there is none, its connection pauses."""
        if not claim.fits(ANSWER_COPIES * size_bytes):
            self._gate.pauses.begin(claim.holder.connection, size_bytes)
            raise NoRoom(ANSWER_COPIES * size_bytes)

    def fail(self, error: BaseException) -> None:
        """Sends the error."""
        try:
            refuse(self._context, error, self._method)
            self._sender.send(None)
        except Exception:
            log.exception("answer_failed", extra={"method": self._method})
            self._sender.abort()
        finally:
            self._leave()

    def _release_when_written(self, claim: Claim) -> None:
        """A large answer is counted until gRPC has written it, which a caller that does not read may delay."""
        if not self._context.add_callback(claim.release):
            claim.release()

    def _leave(self) -> None:
        self._claim.release()
        self._gate.leave()


def send_refusal(error: BaseException, context: grpc.ServicerContext, sender: Sender, method: str) -> None:
    """Answers a call that was not admitted. Does not raise."""
    try:
        refuse(context, error, method)
        sender.send(None)
    except Exception:
        log.exception("answer_failed", extra={"method": method})
        sender.abort()


def refuse(context: grpc.ServicerContext, error: BaseException, method: str) -> None:
    """Sets the status of the call in its context; the caller of this function then ends the call.

    An error that is not a HoldfastError is logged and becomes INTERNAL.
    """
    error = descriptors.lack(error) or error
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
