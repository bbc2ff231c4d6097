"""The collection classes of kinds with methods of their own: `COLLECTIONS` for the store, `WRITES` for transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.domain.branches import Branches, BranchWrites
from holdfast.domain.comments import Comments
from holdfast.domain.constitution import Constitution, ConstitutionWrites
from holdfast.domain.initiatives import Initiatives, InitiativeWrites
from holdfast.domain.logs import Logs, LogWrites
from holdfast.domain.phase_outputs import PhaseOutputs, PhaseOutputWrites
from holdfast.domain.runs import Runs, RunWrites
from holdfast.domain.tasks import Tasks
from holdfast.domain.workflow_versions import WorkflowWrites
from holdfast.domain.workflows import Workflows
from holdfast.records.artifacts import Artifacts, ArtifactWrites
from holdfast.records.checkpoints import Checkpoints, CheckpointWrites
from holdfast.records.collection import Records
from holdfast.records.writes import RecordWrites

COLLECTIONS: Mapping[str, type[Records[Any]]] = {
    "artifact": Artifacts,
    "branch": Branches,
    "checkpoint": Checkpoints,
    "comment": Comments,
    "constitution": Constitution,
    "execution_log": Logs,
    "initiative": Initiatives,
    "phase_output": PhaseOutputs,
    "run": Runs,
    "task": Tasks,
    "workflow": Workflows,
}
WRITES: Mapping[str, type[RecordWrites[Any]]] = {
    "artifact": ArtifactWrites,
    "branch": BranchWrites,
    "checkpoint": CheckpointWrites,
    "constitution": ConstitutionWrites,
    "execution_log": LogWrites,
    "initiative": InitiativeWrites,
    "phase_output": PhaseOutputWrites,
    "run": RunWrites,
    "workflow": WorkflowWrites,
}
