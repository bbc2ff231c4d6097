"""`completion`: prints click's completion scripts, changed so that the shell adds no space after `FIELD=`."""

from __future__ import annotations

import os

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete, split_arg_string

from holdfast.cli import exits
from holdfast.cli.command import command
from holdfast.cli.options import Options

VARIABLE = "_HOLDFAST_COMPLETE"


class Bash(BashComplete):
    """bash splits words at `=` and completes the part after it. So the parts are joined, and the answer is cut to that part."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)\n", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace 2>/dev/null\n"
    )
    _cut = False

    def source(self) -> str:
        """Returns the script without starting bash to ask for its version, as click does."""
        return ShellComplete.source(self)

    def get_completion_args(self) -> tuple[list[str], str]:
        """Returns the words before the one to complete, and that one."""
        position = int(os.environ["COMP_CWORD"])
        given = split_arg_string(os.environ["COMP_WORDS"])[1 : position + 1]
        if position > len(given):
            given.append("")  # the word to complete is empty
        words: list[str] = []
        glue = False
        for word in given:
            self._cut = bool(words) and (glue or word == "=")
            if self._cut:
                words[-1] += word
            else:
                words.append(word)
            glue = word == "="
        return words[:-1], words[-1] if words else ""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Returns the text with which bash replaces the last part."""
        _, assigned, after = item.value.partition("=")
        return f"{item.type},{after if self._cut and assigned else item.value}"


class Zsh(ZshComplete):
    """Adds no space after `FIELD=`."""

    source_template = ZshComplete.source_template.replace(
        'completions+=("$key")',
        'if [[ "$key" == *= ]]; then compadd -U -S "" -- "$key"; else completions+=("$key"); fi',
    )


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": FishComplete}


def complete(cli: click.Command, instruction: str) -> int:
    """Answers a completion script, whose instruction, such as `bash_complete`, is in the environment variable `VARIABLE`."""
    shell = SHELLS.get(instruction.partition("_")[0])
    if shell is None or not instruction.endswith("_complete"):
        return exits.USAGE
    try:
        answer = shell(cli, {"obj": Options()}, "holdfast", VARIABLE).complete()
    except (KeyError, ValueError):  # from COMP_CWORD or COMP_WORDS, which a completion script sets
        return exits.USAGE
    print(answer)
    return exits.OK


@command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)), metavar=f"{{{','.join(SHELLS)}}}", help="the shell")
def print_script(options: Options, shell: str) -> int:
    """Prints the completion script of a shell.

    examples:
      source <(holdfast completion bash)                        for this shell; for all shells, add it to ~/.bashrc
      source <(holdfast completion zsh)                         the same in ~/.zshrc
      holdfast completion fish > ~/.config/fish/completions/holdfast.fish
    """
    root = click.get_current_context().find_root().command
    print(SHELLS[shell](root, {}, "holdfast", VARIABLE).source(), end="")
    return exits.OK
