"""The constitution: the rules of a workspace, of which there is one."""

from __future__ import annotations

from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2

ONLY = "constitution"


class ConstitutionWrites(CollectionWrites[record_pb2.Constitution]):
    """Writes the constitution."""

    def delete(self, id: str = ONLY, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes it. Raises NotFound, VersionMismatch."""
        super().delete(id, version=version, cascade=cascade)


class Constitution(ConstitutionWrites, Collection[record_pb2.Constitution]):
    """The constitution of one workspace; `save(content=…)` writes it. Safe in threads."""

    def get(self, id: str = ONLY, /) -> record_pb2.Constitution:
        """The constitution. Raises NotFound when there is none."""
        return super().get(id)

    def exists(self, id: str = ONLY, /) -> bool:
        """Whether there is one."""
        return super().exists(id)
