"""A model of the store as a dictionary: it gives the expected result of a commit and replays the history."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.v1 import store_service_pb2

Key = tuple[str, str]
OWNED_BY: dict[str, tuple[str, ...]] = {"session": ("construct_id",), "task": ("construct_id",), "checkpoint": ("session_id",)}


class Refused(Exception):
    """The commit must fail; the argument is the reason."""


@dataclass
class Model:
    """Records as dictionaries of the fields that the tests set, entries as lists of texts."""

    records: dict[Key, dict[str, Any]] = field(default_factory=dict)
    journals: dict[Key, list[str]] = field(default_factory=dict)
    deleted: dict[Key, int] = field(default_factory=dict)  # the last versions; a record of that id goes on counting
    revision: int = 0

    def commit(self, steps: Sequence[tuple[Any, ...]]) -> None:
        """Applies all steps or none. Raises Refused."""
        trial = copy.deepcopy(self)
        for name, *arguments in steps:
            getattr(trial, name)(*arguments)
        self.records, self.journals, self.deleted = trial.records, trial.journals, trial.deleted
        self.revision += bool([step for step in steps if step[0] != "append" or step[3]])

    def insert(self, kind: str, id: str, fields: dict[str, Any]) -> None:
        if self.records.get((kind, id)) is not None:
            raise Refused("PARENT_NOT_FOUND" if self._dangles(kind, id, fields) else "ID_TAKEN")
        self._check(kind, id, fields)
        self.records[kind, id] = {"version": 1 + self.deleted.get((kind, id), 0), **copy.deepcopy(fields)}

    def update(self, kind: str, id: str, fields: dict[str, Any], version: int) -> None:
        record = self._expected(kind, id, version)
        self._check(kind, id, fields)
        record.update(copy.deepcopy(fields), version=record["version"] + 1)

    def upsert(self, kind: str, id: str, fields: dict[str, Any]) -> None:
        if (kind, id) in self.records:
            self.update(kind, id, fields, 0)
        else:
            self.insert(kind, id, fields)

    def append(self, kind: str, id: str, contents: list[str], expected: int | None) -> None:
        if (kind, id) not in self.records:
            raise Refused("PARENT_NOT_FOUND")
        entries = self.journals.get((kind, id), [])
        if expected is not None and expected != len(entries):
            raise Refused("VERSION_MISMATCH")
        if contents:
            self.journals[kind, id] = entries + contents

    def delete(self, kind: str, id: str, version: int, cascade: bool) -> None:
        self._expected(kind, id, version)
        hanging = self._owned(kind, id) + self._waiting(id if kind == "task" else "")
        if not cascade and (hanging or self.journals.get((kind, id))):
            raise Refused("HAS_DEPENDENTS")
        self._remove(kind, id)

    def _remove(self, kind: str, id: str) -> None:
        for owned in self._owned(kind, id):
            if owned in self.records:
                self._remove(*owned)
        for waiting in self._waiting(id) if kind == "task" else []:
            record = self.records[waiting]
            record["blocked_by"].remove(id)
            record["version"] += 1
        for link in [key for key, each in self.records.items() if key[0] == "link" and (kind, id) in _ends(each)]:
            if link in self.records:
                self._remove(*link)
        self.journals.pop((kind, id), None)
        self.deleted[kind, id] = self.records.pop((kind, id))["version"]

    def _expected(self, kind: str, id: str, version: int) -> dict[str, Any]:
        if (record := self.records.get((kind, id))) is None:
            raise Refused("RECORD_NOT_FOUND")
        if version and version != record["version"]:
            raise Refused("VERSION_MISMATCH")
        return record

    def _owned(self, kind: str, id: str) -> list[Key]:
        names = {"construct": "construct_id", "session": "session_id"}
        name = names.get(kind)
        return [key for key, each in self.records.items() if name in OWNED_BY.get(key[0], ()) and each.get(str(name)) == id]

    def _waiting(self, id: str) -> list[Key]:
        return [key for key, each in self.records.items() if id and id in each.get("blocked_by", [])]

    def _dangles(self, kind: str, id: str, fields: dict[str, Any]) -> bool:
        named = [(name.removesuffix("_id"), value) for name, value in fields.items() if name in OWNED_BY.get(kind, ()) and value]
        named += [("task", each) for each in fields.get("blocked_by", []) if each != id]
        named += list(_ends(fields)) if kind == "link" else []
        return any(key not in self.records for key in named)

    def _check(self, kind: str, id: str, fields: dict[str, Any]) -> None:
        if self._dangles(kind, id, fields):
            raise Refused("PARENT_NOT_FOUND")
        if kind == "task" and self._reaches(fields.get("blocked_by", []), id):
            raise Refused("DEPENDENCY_CYCLE")

    def _reaches(self, ids: Sequence[str], target: str) -> bool:
        seen, to_do = set(), list(ids)
        while to_do:
            if (id := to_do.pop()) == target:
                return True
            if id not in seen:
                seen.add(id)
                to_do += self.records.get(("task", id), {}).get("blocked_by", [])
        return False


def _ends(link: dict[str, Any]) -> set[Key]:
    return {(link["from_kind"], link["from_id"]), (link["to_kind"], link["to_id"])}


def replay(changes: Sequence[store_service_pb2.Change]) -> tuple[dict[Key, Any], dict[Key, int]]:
    """The records (as messages) and the lengths of the journals after all changes."""
    records: dict[Key, Any] = {}
    lengths: dict[Key, int] = {}
    deleted: dict[Key, int] = {}
    for each in changes:
        action = store_service_pb2.Action.Name(each.action).removeprefix("ACTION_")
        if action in ("APPEND", "DROP"):
            key = (each.parent_kind, each.id)
            assert each.first_number == (lengths.get(key, 0) + 1 if action == "APPEND" else 1)
            lengths[key] = each.last_number if action == "APPEND" else 0
        elif action == "DELETE":
            deleted[each.kind, each.id] = each.version
            assert records.pop((each.kind, each.id)).version == each.version
        else:
            message = getattr(each.record, each.kind)
            before = records.get((each.kind, each.id))
            assert (before is None) == (action == "INSERT")
            last = deleted.get((each.kind, each.id), 0) if before is None else before.version
            assert each.version == message.version == last + 1
            records[each.kind, each.id] = message
    return records, {key: length for key, length in lengths.items() if length}
