"""Renders filter trees as text, for the tests of the filter language and of its SQL."""

from __future__ import annotations

from holdfastd.model.filters import And, Comparison, Literal, LiteralKind, Node, Not, Or


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render_literal(literal: Literal) -> str:
    match literal.kind:
        case LiteralKind.TEXT:
            return quote(str(literal.value))
        case LiteralKind.NULL:
            return "null"
        case LiteralKind.ANYTHING:
            return "*"
        case LiteralKind.BOOLEAN:
            return "true" if literal.value else "false"
        case _:
            return repr(literal.value)


def render(node: Node) -> str:
    """The text of a tree. Every nested AND and OR is in parentheses."""
    match node:
        case And(inner):
            return " AND ".join(render_inside(each) for each in inner)
        case Or(inner):
            return " OR ".join(render_inside(each) for each in inner)
        case Not(inner):
            return f"NOT {render_inside(inner)}"
        case Comparison(path, operator, literal):
            name = ".".join([path[0], *map(quote, path[1:])])
            return f"{name} {operator.value} {render_literal(literal)}"


def render_inside(node: Node) -> str:
    return f"({render(node)})" if isinstance(node, And | Or) else render(node)
