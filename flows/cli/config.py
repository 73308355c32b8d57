"""``cityair config``: what the settings are, and where each comes from."""

import json
from typing import Annotated

import msgspec
import typer

from flows import settings
from flows.cli.options import CityOption
from flows.resources import shipped
from schemas.measured import AIR

app = typer.Typer(help="Show the settings.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Show the settings."""


@app.command("show")
def show_settings(
    city: CityOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole city file, defaults filled in, as JSON.")
    ] = False,
) -> None:
    """Print the limits in force for a city, and what of it the file leaves to the defaults.

    Example:
      cityair config show --city city.toml
    """
    path = city or shipped("gimhae.toml")
    parsed = settings.load_city(path)
    everything = msgspec.to_builtins(parsed)
    everything["parameters"] = {
        name: msgspec.to_builtins(limits) for name, limits in zip(AIR.gridded, parsed.limits(), strict=True)
    }
    if as_json:
        print(json.dumps(everything, ensure_ascii=False, indent=2))
        return
    given = msgspec.toml.decode(path.read_bytes())
    print(f"# {path}: {len(parsed.stations)} stations, {len(parsed.lights)} lights")
    print(f"epoch = {settings.epoch().total_seconds():g}s")
    for table in ("city", "windows", "late", "quality", "parameters"):
        for key, value in everything[table].items():
            origin = "the city file" if key in given.get(table, {}) else "default"
            print(f"{table}.{key} = {json.dumps(value, ensure_ascii=False)}  # {origin}")
