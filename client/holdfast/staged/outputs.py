"""Phase outputs and specs in a transaction."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.contract.kinds import Kind
from holdfast.domain.phase_outputs import Owner, PhaseOutputs, own_variable, placed
from holdfast.domain.specs import spec_fields
from holdfast.staged.records import StagedRecords
from holdfast.staged.steps import Steps
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Mutation


class StagedPhaseOutputs(StagedRecords[record_pb2.PhaseOutput]):
    """Phase outputs in a transaction.

    An output that is to go and is found by its phase or its variable is looked for when the method is called: if somebody
    changes it before the commit, the whole transaction fails with VersionMismatch, and if it is gone, with NotFound.
    """

    def __init__(self, steps: Steps, kind: Kind, outputs: PhaseOutputs) -> None:
        super().__init__(steps, kind)
        self._outputs = outputs
        # What this transaction has written; an id is empty when only the daemon knows it.
        self._ids: set[str] = set()
        self._phases: dict[tuple[Owner, str], str] = {}
        self._variables: dict[tuple[str, str], str] = {}

    def create(self, message: record_pb2.PhaseOutput | None = None, /, **fields: object) -> record_pb2.PhaseOutput:
        """Adds an output; as `PhaseOutputs.create`."""
        return super().create(message, **placed(message, fields))

    def save(self, message: record_pb2.PhaseOutput | None = None, /, **fields: object) -> record_pb2.PhaseOutput:
        """Adds an output, or changes the given fields of the one of that phase; as `PhaseOutputs.save`."""
        before = self._holder(message, fields)
        about = placed(message, fields, before)
        if before is not None and before.id != about.get("id"):
            self._delete_found(before)
        return super().save(message, **about)

    def delete(
        self, id: str = "", /, *, run_id: str = "", task_id: str = "", phase: str = "", version: int = 0, cascade: bool = False
    ) -> None:
        """Removes the output of that id, or of that phase of a run, or of a task's own; as `PhaseOutputs.delete`.

        Raises NotFound for the output of a run that this transaction is the first to save: only the commit makes its id.
        """
        if id:
            self._delete(id, version, cascade)
            return
        key = Owner(run_id, task_id), phase
        if known := self._phases.get(key):
            self._delete(known, version, cascade)
            return
        found = self._outputs.get(run_id=run_id, task_id=task_id, phase=phase)
        self._delete_found(found, version, cascade, written=key in self._phases)

    def _holder(self, message: record_pb2.PhaseOutput | None, fields: Mapping[str, object]) -> record_pb2.PhaseOutput | None:
        """What will have the variable of the one to save when its turn comes; as `PhaseOutputs.holder`."""
        if written := self._variables.get(own_variable(message, fields)):
            return record_pb2.PhaseOutput(id=written)
        return self._outputs.holder(message, fields)

    def _delete_found(
        self, found: record_pb2.PhaseOutput, version: int = 0, cascade: bool = False, *, written: bool = False
    ) -> None:
        """Removes an output as it was read; one that this transaction itself writes before has another version by then."""
        expected = 0 if written or found.id in self._ids else found.version
        self._delete(found.id, version or expected, cascade)

    def _delete(self, id: str, version: int, cascade: bool) -> None:
        super().delete(id, version=version, cascade=cascade)
        self._phases = {key: known for key, known in self._phases.items() if known != id}
        self._variables = {key: known for key, known in self._variables.items() if known != id}

    def _staged(self, step: Mutation, record: record_pb2.Record) -> record_pb2.PhaseOutput:
        output = record.phase_output
        self._ids.add(output.id)
        if output.phase and (output.run_id or output.task_id):
            self._phases[Owner(output.run_id, "" if output.run_id else output.task_id), output.phase] = output.id
        if output.task_id and output.variable and not output.run_id:
            self._variables[output.task_id, output.variable] = output.id
        return super()._staged(step, record)


class StagedSpecs:
    """Specs in a transaction."""

    def __init__(self, phase_outputs: StagedPhaseOutputs) -> None:
        self._phase_outputs = phase_outputs

    def save(self, task_id: str, content: str, /, *, run_id: str | None = None, **fields: object) -> record_pb2.PhaseOutput:
        """Writes the spec of a task; as `Specs.save`."""
        return self._phase_outputs.save(None, **spec_fields(task_id, content, run_id, fields))
