"""Assignments from this machine's Python: each is the review of one module of the standard library."""

from __future__ import annotations

import ast
import json
import os
import platform
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.demo.analysis import COMPLEX, LONG_LINES, Findings, Function, analyse, propose_docstrings
from holdfast.demo.assignment import Assignment, Message, Product, Stage

_SMALLEST, _LARGEST = 6_000, 90_000
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo", "encodings", "__pycache__"}


class Library:
    """Reads the modules of the running Python; changes nothing."""

    def __init__(self) -> None:
        self._root = Path(sysconfig.get_paths()["stdlib"])

    @property
    def what(self) -> str:
        return f"review modules of the standard library of Python {platform.python_version()}"

    def names(self, count: int) -> list[str]:
        """Modules spread over the whole library, of a suitable size, that parse."""
        found = sorted(self._modules())
        spread = [found[number * len(found) // count] for number in range(count)] if len(found) > count else found
        return [name for name in dict.fromkeys(spread) if self._parses(name)]

    def _modules(self) -> Iterator[str]:
        for directory, inner, files in os.walk(self._root):
            inner[:] = [each for each in inner if each not in _LEFT_OUT]
            for path in (Path(directory, each) for each in files if each.endswith(".py")):
                if _SMALLEST <= path.stat().st_size <= _LARGEST:
                    yield str(path.relative_to(self._root))

    def _parses(self, name: str) -> bool:
        try:
            ast.parse(self._read(name))
        except (SyntaxError, ValueError):
            return False
        return True

    def _read(self, name: str) -> str:
        with tokenize.open(self._root / name) as file:
            return file.read()

    def prepare(self, name: str) -> Assignment:
        """Reads and analyses one module."""
        source = self._read(name)
        return _review(name, source, analyse(source))


def _review(name: str, source: str, findings: Findings) -> Assignment:
    diff = propose_docstrings(source, name)
    report = _report(name, source, findings)
    tally = {
        "modules": 1,
        "lines": source.count("\n"),
        "functions": len(findings.functions),
        "undocumented": len(findings.undocumented),
        "complex": len(findings.complex),
        "long": len(findings.long),
    }
    stages = (
        Stage("read the module", [Message("prompt", f"Review {name}."), *_tool("read_file", {"path": name}, source)]),
        Stage("list the functions", _tool("list_functions", {"path": name}, "\n".join(map(_line, findings.functions)))),
        Stage("measure complexity", _list("complexity", name, [f"{_line(each)}" for each in findings.complex])),
        Stage("find long functions", _list("long_functions", name, [_line(each) for each in findings.long])),
        Stage("look for docstrings and comments", _list("undocumented", name, _places(findings))),
        Stage(
            "propose docstrings", _tool("propose_docstrings", {"path": name}, diff or "Nothing to propose."), _diffs(name, diff)
        ),
        Stage(
            "write the report", [Message("response", report)], [Product(f"{name}.md", "report", "text/markdown", report.encode())]
        ),
    )
    return Assignment(name, stages, tally, _summary(findings))


def _tool(tool: str, arguments: dict[str, str], result: str) -> list[Message]:
    call = Message("tool_call", json.dumps({"tool": tool, "arguments": arguments}), {"tool": tool})
    return [call, Message("tool_result", result, {"tool": tool})]


def _list(tool: str, name: str, found: Sequence[str]) -> list[Message]:
    """A tool call, and its answer with an entry for each finding."""
    call = Message("tool_call", json.dumps({"tool": tool, "arguments": {"path": name}}), {"tool": tool})
    return [call, *(Message("finding", each, {"tool": tool}) for each in found or ["Nothing."])]


def _diffs(name: str, diff: str) -> list[Product]:
    return [Product(f"{name}.diff", "diff", "text/x-diff", diff.encode())] if diff else []


def _places(findings: Findings) -> list[str]:
    missing = [f"line {line}: {name} has no docstring" for line, name in findings.undocumented]
    return missing + [f"line {line}: {comment}" for line, comment in findings.comments]


def _line(function: Function) -> str:
    return f"line {function.line}: {function.name}, {function.lines} lines, complexity {function.complexity}"


def _summary(findings: Findings) -> str:
    hardest = max(findings.functions, key=lambda each: each.complexity, default=None)
    worst = f", hardest {hardest.name} ({hardest.complexity})" if hardest else ""
    return f"{len(findings.functions)} functions, {len(findings.undocumented)} undocumented{worst}"


def _report(name: str, source: str, findings: Findings) -> str:
    sections = (
        (f"More than {COMPLEX} ways through", [_line(each) for each in findings.complex]),
        (f"More than {LONG_LINES} lines", [_line(each) for each in findings.long]),
        ("Docstrings and comments", _places(findings)),
    )
    lines = [f"# {name}", "", f"{source.count(chr(10))} lines, {_summary(findings)}.", ""]
    for title, found in sections:
        lines += [f"## {title}", "", *(f"- {each}" for each in found or ["none"]), ""]
    return "\n".join(lines)
