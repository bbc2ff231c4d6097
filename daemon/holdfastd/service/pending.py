"""An answer that waits for the writer: who asked keeps no thread for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfastd.model.call import Call
from holdfastd.writer.waiter import Waiter
from holdfastd.writer.writer import Writer

Answer = TypeVar("Answer")
UseCase = TypeVar("UseCase", bound=Callable[..., Any])


def never_waits(use_case: UseCase) -> UseCase:
    """Marks a use case that reads nothing and waits for nobody: it may run in the thread that serves the socket."""
    use_case.never_waits = True  # type: ignore[attr-defined]
    return use_case


@dataclass(frozen=True, slots=True)
class Pending(Generic[Answer]):
    """A command, and how its result is answered. Nothing happens before `deliver`, which is called once."""

    writer: Writer
    command: object
    call: Call
    answer: Callable[[Any], Answer]

    def deliver(self, succeed: Callable[[Answer], None], fail: Callable[[Exception], None]) -> None:
        """Calls one of the two when the command is durable or refused, in the writer's thread; neither may raise.

        Raises what keeps the command out of the queue; then neither is called.
        """

        def tell(waiter: Waiter) -> None:
            try:
                answer = self.answer(waiter.outcome())
            except Exception as error:
                fail(error)
            else:
                succeed(answer)

        self.writer.post(self.command, self.call, tell)
