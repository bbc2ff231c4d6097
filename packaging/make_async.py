"""Generates the asynchronous version of the client's records and transcripts, and of their tests, from the synchronous one.

    python packaging/make_async.py [--check]

The synchronous code is written by hand, because it is what ships and should have readable tracebacks. The opposite direction,
from async to sync, would need only deletions (see httpcore's `unasync.py`). This generator has to find out which functions must
be awaited: those that call `Connection.call`, directly or through other functions. `async_rules.py` holds the facts that it
cannot derive. The output goes to `tests/async_client/generated`; it shows that one source serves both, and is not part of the
wheel.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import async_rules as rules

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "tests/async_client/generated"
BANNER = "# Generated from {source} by `make generate-async`. Do not edit.\n"
Function = ast.FunctionDef


class Program:
    """The functions of all sources, and which of them must be awaited."""

    def __init__(self, modules: list[ast.Module]) -> None:
        self.functions: dict[tuple[str, str], Function] = {}
        self.families: list[set[str]] = []  # classes that inherit from each other
        for module in modules:
            for node in module.body:
                if isinstance(node, ast.ClassDef):
                    self._take_class(node)
                elif isinstance(node, Function):
                    self.functions["", node.name] = node
        self.generators = {key for key, each in self.functions.items() if any(map(_is_yield, own_nodes(each)))}
        self.waiting = set(rules.WAITING)
        self._find_waiting()

    def waits(self, call: ast.expr, within: str) -> bool:
        """Whether a call, found in a method of the class `within` (empty: in a function), must be awaited."""
        if not isinstance(call, ast.Call):
            return False
        if isinstance(call.func, ast.Name):
            return ("", call.func.id) in self.waiting - self.generators or _is_next(call)
        if isinstance(call.func, ast.Attribute):
            named = {(owner, call.func.attr) for owner in self._owners(call.func.value, within)}
            return bool(named & (self.waiting - self.generators))
        return False

    def _take_class(self, node: ast.ClassDef) -> None:
        bases = {base.value if isinstance(base, ast.Subscript) else base for base in node.bases}
        family = {node.name, *(base.id for base in bases if isinstance(base, ast.Name) and base.id not in rules.NO_FAMILY)}
        joined = [each for each in self.families if each & family]
        self.families = [each for each in self.families if each not in joined] + [family.union(*joined)]
        for method in node.body:
            if isinstance(method, Function):
                self.functions[node.name, method.name] = method

    def _owners(self, receiver: ast.expr, within: str) -> set[str]:
        """The classes that the receiver of a call may have."""
        if isinstance(receiver, ast.Call):
            receiver = receiver.func  # super()
        name = receiver.attr if isinstance(receiver, ast.Attribute) else receiver.id if isinstance(receiver, ast.Name) else ""
        if name in ("self", "super"):
            return next((each for each in self.families if within in each), set())
        return rules.RECEIVERS.get(name, set())

    def _find_waiting(self) -> None:
        before = -1
        while before != len(self.waiting):
            before = len(self.waiting)
            for (owner, name), function in self.functions.items():
                if any(self.waits(each, owner) or is_iterated(each) for each in own_nodes(function)):
                    self.waiting.add((owner, name))
            for family in self.families:
                self._share(family, {name for owner, name in self.waiting if owner in family})
            for protocol, made in rules.IMPLEMENTATIONS.items():
                family = {protocol, *made}
                methods = {name for owner, name in self.functions if owner == protocol}
                self._share(family, {name for owner, name in self.waiting if owner in family and name in methods})

    def _share(self, family: set[str], names: set[str]) -> None:
        """Marks a method that is awaited in one class as awaited in its whole family: callers do not know the class."""
        self.waiting |= {key for key in self.functions if key[0] in family and key[1] in names}


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, except those of functions and lambdas inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, Function | ast.Lambda):
            yield child
            yield from own_nodes(child)


def _is_yield(node: ast.AST) -> bool:
    return isinstance(node, ast.Yield | ast.YieldFrom)


def is_iterated(node: ast.AST) -> bool:
    """Whether this is a loop over something that is an asynchronous iterator."""
    return isinstance(node, ast.For) and isinstance(node.iter, ast.Attribute) and node.iter.attr in rules.ITERATORS


def _is_next(call: ast.Call) -> bool:
    """Whether this is `next(…)` of an asynchronous iterator."""
    if not isinstance(call.func, ast.Name) or call.func.id != "next":
        return False
    what = call.args[0]
    name = what.attr if isinstance(what, ast.Attribute) else what.id if isinstance(what, ast.Name) else ""
    return name in rules.ITERATORS


class Edits:
    """Replacements in a source text at the positions of its nodes. The rest stays unchanged, including comments."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._starts = [0]
        for line in self._text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._edits: list[tuple[int, int, str]] = []

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def replace(self, start: int, end: int, text: str) -> None:
        self._edits.append((start, end, text))

    def wait_for(self, call: ast.Call, parent: ast.AST) -> None:
        wrapped = isinstance(parent, ast.Attribute | ast.Subscript)
        self.replace(self.start(call), self.start(call), "(await " if wrapped else "await ")
        if wrapped:
            self.replace(self.end(call), self.end(call), ")")

    def drop(self, statement: ast.stmt) -> None:
        first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])
        self.replace(self._starts[first - 1], self._starts[statement.end_lineno or 0], "")

    def loop(self, comprehension: ast.comprehension) -> None:
        place = self._text.rindex(b"for ", 0, self.start(comprehension.target))
        self.replace(place, place, "async ")

    def yield_each(self, statement: ast.Expr, items: ast.expr, *, asynchronous: bool) -> None:
        """`yield from`, which asynchronous generators do not have, as a loop."""
        self.replace(self.start(statement), self.start(items), f"{'async ' if asynchronous else ''}for each in ")
        self.replace(self.end(items), self.end(items), f":\n{' ' * (statement.col_offset + 4)}yield each")

    def text(self) -> str:
        """Applies the edits. At one position, insertions precede a replacement; otherwise the order of the calls counts."""
        made, place = b"", 0
        dropped = [(start, end) for start, end, text in self._edits if not text]
        kept = [each for each in self._edits if not each[2] or not any(a <= each[0] and each[1] <= b for a, b in dropped)]
        for start, end, text in sorted(kept, key=lambda each: (each[0], each[1] > each[0])):
            made += self._text[place:start] + text.encode()
            place = end
        return (made + self._text[place:]).decode()


