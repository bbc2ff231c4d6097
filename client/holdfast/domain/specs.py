"""Specs: a task's specification as text. A spec is the output of the phase `spec`."""

from __future__ import annotations

from holdfast.domain.phase_outputs import PhaseOutputs, PhaseOutputWrites
from holdfast.errors import NotFound
from holdfast.values import views
from holdfast.values.filters import equal

PHASE = "spec"


class SpecWrites:
    """Writes specs."""

    def __init__(self, phase_outputs: PhaseOutputWrites) -> None:
        self._phase_outputs = phase_outputs

    def save(
        self, task_id: str, content: str, /, *, run_id: str | None = None, version: int | None = None, **fields: object
    ) -> views.PhaseOutput:
        """Writes the spec of a task, or with `run_id` of one of its runs; replaces an earlier one, which must have `version`.

        The content has any size.
        Raises ParentNotFound when the task or the run does not exist, VersionMismatch, and InvalidArgument, also when the run
        belongs to another task.
        """
        about = {"run_id": run_id} if run_id else {}
        values = {"task_id": task_id, "phase": PHASE, "content": content, **about, **fields}
        return self._phase_outputs.save(None, version=version, **values)


class Specs(SpecWrites):
    """The specs of one workspace's tasks. Thread-safe."""

    def __init__(self, phase_outputs: PhaseOutputs) -> None:
        super().__init__(phase_outputs)
        self._stored = phase_outputs

    def get(self, task_id: str, /) -> str | None:
        """Returns the text of the task's spec that was written last; None if there is none. Raises DataLoss if it is damaged."""
        found = self._last(task_id)
        return None if found is None else self._stored.text(found)

    def get_full(self, task_id: str, /) -> views.PhaseOutput:
        """Returns the task's spec that was written last, as a record. Raises NotFound, DataLoss."""
        found = self._last(task_id)
        if found is None:
            raise NotFound(f"Task {task_id} has no spec.", reason="RECORD_NOT_FOUND", metadata={"kind": "phase_output"})
        return found

    def exists(self, task_id: str, /) -> bool:
        """Whether the task has a spec. Raises DataLoss if it has one that cannot be read."""
        return self._last(task_id) is not None

    def _last(self, task_id: str) -> views.PhaseOutput | None:
        return self._stored.first(filter=_of(task_id), order_by="update_time desc")


def _of(task_id: str) -> str:
    if not task_id:
        raise TypeError("specs: name the task.")
    return equal(task_id=task_id, phase=PHASE)
