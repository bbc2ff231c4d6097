"""The constitution: the rules of a workspace. Each workspace has at most one."""

from __future__ import annotations

from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.values import views

ONLY = "constitution"


class ConstitutionWrites(CollectionWrites["views.Constitution"]):
    """Writes the constitution."""

    def delete(self, id: str = ONLY, /, *, version: int = 0, cascade: bool = False) -> None:
        """Deletes the constitution. Raises NotFound, VersionMismatch."""
        super().delete(id, version=version, cascade=cascade)


class Constitution(ConstitutionWrites, Collection["views.Constitution"]):
    """The constitution of one workspace; `save(content=…)` writes it. Thread-safe."""

    def get(self, id: str = ONLY, /) -> views.Constitution:
        """The constitution. Raises NotFound when there is none."""
        return super().get(id)

    def exists(self, id: str = ONLY, /) -> bool:
        """Whether the workspace has a constitution."""
        return super().exists(id)
