"""Answers that are sent when the writer is done. No thread waits for them. `rpc/handlers.py` delivers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfastd.model.call import Call
from holdfastd.model.commands import Command
from holdfastd.writer.batch import Waiter
from holdfastd.writer.writer import Writer

R = TypeVar("R")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class NeverWaits:
    """A use case that neither reads the store nor blocks, so that it may run in the thread that serves the socket."""

    use_case: Callable[..., Any]

    def __call__(self, request: Any, call: Call) -> Any:
        return self.use_case(request, call)


@dataclass(frozen=True, slots=True)
class Pending(Generic[R, Answer]):
    """A command that is not queued yet, and the function that converts its result to the answer. Call `deliver` once."""

    writer: Writer
    command: Command[R]
    call: Call
    answer: Callable[[R], Answer]

    def deliver(self, succeed: Callable[[Answer], None], fail: Callable[[Exception], None]) -> None:
        """Queues the command. In the writer's thread, calls `succeed` when it is durable or `fail` when it is refused.

        Neither may raise. Raises as `Writer.post` when the command cannot be queued, and then calls neither.
        """

        def tell(waiter: Waiter[R]) -> None:
            try:
                answer = self.answer(waiter.outcome())
            except Exception as error:
                fail(error)
            else:
                succeed(answer)

        self.writer.post(self.command, self.call, tell)
