"""Random commits, valid and invalid, to apply to a model and to a store."""

from __future__ import annotations

import random
from typing import Any

from holdfast.v1 import store_service_pb2
from tests.support import api

Step = tuple[Any, ...]
NAMES = ["A", "B", "C", "D"]
KINDS = ["construct", "session", "checkpoint", "task", "link"]
PARENTS = ["session", "task"]
REQUIRED = {"construct": "name", "task": "title"}


class RandomCommits:
    """Makes steps with few ids, so that they often collide: about one commit in three is invalid."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def commit(self) -> list[Step]:
        return [self._step() for _ in range(self.chance.choice([1, 1, 1, 2, 3, 5]))]

    def _step(self) -> Step:
        make = self.chance.choices([self._insert, self._upsert, self._update, self._append, self._delete], [5, 2, 4, 4, 2])[0]
        return make()

    def _name(self) -> str:
        return self.chance.choice(NAMES)

    def _fields(self, kind: str, *, whole: bool) -> dict[str, Any]:
        """Random fields; with `whole` also those that only an insert may set."""
        fields: dict[str, Any] = {}
        if whole or self.chance.random() < 0.5:
            fields |= {REQUIRED[kind]: self.chance.choice("xyz")} if kind in REQUIRED else {}
        if whole:
            fields |= self._parents(kind)
        if kind in ("session", "checkpoint", "task") and self.chance.random() < 0.5:
            fields["tags"] = self.chance.sample("pqrs", self.chance.randint(1, 3))
        if kind == "task" and self.chance.random() < 0.4:
            fields["blocked_by"] = self.chance.sample(NAMES, self.chance.randint(1, 2))
        return fields

    def _parents(self, kind: str) -> dict[str, Any]:
        if kind == "checkpoint":
            return {"session_id": self._name()}
        if kind == "link":
            ends = [(self.chance.choice(["task", "session", "link"]), self._name()) for _ in range(2)]
            return {"type": "x", "from_kind": ends[0][0], "from_id": ends[0][1], "to_kind": ends[1][0], "to_id": ends[1][1]}
        return {"construct_id": self._name()} if kind != "construct" and self.chance.random() < 0.4 else {}

    def _insert(self) -> Step:
        kind = self.chance.choice(KINDS)
        return "insert", kind, self._name(), self._fields(kind, whole=True)

    def _upsert(self) -> Step:
        kind = self.chance.choice(["construct", "task"])
        fields = self._fields(kind, whole=True)
        fields.pop("construct_id", None)
        return "upsert", kind, self._name(), fields

    def _update(self) -> Step:
        kind = self.chance.choice(["construct", "session", "checkpoint", "task"])
        return "update", kind, self._name(), self._fields(kind, whole=False), self.chance.choice([0, 0, 0, 1, 2, 3])

    def _append(self) -> Step:
        contents = [str(self.chance.random()) for _ in range(self.chance.randint(0, 3))]
        return "append", self.chance.choice(PARENTS), self._name(), contents, self.chance.choice([None, None, None, 0, 3])

    def _delete(self) -> Step:
        return "delete", self.chance.choice(KINDS), self._name(), self.chance.choice([0, 0, 1, 2]), self.chance.random() < 0.6


def mutation(step: Step) -> store_service_pb2.Mutation:
    """The mutation for a step."""
    name, kind, id, *rest = step
    if name == "insert":
        return api.insert(kind, id=id, **rest[0])
    if name == "upsert":
        return api.upsert(kind, id=id, **rest[0])
    if name == "update":
        return api.update(kind, id=id, expected=rest[1], **rest[0])
    if name == "append":
        expected = {} if rest[1] is None else {"expected_last_number": rest[1]}
        return api.append(id, *rest[0], parent_kind=kind, **expected)
    return api.delete(kind, id, version=rest[0], cascade=rest[1])


def fields_of(message: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """The message as the model keeps it: the version, and the fields that the tests set."""
    values = {name: getattr(message, name) for name in wanted}
    return {name: value if isinstance(value, int | str) else list(value) for name, value in values.items()}
