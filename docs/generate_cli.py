"""Write `docs/cli.md` from the command line itself: `python docs/generate_cli.py`; `--print` shows it instead."""

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from flows.cli import application

HERE = Path(__file__).parent
EXAMPLE = re.compile(r"([A-Z_]+=\S+ )*(cityair|zcat) ")
"""Beginning of a line of a command's help that is an example: a command, after settings of the environment."""


def page() -> str:
    """Every command with what it does, its arguments and options, and its examples."""
    root = typer.main.get_command(application())
    lines = [
        "# Commands",
        "",
        "Made from the command line itself by `python docs/generate_cli.py`; a test compares.",
        "",
        "Results go to stdout, everything else to stderr. An option given beats its variable. `-h` after any command",
        "shows this in the terminal, `cityair --version` shows the version. What each exit code means stands in",
        "[operations](operations.md#exit-codes).",
    ]
    for name, command in commands(root):
        lines += ["", f"## cityair {name}", "", *section(command)]
    return "\n".join(lines) + "\n"


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, by its full name, in the order of the help."""
    for name, command in group.commands.items():
        if getattr(command, "invoke_without_command", False):
            yield f"{before}{name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def section(command: Any) -> Iterator[str]:
    """Yield the lines about one command."""
    text = [line.strip() for line in cleandoc(command.help).replace("\b", "").splitlines()]
    examples = [line for line in text if EXAMPLE.match(line)]
    prose = " ".join(line for line in text if line and line not in examples and line not in ("Example:", "Examples:"))
    yield from (prose, "", "| argument or option | variable | what it says |", "| --- | --- | --- |")
    for parameter in command.params:
        variable = f"`{parameter.envvar}`" if parameter.envvar else ""
        yield f"| {spelled(parameter)} | {variable} | {meaning(parameter)} |"
    if examples:
        yield from ("", "```sh", *examples, "```")


def spelled(parameter: Any) -> str:
    """A parameter as it is typed."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    return f"`{names}`" if parameter.is_flag else f"`{names} {parameter.name.upper()}`"


def meaning(parameter: Any) -> str:
    """What a parameter does, whether it is required, and its default."""
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    flag = getattr(parameter, "is_flag", False)
    if parameter.required:
        note = " Required."
    elif flag or default in (None, "") or parameter.show_default is False:
        note = ""
    else:
        note = f" Default: {default}."
    return (parameter.help + note).replace("|", "\\|")


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        (HERE / "cli.md").write_text(page(), encoding="utf-8")
