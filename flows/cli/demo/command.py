"""The command ``cityair demo``."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from flows.cli.demo.play import gather, play_all
from flows.cli.demo.report import print_facts


def demo(
    folder: Annotated[Path, typer.Option(help="Where to put everything.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep/--fresh", help="Report on what is there, or play it anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts of the report as JSON.")] = False,
) -> None:
    """Play a day of a whole city, with trouble, and two weeks of real air; then show what happened. No broker needed.

    \b
    cityair demo
    cityair demo --keep --json
    """  # noqa: D301, \b keeps these lines apart
    facts = gather(folder, {}) if keep else play_all(folder)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2))
    else:
        print_facts(facts, folder)
