"""Phase outputs: what the phases of runs and tasks brought forth, by phase and by the variable that later phases know them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast import mutations
from holdfast.collection import Collection
from holdfast.errors import NotFound
from holdfast.filters import both, equal
from holdfast.v1 import record_pb2

PAGE = 1000


class PhaseOutputs(Collection[record_pb2.PhaseOutput]):
    """The phase outputs of one workspace. Safe in threads.

    A run has one for each phase and one for each variable. A task's own, made without a run, has the id `{phase}/{task_id}`.
    """

    def save(self, message: record_pb2.PhaseOutput | None = None, /, **fields: object) -> record_pb2.PhaseOutput:
        """Adds an output, or changes the given fields of the run's (or task's) output of that phase, and returns it as stored.

        Raises ParentNotFound when there is no such run or task, AlreadyExists when another phase of the run has that
        variable, and InvalidArgument.
        """
        return self._committed(mutations.upsert(self._kind, message, placed(message, fields)))

    def get(self, id: str = "", /, *, run_id: str = "", phase: str = "") -> record_pb2.PhaseOutput:
        """The output of that id, or of that phase of a run. Raises NotFound."""
        if id:
            return super().get(id)
        return self._one(run_id, phase=phase)

    def by_var(self, run_id: str, variable: str, /) -> record_pb2.PhaseOutput:
        """The output of a run that is known by a variable. Raises NotFound."""
        return self._one(run_id, variable=variable)

    def all(self, run_id: str, /, *, filter: str = "") -> Iterator[record_pb2.PhaseOutput]:
        """The outputs of a run, oldest first."""
        return self._listed(both(_asked(run_id=run_id), filter), "", PAGE, None)

    def as_map(self, run_id: str, /) -> dict[str, str]:
        """The contents of a run's outputs by their variables; by the phase where there is no variable."""
        return {each.variable or each.phase: each.content for each in self.all(run_id)}

    def for_task(self, task_id: str, /, *, filter: str = "") -> Iterator[record_pb2.PhaseOutput]:
        """The outputs for a task, of every run of it and of none, oldest first."""
        return self._listed(both(_asked(task_id=task_id), filter), "", PAGE, None)

    def exists(self, id: str = "", /, phase: str = "", *, run_id: str = "") -> bool:
        """Whether there is an output of that id, or (`exists(run_id, phase)`) of that phase of a run."""
        if not phase:
            return super().exists(id)
        return self.first(filter=_asked(run_id=run_id or id, phase=phase)) is not None

    def delete(self, id: str = "", /, *, run_id: str = "", phase: str = "", version: int = 0, cascade: bool = False) -> None:
        """Removes the output of that id, or of that phase of a run. Raises NotFound, VersionMismatch."""
        super().delete(id or self._one(run_id, phase=phase).id, version=version, cascade=cascade)

    def _one(self, run_id: str, **wanted: str) -> record_pb2.PhaseOutput:
        if (found := self.first(filter=_asked(run_id=run_id, **wanted))) is not None:
            return found
        named = " and ".join(f"{name} {value}" for name, value in wanted.items())
        raise NotFound(
            f"Run {run_id} has no phase output with {named}.", reason="RECORD_NOT_FOUND", metadata={"kind": "phase_output"}
        )


def placed(message: record_pb2.PhaseOutput | None, fields: Mapping[str, object]) -> dict[str, object]:
    """The fields, with the id of a task's own output, which no run has a place for."""

    def value(name: str) -> object:
        return fields[name] if name in fields else getattr(message, name, "")

    if value("id") or value("run_id") or not value("task_id") or not value("phase"):
        return dict(fields)
    return {**fields, "id": f"{value('phase')}/{value('task_id')}"}


def _asked(**values: str) -> str:
    """A filter for these values, none of which may be missing: an empty filter would mean every output."""
    for name, value in values.items():
        if not value:
            raise TypeError(f"phase_outputs: name the {name}, or an id.")
    return equal(**values)
