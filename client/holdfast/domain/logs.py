"""Execution logs: the complete record of a run, written once."""

from __future__ import annotations

import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import KINDS
from holdfast.errors import InvalidArgument, NotFound, ParentNotFound
from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.values import views
from holdfast.values.contexts import decode_context, encode_context
from holdfast.values.filters import both, equal, quoted_time
from holdfast.wire.pages import Listing, OnUnreadable


class LogWrites(CollectionWrites["views.ExecutionLog"]):
    """Writes execution logs. Details are uploaded at once."""

    def store(self, run_id: str, /, *, detail: object = None, **fields: object) -> views.ExecutionLog:
        """Adds the log of a run: `steps`, `summary`, times, and `detail` (bytes, text or a JSON value of any size).

        `workflow_id` and `workflow_version` default to the run's. A log that names its workflow needs no run in the store: its
        `run_id` is then only text. The log is durable when this returns. Raises AlreadyExists when the run has a log,
        ParentNotFound when there is neither the run nor a `workflow_id`, InvalidArgument when the run belongs to another workflow
        or version, and for `detail` the errors of `checkpoints.save` for a context.
        """
        about = self._about_run(run_id, fields)
        return self.create(None, **{**self._stored_detail(detail), **about, "run_id": run_id})

    def _about_run(self, run_id: str, fields: dict[str, object]) -> dict[str, object]:
        try:
            return of_workflow(self._sink.read(KINDS["run"], run_id).workflow, fields)
        except NotFound:
            if fields.get("workflow_id"):
                return fields
            raise ParentNotFound(
                f"There is no run {run_id}. Add the run first, or name the workflow_id to store a log without a run.",
                metadata={"field": "run_id", "kind": "run", "id": run_id},
            ) from None

    def _stored_detail(self, detail: object) -> dict[str, object]:
        """Uploads a log's detail and returns the log's fields that describe it."""
        if detail is None:
            return {}
        content, detail_type = encode_context(detail)
        return {"detail_digest": self._sink.blobs.put(content, kind=self._kind.name).digest, "detail_type": detail_type}


class Logs(LogWrites, Collection["views.ExecutionLog"]):
    """The execution logs of one workspace. A log has the id of its run. Thread-safe."""

    def detail(self, run_id: str, /) -> Any:
        """Returns the detail of a run's log as it was stored: bytes, text, or an equal JSON value; None if it has none.

        Raises NotFound when the run has no log, DataLoss when the detail is damaged.
        """
        found = self.get(run_id)
        if not found.detail_digest:
            return None
        return decode_context(self._sink.blobs.get(found.detail_digest), found.detail_type)

    def query(
        self,
        *,
        workflow_id: str = "",
        version: int = 0,
        status: str = "",
        since: datetime.datetime | Timestamp | None = None,
        until: datetime.datetime | Timestamp | None = None,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.ExecutionLog]:
        """Yields logs by workflow, version, status and the start of the run: from `since`, before `until`.

        A log without a `start_time` is compared by its `create_time`. The other options are those of `Records.list`.
        """
        wanted = both(equal(workflow_id=workflow_id, workflow_version=version, status=status), filter)
        wanted = both(wanted, _began(">=", since) if since is not None else "")
        wanted = both(wanted, _began("<", until) if until is not None else "")
        return self._listed(wanted, order_by, page_size, limit, on_unreadable)

    def recent(
        self, workflow_id: str, version: int | None = None, /, *, limit: int = 10, on_unreadable: OnUnreadable | None = None
    ) -> Listing[views.ExecutionLog]:
        """Yields the last `limit` logs of a workflow, or of one version of it, newest first."""
        if not workflow_id:
            raise TypeError("logs: name the workflow.")
        wanted, newest = equal(workflow_id=workflow_id, workflow_version=version or 0), "create_time desc"
        return self._listed(wanted, newest, 0, limit, on_unreadable)


def of_workflow(workflow: str, fields: dict[str, object]) -> dict[str, object]:
    """Returns the fields of a log with the workflow and version of its run; unchanged if the run has no workflow.

    Raises InvalidArgument when the fields name another workflow or version.
    """
    workflow_id, _, version = workflow.rpartition("@")
    if not workflow_id:
        return fields
    ran: dict[str, object] = {"workflow_id": workflow_id, "workflow_version": int(version)}
    for name, value in ran.items():
        if fields.get(name) not in (None, "", 0, value):
            raise InvalidArgument(
                f"execution_log.{name} is {fields[name]!r}, but the run is of {workflow}.",
                reason="VALUE_INVALID",
                metadata={"field": name},
            )
    return {**fields, **ran}


def _began(operator: str, time: datetime.datetime | Timestamp) -> str:
    moment = quoted_time(time)
    return f"start_time {operator} {moment} OR (start_time = null AND create_time {operator} {moment})"
