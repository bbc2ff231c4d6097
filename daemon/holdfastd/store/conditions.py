"""Compiles filters to SQL conditions, for `query.py` and `audits.py`. `model/predicates.py` defines what comparisons mean.

Values and JSON paths are bound, never pasted; names come from the registry. A condition may be NULL where it should be false.
AND, OR and WHERE treat both alike, and negation is `IS NOT TRUE`, so in effect the logic has two values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from holdfast.contract.kinds import JOURNALS, KINDS, Field, FieldType, Kind, Referrer, Shape, reverses
from holdfastd.model.filters import And, Comparison, LiteralKind, Node, Not, Operator, Or
from holdfastd.model.predicates import DONE, LATEST, READY, Predicate, check
from holdfastd.store import vocabularies
from holdfastd.store.dialect import Dialect, Where
from holdfastd.store.sql import quoted


def compile_filter(dialect: Dialect, shape: Shape, node: Node | None, *, alias: str) -> Where:
    """The condition on the rows of the shape's table, which has the name `alias` in the statement.

    Raises InvalidArgument (FIELD_UNKNOWN, FILTER_INVALID) when the filter does not fit the shape.
    """
    if node is None:
        return Where("")
    if KINDS.get(shape.name) is shape or JOURNALS.get(shape.name) is shape:
        return _compile_registered(dialect, shape.name, node, alias)
    return _Compiler(dialect, shape, alias).compile(node)


@lru_cache(maxsize=128)
def _compile_registered(dialect: Dialect, name: str, node: Node, alias: str) -> Where:
    return _Compiler(dialect, KINDS.get(name) or JOURNALS[name], alias).compile(node)


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Compiles filters of one shape, in one engine's dialect."""

    dialect: Dialect
    shape: Shape
    alias: str

    def compile(self, node: Node) -> Where:
        match node:
            case And(operands):
                return _joined(" AND ", map(self.compile, operands))
            case Or(operands):
                return _joined(" OR ", map(self.compile, operands))
            case Not(operand):
                return _negated(self.compile(operand))
            case Comparison():
                return self._comparison(check(self.shape, node))

    def _comparison(self, test: Predicate) -> Where:
        if test.operator is Operator.NOT_EQUAL:
            equal = Predicate(test.field, test.keys, Operator.EQUAL, test.kind, test.operand)
            return _negated(self._comparison(equal))
        if isinstance(self.shape, Kind) and (found := _computed(self.shape, test, self.alias)) is not None:
            return found
        if test.field.repeated:
            return self._member(test)
        if test.keys and test.field.reference is not None:
            return self._through(test, KINDS[test.field.reference.kind])
        return self._column(f"{quoted(self.alias)}.{quoted(test.field.name)}", test)

    def _column(self, column: str, test: Predicate) -> Where:
        if test.field.type is FieldType.JSON:
            return self._json(column, test)
        if test.kind is LiteralKind.NULL:
            return Where(f"{column} IS NULL")
        if test.kind is LiteralKind.ANYTHING:
            return _present(column, test.field)
        if test.field.type is FieldType.STRING:
            return self._string(column, test)
        return Where(f"{column} {_operator(test)} ?", (test.operand,))

    def _member(self, test: Predicate) -> Where:
        table, outer = quoted(f"{self.shape.name}_{test.field.name}"), quoted(self.alias)
        same = f"member.workspace = {outer}.workspace AND member.id = {outer}.id"
        if test.field.member is not None and test.keys:
            inner = Predicate(test.field.member.by_name[test.keys[0]], test.keys[1:], test.operator, test.kind, test.operand)
            found = self._column(f"member.{quoted(inner.field.name)}", inner)
            return Where(f"EXISTS (SELECT 1 FROM {table} AS member WHERE {same} AND {found.sql})", found.parameters)
        if test.kind is LiteralKind.ANYTHING:
            return Where(f"EXISTS (SELECT 1 FROM {table} AS member WHERE {same})")
        return Where(f"EXISTS (SELECT 1 FROM {table} AS member WHERE {same} AND member.value = ?)", (test.operand,))

    def _through(self, test: Predicate, kind: Kind) -> Where:
        """A comparison of a field of the record that a reference names."""
        outer = quoted(self.alias)
        inner = Predicate(kind.by_name[test.keys[0]], test.keys[1:], test.operator, test.kind, test.operand)
        found = self._column(f"target.{quoted(inner.field.name)}", inner)
        same = f"target.workspace = {outer}.workspace AND target.id = {outer}.{quoted(test.field.name)}"
        return Where(f"EXISTS (SELECT 1 FROM {quoted(kind.name)} AS target WHERE {same} AND {found.sql})", found.parameters)

    def _string(self, column: str, test: Predicate) -> Where:
        value = str(test.operand)
        if test.operator is Operator.HAS:
            found = self.dialect.contains(column, value)
        elif test.operator is Operator.EQUAL and not value and test.field.nullable and not test.field.keeps_empty:
            return Where(f"{column} IS NULL")  # such a column never holds '', and this condition can use an index
        else:
            found = Where(f"{column} {_operator(test)} ?", (value,))
        if test.field.nullable and _empty_matches(test.operator, value):
            return Where(f"({found.sql} OR {column} IS NULL)", found.parameters)
        return found

    def _json(self, column: str, test: Predicate) -> Where:
        if test.kind is LiteralKind.ANYTHING:
            return self.dialect.json_present(column, test.keys) if test.keys else Where(f"{column} IS NOT NULL")
        if test.operator is Operator.HAS:
            return self._json_has(column, test)
        found = self.dialect.json_compares(column, test.keys, test.operator.value, test.kind, test.operand)
        if test.kind is LiteralKind.NULL and not test.keys:
            return Where(f"({found.sql} OR {column} IS NULL)", found.parameters)
        return found

    def _json_has(self, column: str, test: Predicate) -> Where:
        element = self.dialect.json_array_has(column, test.keys, test.kind, test.operand)
        if not isinstance(test.operand, str):
            return element
        key = self.dialect.json_present(column, (*test.keys, test.operand))
        text = self.dialect.json_text_contains(column, test.keys, test.operand)
        return _joined(" OR ", (key, element, text))


