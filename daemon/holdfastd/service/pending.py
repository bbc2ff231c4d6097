"""An answer that waits for the writer without a thread."""

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
    """A use case that neither reads the store nor blocks, so it may run in the thread that serves the socket."""

    use_case: Callable[..., Any]

    def __call__(self, request: Any, call: Call) -> Any:
        return self.use_case(request, call)


@dataclass(frozen=True, slots=True)
class Pending(Generic[R, Answer]):
    """A command that is not queued yet, and how its result becomes the answer. Call `deliver` once."""

    writer: Writer
    command: Command[R]
    call: Call
    answer: Callable[[R], Answer]

    def deliver(self, succeed: Callable[[Answer], None], fail: Callable[[Exception], None]) -> None:
        """Queues the command. Calls `succeed` once it is durable or `fail` once it is refused, in the writer's thread.

        Neither may raise. A command that cannot be queued raises here, and then neither is called.
        """

        def tell(waiter: Waiter[R]) -> None:
            try:
                answer = self.answer(waiter.outcome())
            except Exception as error:
                fail(error)
            else:
                succeed(answer)

        self.writer.post(self.command, self.call, tell)
