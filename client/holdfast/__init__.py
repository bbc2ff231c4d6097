"""Holdfast's client: one durable store that many agents share, reached through its daemon.

    import holdfast

    with holdfast.connect() as store:
        task = store.tasks.create(title="Fix the login")
        store.tasks.update(task.id, status="running", version=task.version)

A name is imported when it is first used. The daemon imports this package for `holdfast.v1` and must not load the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast import testing as testing
    from holdfast.blobs.collection import Blobs as Blobs
    from holdfast.domain.initiatives import InitiativeTasks as InitiativeTasks
    from holdfast.domain.manifest import Manifest as Manifest
    from holdfast.domain.states import State as State
    from holdfast.domain.workflow_diff import WorkflowDiff as WorkflowDiff
    from holdfast.errors import AlreadyExists as AlreadyExists
    from holdfast.errors import Cancelled as Cancelled
    from holdfast.errors import Closed as Closed
    from holdfast.errors import Compacted as Compacted
    from holdfast.errors import DataLoss as DataLoss
    from holdfast.errors import DeadlineExceeded as DeadlineExceeded
    from holdfast.errors import DiskFull as DiskFull
    from holdfast.errors import FailedPrecondition as FailedPrecondition
    from holdfast.errors import HasDependents as HasDependents
    from holdfast.errors import HoldfastError as HoldfastError
    from holdfast.errors import InternalError as InternalError
    from holdfast.errors import InvalidArgument as InvalidArgument
    from holdfast.errors import NotFound as NotFound
    from holdfast.errors import OutOfRange as OutOfRange
    from holdfast.errors import ParentNotFound as ParentNotFound
    from holdfast.errors import PermissionDenied as PermissionDenied
    from holdfast.errors import ResourceExhausted as ResourceExhausted
    from holdfast.errors import StartFailed as StartFailed
    from holdfast.errors import TooLarge as TooLarge
    from holdfast.errors import Unavailable as Unavailable
    from holdfast.errors import Unimplemented as Unimplemented
    from holdfast.errors import VersionMismatch as VersionMismatch
    from holdfast.errors import VersionSkew as VersionSkew
    from holdfast.errors import WorkspaceNotFound as WorkspaceNotFound
    from holdfast.journals.entry_watch import EntryWatch as EntryWatch
    from holdfast.journals.events import Events as Events
    from holdfast.journals.transcripts import Transcripts as Transcripts
    from holdfast.journals.writer import TranscriptWriter as TranscriptWriter
    from holdfast.journals.writer import Writer as Writer
    from holdfast.records.artifacts import Artifacts as Artifacts
    from holdfast.records.checkpoints import Checkpoints as Checkpoints
    from holdfast.records.checkpoints import SavedCheckpoint as SavedCheckpoint
    from holdfast.records.collection import Collection as Collection
    from holdfast.records.watch import Watch as Watch
    from holdfast.store import Store as Store
    from holdfast.store import connect as connect
    from holdfast.transaction import Transaction as Transaction
    from holdfast.values.fields import Json as Json
    from holdfast.values.fields import json_value as json_value
    from holdfast.values.fields import message_of as message_of
    from holdfast.values.fields import plain as plain
    from holdfast.values.filters import quoted as quoted
    from holdfast.values.filters import quoted_time as quoted_time
    from holdfast.values.view import View as View
    from holdfast.wire.cancellation import Cancellation as Cancellation
    from holdfast.wire.pages import Listing as Listing
    from holdfast.wire.pages import Page as Page
    from holdfast.wire.pages import raise_unreadable as raise_unreadable

__version__ = "0.1.0"

_HOMES = {
    "records.artifacts": ("Artifacts",),
    "blobs.collection": ("Blobs",),
    "records.checkpoints": ("Checkpoints", "SavedCheckpoint"),
    "records.collection": ("Collection",),
    "domain.manifest": ("Manifest",),
    "domain.initiatives": ("InitiativeTasks",),
    "domain.states": ("State",),
    "domain.workflow_diff": ("WorkflowDiff",),
    "errors": (
        "AlreadyExists",
        "Cancelled",
        "Closed",
        "Compacted",
        "DataLoss",
        "DeadlineExceeded",
        "DiskFull",
        "FailedPrecondition",
        "HasDependents",
        "HoldfastError",
        "InternalError",
        "InvalidArgument",
        "NotFound",
        "OutOfRange",
        "ParentNotFound",
        "PermissionDenied",
        "ResourceExhausted",
        "StartFailed",
        "TooLarge",
        "Unavailable",
        "Unimplemented",
        "VersionMismatch",
        "VersionSkew",
        "WorkspaceNotFound",
    ),
    "journals.entry_watch": ("EntryWatch",),
    "journals.events": ("Events",),
    "values.filters": ("quoted", "quoted_time"),
    "store": ("Store", "connect"),
    "transaction": ("Transaction",),
    "journals.transcripts": ("Transcripts",),
    "values.fields": ("Json", "json_value", "message_of", "plain"),
    "values.view": ("View",),
    "records.watch": ("Watch",),
    "journals.writer": ("TranscriptWriter", "Writer"),
    "wire.cancellation": ("Cancellation",),
    "wire.pages": ("Listing", "Page", "raise_unreadable"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name == "testing":
        return import_module("holdfast.testing")
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.wire.forks")  # must precede grpc, which reads its environment at import
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