def source_half(program: Program, text: str) -> str:
    """Returns a module of the client as asynchronous code."""
    edits, module = Edits(text), ast.parse(text)
    for owner in [module, *(each for each in module.body if isinstance(each, ast.ClassDef))]:
        within = owner.name if isinstance(owner, ast.ClassDef) else ""
        for function in (each for each in owner.body if isinstance(each, Function)):
            if (within, function.name) in rules.LEFT_OUT:
                edits.drop(function)
            elif (within, function.name) in program.waiting:
                edits.replace(edits.start(function), edits.start(function), "async ")
                _change_body(program, edits, function, within)
    return _renamed(edits.text(), rules.NAMES)


def _change_body(program: Program, edits: Edits, function: Function, within: str) -> None:
    for node in [function, *own_nodes(function)]:
        if is_iterated(node):
            edits.replace(edits.start(node), edits.start(node), "async ")  # type: ignore[arg-type]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.YieldFrom):
            edits.yield_each(node, node.value.value, asynchronous=program.waits(node.value.value, within))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call) and program.waits(child, within):
                edits.wait_for(child, node)


class TestHalf:
    """Converts a module of tests. It awaits calls of a store's or a transaction's methods, and of helpers that await."""

    def __init__(self, program: Program, text: str) -> None:
        self._methods = {
            name for owner, name in program.waiting - program.generators if owner in rules.TESTED
        } | rules.TESTED_BY_HAND
        self._edits, self._module = Edits(text), ast.parse(text)
        self._helpers: set[str] = set(rules.TEST_HELPERS)

    def text(self) -> str:
        for node in self._module.body:
            if isinstance(node, Function) and ("", node.name) in rules.LEFT_OUT:
                self._edits.drop(node)
            else:
                self._change(node)
        return _renamed(self._edits.text(), rules.TEST_NAMES)

    def _change(self, node: ast.AST, parent: ast.AST | None = None) -> None:
        if isinstance(node, Function):
            for inner in node.body:
                self._change(inner, node)
            if any(self._waits(each) or self._is_loop(each) for each in own_nodes(node)):
                self._helpers.add(node.name)
                self._edits.replace(self._edits.start(node), self._edits.start(node), "async ")
            return
        if self._waits(node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "list":
                self._edits.replace(self._edits.start(node.func), self._edits.end(node.func), "collect")
            if isinstance(node, ast.Call) and parent is not None and not isinstance(parent, ast.Lambda):
                self._edits.wait_for(node, parent)
        if isinstance(node, ast.comprehension) and self._is_loop(node):
            self._edits.loop(node)
        if isinstance(node, ast.With) and any(self._is_transaction(each.context_expr) for each in node.items):
            self._edits.replace(self._edits.start(node), self._edits.start(node), "async ")
        for child in ast.iter_child_nodes(node):
            self._change(child, node)

    def _waits(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Name):
            listed = node.func.id == "list" and bool(node.args) and self._is_iterator(node.args[0])
            return listed or node.func.id in self._helpers
        return isinstance(node.func, ast.Attribute) and node.func.attr in self._methods and _root(node) in rules.TEST_STORES

    def _is_loop(self, node: ast.AST) -> bool:
        return isinstance(node, ast.comprehension | ast.For) and self._is_iterator(node.iter)

    def _is_iterator(self, node: ast.expr) -> bool:
        is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        return is_method and node.func.attr in rules.TEST_ITERATORS and _root(node) in rules.TEST_STORES  # type: ignore[attr-defined]

    def _is_transaction(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "transaction"


def _root(node: ast.AST) -> str:
    """The first name in a chain of attributes and calls."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _renamed(text: str, names: dict[str, str]) -> str:
    for before, after in names.items():
        text = re.sub(before, after, text)
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip() + "\n"


def generated() -> dict[Path, str]:
    """Returns the text of each generated file, by path."""
    sources = {name: (ROOT / "client/holdfast" / name).read_text() for name in rules.SOURCES}
    program = Program([ast.parse(text) for text in sources.values()])
    made = {}
    for name, text in sources.items():
        made[TARGET / name] = BANNER.format(source=f"client/holdfast/{name}") + source_half(program, text)
    for source, target in rules.TESTS.items():
        text = TestHalf(program, (ROOT / source).read_text()).text()
        made[TARGET / target] = BANNER.format(source=source) + text
    return made


def main() -> int:
    """Writes the files. With `--check`, prints those that are out of date instead, and fails if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    check = parser.parse_args().check
    made = generated()
    there = set(TARGET.rglob("*.py"))
    stale = sorted(path for path in there | set(made) if path not in made or path not in there or path.read_text() != made[path])
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date. Run: make generate-async" if check else path.relative_to(ROOT))
        if not check and path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path])
        elif not check:
            path.unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
