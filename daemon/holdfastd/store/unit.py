"""The unit of work: one commit while it is applied. `store/commits.py` and `store/loads.py` make one for each revision."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec
from holdfastd.model.mutations import DELETE, Change, Result
from holdfastd.store import changes, loading
from holdfastd.store.engine import Connection
from holdfastd.store.ledger import Ledger

# Each update adds the whole record to the history, so a few small updates of a large record make a large commit.
MAX_COMMIT_IMAGE_BYTES = 64 * 2**20


@dataclass(slots=True)
class Unit:
    """One commit while it is applied."""

    connection: Connection
    ledger: Ledger
    workspace: str
    revision: int
    now_ns: int
    changes: list[Change] = field(default_factory=list)
    image_bytes: int = 0
    deleted: dict[tuple[str, str], int] = field(default_factory=dict)  # kind and id → the last version, of this commit

    def last_version(self, kind: Kind, id: str, newest: int) -> int:
        """The last version of the deleted record that had this id; 0 if there was none.

        newest: the action of its newest change in the history; 0: none.
        """
        version = self.deleted.get((kind.name, id)) or self.ledger.last_version(self.workspace, kind.name, id)
        if version is None and newest:
            last = next(changes.of_record(self.connection, self.workspace, kind.name, id), None)
            version = None if last is None else last.version
        return version or 0

    def stamp(self, message: RecordMessage) -> None:
        """Gives the message its next version and the time of this commit."""
        message.version += 1
        codec.set_time(message.update_time, self.now_ns)

    def record(self, kind: Kind, action: int, message: RecordMessage, image: bytes) -> Result:
        """Adds the change of a record."""
        change = Change(kind.name, message.id, action, version=message.version, image=image)
        self.changes.append(change)
        self.count_image(image)
        return Result(kind.name, change.id, change.version, image=change.image, ordinal=len(self.changes) - 1)

    def count_image(self, image: bytes) -> None:
        """Counts an image of the history. INVALID_ARGUMENT (TOO_LARGE) when the commit's are too large together."""
        self.image_bytes += len(image)
        if self.image_bytes > MAX_COMMIT_IMAGE_BYTES:
            raise InvalidArgument(
                f"The records of this commit have more than {MAX_COMMIT_IMAGE_BYTES:,} bytes in total. Split it.",
                reason="TOO_LARGE",
                limit=MAX_COMMIT_IMAGE_BYTES,
            )

    def check_absent(self, kind: Kind, id: str, newest: int) -> None:
        """Call when the table has no such record. DATA_LOSS (RECORD_DAMAGED) when the history has it: an index hides it.

        newest: the action of its newest change in the history; 0: none.
        """
        if newest not in (0, DELETE):
            unwritten = self.ledger.unwritten(self.workspace, kind.name, id, "")
            if unwritten is None or unwritten[0] != DELETE:
                raise loading.hidden(kind, id)

    def newest(self, kind: Kind, id: str) -> int:
        """The action of the newest change of a record in the history; 0: none."""
        return changes.newest_of_record(self.connection, self.workspace, kind.name, id)