def _joined(word: str, conditions: Iterable[Where]) -> Where:
    parts = list(conditions)
    sql = "(" + word.join(each.sql for each in parts) + ")"
    return Where(sql, tuple(parameter for each in parts for parameter in each.parameters))


def _negated(condition: Where) -> Where:
    return Where(f"(({condition.sql}) IS NOT TRUE)", condition.parameters)


def _operator(test: Predicate) -> str:
    return "=" if test.operator is Operator.HAS else test.operator.value


def _computed(kind: Kind, test: Predicate, alias: str) -> Where | None:
    """The condition on a field that is computed; None for a column."""
    if test.field is READY:
        return _ready(kind, test, alias)
    if test.field is DONE:
        return _done(kind, test, alias)
    if test.field is LATEST:
        return _latest(kind, test, alias)
    referrer = reverses(kind.name).get(test.field.name)
    return None if referrer is None else _named_by(referrer, test, alias)


def _done(kind: Kind, test: Predicate, alias: str) -> Where:
    done = vocabularies.is_done(kind.vocabularies[0], kind.name, alias)
    return done if _wanted(test) else _negated(done)


def _ready(kind: Kind, test: Predicate, alias: str) -> Where:
    assert kind.readiness is not None
    readiness, outer = kind.readiness, quoted(alias)
    reference = kind.by_name[readiness.waits_for].reference
    assert reference is not None
    # CROSS JOIN makes SQLite start from the record's edges; otherwise it may scan all others for each record
    # (https://sqlite.org/optoverview.html#manual_control_of_query_plans_using_cross_join).
    edges, others = quoted(f"{kind.name}_{readiness.waits_for}"), quoted(reference.kind)
    done = vocabularies.is_done(KINDS[reference.kind].by_name[readiness.status_field], reference.kind, "other")
    waiting = Where(
        f"EXISTS (SELECT 1 FROM {edges} AS edge CROSS JOIN {others} AS other"
        f" WHERE edge.workspace = {outer}.workspace AND edge.id = {outer}.id"
        f" AND other.workspace = edge.workspace AND other.id = edge.value AND NOT {done.sql})",
        done.parameters,
    )
    return _negated(waiting) if _wanted(test) else waiting


def _latest(kind: Kind, test: Predicate, alias: str) -> Where:
    assert kind.numbered is not None
    within, number, outer = quoted(kind.numbered.number_within), quoted(kind.numbered.name), quoted(alias)
    later = Where(
        f"EXISTS (SELECT 1 FROM {quoted(kind.name)} AS later WHERE later.workspace = {outer}.workspace"
        f" AND later.{within} = {outer}.{within} AND later.{number} > {outer}.{number})"
    )
    return _negated(later) if _wanted(test) else later


def _wanted(test: Predicate) -> bool:
    return bool(test.operand) or test.kind is LiteralKind.ANYTHING


def _named_by(referrer: Referrer, test: Predicate, alias: str) -> Where:
    """The records that a list of references names: of one record, or of any. The subquery is the same for each row, so SQLite
    runs it once and looks up what it found."""
    table, outer = quoted(f"{referrer.kind.name}_{referrer.field.name}"), quoted(alias)
    by_id, parameters = ("", ()) if test.kind is LiteralKind.ANYTHING else (" WHERE namer.id = ?", (test.operand,))
    named = f"SELECT namer.workspace, namer.value FROM {table} AS namer{by_id}"
    return Where(f"({outer}.workspace, {outer}.id) IN ({named})", parameters)


def _present(column: str, field: Field) -> Where:
    if field.nullable:
        return Where(f"{column} IS NOT NULL")
    if field.type is FieldType.STRING:
        return Where(f"{column} <> ''")
    return Where(f"{column} <> 0")


def _empty_matches(operator: Operator, value: str) -> bool:
    """Whether the comparison is true for the empty string, and so for unset fields too."""
    match operator:
        case Operator.GREATER:
            return False
        case Operator.LESS:
            return value > ""
        case Operator.LESS_EQUAL:
            return True
        case _:
            return value == ""
