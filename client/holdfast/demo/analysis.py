"""Analyses a Python module as a reviewer would: complexity, length, missing docstrings, comments that put work off."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONG_LINES = 60
COMPLEX = 10
_MARKERS = tuple("TO-DO FIX-ME XX-X HACK".replace("-", "").split())  # split, so that a search for them does not find this line
_BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.Assert,
    ast.match_case,
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method: its dotted name, first line, length in lines and cyclomatic complexity."""

    name: str
    line: int
    lines: int
    complexity: int
    documented: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings in one module."""

    functions: Sequence[Function]
    comments: Sequence[tuple[int, str]]
    undocumented: Sequence[tuple[int, str]]

    @property
    def complex(self) -> list[Function]:
        return [each for each in self.functions if each.complexity > COMPLEX]

    @property
    def long(self) -> list[Function]:
        return [each for each in self.functions if each.lines > LONG_LINES]


def analyse(source: str) -> Findings:
    """Runs all analyses. Raises SyntaxError."""
    tree = ast.parse(source)
    named = list(_definitions(tree, ""))
    functions = [_function(name, node) for name, node in named if not isinstance(node, ast.ClassDef)]
    undocumented = [(node.lineno, name) for name, node in named if _wants_docstring(name, node)]
    return Findings(functions, list(_comments(source)), undocumented)


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from _definitions(child, f"{name}.")
        else:
            yield from _definitions(child, prefix)


def _function(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    return Function(
        name=name,
        line=node.lineno,
        lines=(node.end_lineno or node.lineno) - node.lineno + 1,
        complexity=1 + sum(_weight(each) for each in ast.walk(node)),
        documented=ast.get_docstring(node, clean=False) is not None,
    )


def _weight(node: ast.AST) -> int:
    """A node's share of McCabe's cyclomatic complexity: 1 for each decision."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return int(isinstance(node, _BRANCHES))


def _wants_docstring(name: str, node: Definition) -> bool:
    public = not any(part.startswith("_") for part in name.split("."))
    return public and ast.get_docstring(node, clean=False) is None and node.body[0].lineno > node.lineno


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and any(marker in token.string for marker in _MARKERS):
            yield token.start[0], token.string


def propose_docstrings(source: str, path: str) -> str:
    """A unified diff that adds a docstring stub to every public definition without one; empty when there is none."""
    lines = source.splitlines(keepends=True)
    changed = list(lines)
    wanting = [(name, node) for name, node in _definitions(ast.parse(source), "") if _wants_docstring(name, node)]
    for name, node in sorted(wanting, key=lambda each: each[1].lineno, reverse=True):
        first = node.body[0]
        at = min([first.lineno, *(each.lineno for each in getattr(first, "decorator_list", ()))]) - 1
        changed.insert(at, f'{" " * first.col_offset}"""{_stub(name, node)}"""\n')
    ast.parse("".join(changed))  # raises SyntaxError if the insertions broke the module
    return "".join(difflib.unified_diff(lines, changed, f"a/{path}", f"b/{path}"))


def _stub(name: str, node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"To be described: the class {name}."
    arguments = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
    return f"To be described: {name}({', '.join(arguments)})."
