"""Shell completion: short scripts that ask the hidden command `_complete`, which knows commands, kinds and ids.

Ids come from a daemon that runs; none is started because somebody pressed Tab. Only ids without characters that mean something
to a shell are offered, for what is offered may be put on the command line as it is.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.cli import exits
from holdfast.cli.commands import COMMANDS, COMMANDS_BY_NAME, GLOBAL_ARGUMENTS, Argument, Command, Offer
from holdfast.cli.options import DEFAULT_WORKSPACE, Options
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.contract.kinds import Kind

IDS_OFFERED = 200
PATIENCE_S = 1.0
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.-]+")

_BASH = """\
_holdfast() {
    local IFS=$'\\n'
    COMPREPLY=($(holdfast _complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    # bash takes a word apart at "=", and completes what is after it
    [[ ${COMP_WORDS[COMP_CWORD]} == = || ${COMP_WORDS[COMP_CWORD-1]} == = ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _holdfast holdfast
"""

_ZSH = """\
#compdef holdfast
_holdfast() {
    local -a offered
    offered=(${(f)"$(holdfast _complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if [[ $offered[1] == *= ]]; then compadd -S '' -a offered
    elif (( $#offered )); then compadd -a offered; else _files; fi
}
if [[ $funcstack[1] == _holdfast ]]; then _holdfast; else compdef _holdfast holdfast; fi
"""

_FISH = """\
function __holdfast_complete
    set -l before (commandline -opc)
    set -e before[1]
    set -l current (commandline -ct)
    holdfast _complete $before "$current" 2>/dev/null
end
complete -c holdfast -f -a '(__holdfast_complete)'
complete -c holdfast -l socket -r -F
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def print_script(options: Options, given: argparse.Namespace) -> int:
    """Prints the script of a shell."""
    print(_SCRIPTS[given.shell], end="")
    return exits.OK


def complete(words: list[str]) -> int:
    """Prints what the last of the words, which stand after `holdfast`, may become; one candidate a line."""
    for each in candidates(words):
        print(each)
    return exits.OK


def candidates(words: list[str]) -> list[str]:
    """What the last word may become."""
    *before, current = _joined(words) or [""]
    line = _read(before)
    return sorted({each for each in _offered(line, current) if each.startswith(current)})


def _joined(words: list[str]) -> list[str]:
    """The words with those together that bash took apart: `status`, `=`, `run` are one."""
    joined: list[str] = []
    glue = False
    for word in words:
        if joined and (glue or word == "="):
            joined[-1] += word
        else:
            joined.append(word)
        glue = word == "="
    return joined


@dataclass
class _Line:
    """What the words before the last one say."""

    command: Command | None = None
    positionals: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    awaiting: Argument | None = None  # an option whose value comes next

    @property
    def arguments(self) -> tuple[Argument, ...]:
        return (*(self.command.arguments if self.command else ()), *GLOBAL_ARGUMENTS)

    @property
    def kind(self) -> Kind | None:
        """The kind that the first word after the command names."""
        from holdfast.cli.kind_names import kind_named

        try:
            return kind_named(self.positionals[0]) if self.positionals else None
        except HoldfastError:
            return None

    def options(self) -> Options:
        """The store to ask for ids."""
        workspace = self.values.get("--workspace", DEFAULT_WORKSPACE)
        return Options(socket=self.values.get("--socket"), workspace=workspace, timeout_s=PATIENCE_S)


def _read(words: Iterable[str]) -> _Line:
    line = _Line()
    for word in words:
        if line.awaiting is not None:
            line.values[line.awaiting.flags[-1]] = word
            line.awaiting = None
        elif word.startswith("-"):
            _read_option(line, word)
        elif line.command is None and word in COMMANDS_BY_NAME:
            line.command = COMMANDS_BY_NAME[word]
        else:
            line.positionals.append(word)
    return line


def _read_option(line: _Line, word: str) -> None:
    name, given, value = word.partition("=")
    option = next((each for each in line.arguments if name in each.flags and each.takes_value), None)
    if option is not None and given:
        line.values[option.flags[-1]] = value
    else:
        line.awaiting = option


def _offered(line: _Line, current: str) -> Iterable[str]:
    if line.awaiting is not None:
        return _values(line, line.awaiting, current)
    if current.startswith("-"):
        return ["--help", *(flag for each in line.arguments if each.is_option for flag in each.flags)]
    if line.command is None:
        return [] if line.positionals else [each.name for each in COMMANDS]
    positionals = [each for each in line.command.arguments if not each.is_option]
    if positionals and positionals[-1].repeats:
        positionals += positionals[-1:] * len(line.positionals)
    return _values(line, positionals[len(line.positionals)], current) if len(line.positionals) < len(positionals) else []


def _values(line: _Line, argument: Argument, current: str) -> Iterable[str]:
    if argument.offer is Offer.SHELLS:
        return list(_SCRIPTS)
    if argument.offer is Offer.COMMANDS:
        return list(COMMANDS_BY_NAME)
    if argument.offer is Offer.NOTHING:
        return []
    from holdfast.cli import field_completion as fields
    from holdfast.cli.graph import LINEAGES
    from holdfast.cli.kind_names import JOURNALS
    from holdfast.contract.kinds import KINDS

    if argument.offer is Offer.KINDS:
        return _spelled(KINDS, current)
    if argument.offer is Offer.JOURNALS:
        return JOURNALS
    if argument.offer is Offer.WATCHED:
        return _spelled([*KINDS, *JOURNALS], current)
    if argument.offer is Offer.GRAPHS:
        return list(LINEAGES)
    if argument.offer is Offer.COLUMNS:
        return fields.columns(line.kind, current)
    if argument.offer is Offer.ORDER:
        return fields.order_keys(line.kind, current)
    if argument.offer is Offer.FIELDS and (found := fields.assignments(line.kind, current)) is not None:
        return found
    return _prefixed_ids(line, argument, current)


def _spelled(names: Iterable[str], current: str) -> list[str]:
    """Names of kinds, with hyphens for those who write hyphens."""
    return [each.replace("_", "-") if "-" in current else each for each in names]


def _prefixed_ids(line: _Line, argument: Argument, current: str) -> Iterable[str]:
    """Ids; after `FIELD=` those of the records that the field refers to."""
    if argument.offer is not Offer.FIELDS:
        return _ids(line.options(), _kinds_of_ids(line, argument), current)
    from holdfast.cli.field_completion import referred_kind

    name, _, text = current.partition("=")
    kind = referred_kind(line.kind, name, line.positionals)
    return (f"{name}={each}" for each in _ids(line.options(), [kind] if kind else [], text))


def _kinds_of_ids(line: _Line, argument: Argument) -> list[str]:
    from holdfast.cli.contents import KINDS_WITH_CONTENT
    from holdfast.cli.graph import LINEAGES

    if argument.offer is Offer.SESSIONS:
        return ["session"]
    if argument.offer is Offer.CONTENTS:
        return [each.name for each in KINDS_WITH_CONTENT]
    if line.kind is None:
        return []
    if argument.offer is Offer.GRAPH_IDS and (lineage := LINEAGES.get(line.kind.name)) is not None and lineage.scope:
        return [lineage.scope_kind] if lineage.scope_kind else []
    return [line.kind.name]


def _ids(options: Options, kinds: list[str], prefix: str) -> Iterator[str]:
    """The first ids that begin like this, or the newest; none when there is no daemon to ask."""
    from holdfast.cli.reach import open_running, records_of
    from holdfast.contract.kinds import KINDS
    from holdfast.values.filters import quoted

    filter, order_by = (f"id >= {quoted(prefix)}", "id") if prefix else ("", "create_time desc")
    try:
        with open_running(options) as store:
            for kind in kinds:
                found = records_of(store, KINDS[kind]).list(filter=filter, order_by=order_by, limit=IDS_OFFERED)
                yield from (each.id for each in found if _PLAIN_ID.fullmatch(each.id))
    except (HoldfastError, OSError):
        return
