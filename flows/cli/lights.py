"""``cityair lights``: what the lights of a city show, now, at a time, or over a day; and texts for them to show."""

import sys
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.live import Live
from rich.text import Text

from flows import settings
from flows.broker.connection import servers
from flows.cli.options import CityOption
from flows.cli.render import lights_png
from flows.cli.render.lights_day import day_lines
from flows.cli.render.lights_table import change_line, lights_table
from flows.cli.render.values import has_colour, stdout_console
from flows.resources import index
from schemas.city import City
from schemas.errors import UsageError
from schemas.light import LightMessage
from sinks.catalog import catalog
from sinks.lights import messages
from sinks.lights.board import Board, LightView, follow, to_next_second
from sinks.lights.history import lights_of_day
from sinks.lights.states import LakeStates, StateSource, TopicStates, now

ALL = "all"
WITHDRAWN_FOR = timedelta(hours=1)
"""An empty text needs an end like any other."""

app = typer.Typer()

AT = "Show the lights as they were at this time: RFC 3339, or without an offset in the city's time."
UNTIL = "When the text goes away: RFC 3339, or without an offset in the city's time."


# More than 8 parameters: they are the command's options.
@app.callback(invoke_without_command=True)
def lights(
    ctx: typer.Context,
    lake: Annotated[
        Path | None, typer.Option(envvar="CITYAIR_LAKE", help="Folder of the Delta tables.", show_default=False)
    ] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="Follow the topic, as a light does.")] = False,
    following: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C; look every second.")] = False,
    light: Annotated[str | None, typer.Option(help="One light by its id.", show_default="all")] = None,
    at: Annotated[str | None, typer.Option(help=AT, show_default="now")] = None,
    day: Annotated[str | None, typer.Option(help="A whole day, such as 2026-11-21.", show_default=False)] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the day into this file.", show_default=False)] = None,
    city: CityOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a light; with --follow, one whenever what it shows changes.")
    ] = False,
) -> None:
    """Show the lights as the city sees them: gray once their time is over, whether the pipeline lives or not.

    The clock is this machine's. docs/lights.md has the rules. --city names the lights of a topic; a lake knows its own.

    \b
    cityair lights --lake lake
    cityair lights --kafka --follow
    cityair lights --kafka --follow --json --light light-07
    cityair lights --lake lake --at 2026-11-21T15:00
    cityair lights --lake lake --day 2026-11-21 --png day.png
    """  # noqa: D301, \b keeps these lines apart
    if ctx.invoked_subcommand is not None:
        return
    origin = ctx.get_parameter_source("lake")
    lake_given = origin is not None and origin.name == "COMMANDLINE"
    if kafka and (lake_given or day):
        raise UsageError(f"--kafka and {'--lake' if lake_given else '--day'} exclude each other: choose one")
    if not kafka and lake is None:
        raise UsageError("which lights? give --lake DIR or --kafka")
    if following and (at or day):
        raise UsageError(f"--follow and {'--at' if at else '--day'} exclude each other: choose one")
    if png and not day:
        raise UsageError(f"--png {png} draws a day; name it with --day")
    if day and at:
        raise UsageError("--day and --at exclude each other: choose one")
    if day and lake is not None:
        show_day(lake, day, light, png, as_json=as_json)
        return
    with LakeStates(lake) if lake is not None and not kafka else TopicStates(settings.load_city(city)) as source:
        if following:
            follow_lights(source, light, as_json=as_json)
        else:
            show_lights(source, light, at, as_json=as_json)


def show_lights(source: StateSource, light: str | None, at: str | None, *, as_json: bool) -> None:
    """Print what lights show, now or at a time."""
    zone = ZoneInfo(source.city.city.timezone)
    when = city_time(at, source.city, "--at") if at else None
    board = _board(source, light, when)
    views = board.views((when or now()).astimezone(zone))
    if as_json:
        write_json_lines(views)
        return
    console = stdout_console()
    console.print(lights_table(views, _grade_words(), zone, colour=has_colour(console)))


def follow_lights(source: StateSource, light: str | None, *, as_json: bool) -> None:
    """Print what lights show, and whatever changes of it, until Ctrl-C; on a terminal as a table that lives."""
    zone = ZoneInfo(source.city.city.timezone)
    board = _board(source, light)
    grades, console = _grade_words(), stdout_console()
    colour = has_colour(console)

    def clock() -> datetime:
        return now().astimezone(zone)

    if console.is_terminal and not as_json:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                table = lights_table(board.views(clock()), grades, zone, colour=colour, trouble=source.trouble)
                live.update(table, refresh=True)
                board.update(source.poll(to_next_second()))

    def show(views: list[LightView]) -> None:
        if as_json:
            write_json_lines(views)
        else:
            for view in views:
                console.print(change_line(view, grades, zone, colour=colour))

    views = board.views(clock())
    show(views)
    for changed in follow(source, board, views, clock):
        show(changed)


def _board(source: StateSource, light: str | None, at: datetime | None = None) -> Board:
    """Board of a source's lights as of a time; None: now."""
    board = Board(source.city, light)
    board.update(source.read_all(at))
    _require_light(light, board.light_ids)
    return board


def _require_light(light: str | None, known: list[str]) -> None:
    if light is not None and light not in known:
        raise UsageError(f"--light {light}: unknown; there are {', '.join(known) or 'none'}")


def _grade_words() -> list[str]:
    return index("korea").grades


def write_json_lines(records: Iterable[msgspec.Struct]) -> None:
    """Write an object a line to stdout, at once."""
    for record in records:
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


def show_day(lake: Path, day: str, light: str | None, png: Path | None, *, as_json: bool) -> None:
    """Print a day of a lake's lights, or draw it.

    Raises:
        UsageError: no such day or light, or no picture can be drawn.
    """
    try:
        which = date.fromisoformat(day)
    except ValueError as err:
        raise UsageError(f"--day {day!r}: {err}; write a date such as 2026-11-21") from err
    with catalog.connect(lake) as con:
        shown = lights_of_day(con, which)
        words = con.snapshot.city.light_rules.words
    if light is not None:
        _require_light(light, [each.light_id for each in shown.lights])
        shown = msgspec.structs.replace(shown, lights=[each for each in shown.lights if each.light_id == light])
    grades = _grade_words()
    if png is not None:
        lights_png.draw(shown, words, grades, png)
    if as_json:
        write_json_lines([*shown.lights, *shown.alerts])
        return
    console = stdout_console()
    if png is not None:
        console.print(f"written to {png}")
        return

    def lines(*, short: bool) -> list[Text]:
        return list(day_lines(shown, words, grades, colour=has_colour(console), short=short))

    rows = lines(short=False)
    if max(line.cell_len for line in rows) > console.width:
        rows = lines(short=True)
    for line in rows:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


@app.command()
def say(
    light: Annotated[str, typer.Argument(help=f"Its id; {ALL} for every light of the city.", show_default=False)],
    text: Annotated[str, typer.Argument(help="At most 200 characters; '' withdraws.", show_default=False)],
    until: Annotated[str | None, typer.Option(help=UNTIL, show_default=False)] = None,
    city: CityOption = None,
) -> None:
    """Have a light show a text beside its color, until a time: a forest fire, a heat wave. Ends 0 once it is delivered.

    \b
    cityair lights say light-07 '산불 조심' --until 2026-11-21T18:00
    cityair lights say all '폭염 경보' --until 2026-11-21T18:00+09:00
    cityair lights say light-07 ''
    """  # noqa: D301, \b keeps these lines apart
    known_city = settings.load_city(city)
    known = [each.id for each in known_city.lights]
    if light not in (*known, ALL):
        raise UsageError(f"no light named {light!r}; there are {', '.join([*known, ALL])}")
    if until is None and text:
        raise UsageError("until when? give --until TIME, such as 2026-11-21T18:00: a text without an end is forgotten")
    zone = ZoneInfo(known_city.city.timezone)
    end = city_time(until, known_city, "--until") if until else now().astimezone(zone) + WITHDRAWN_FOR
    if end <= now():
        raise UsageError(f"--until {until} has passed")
    if not all(letter.isprintable() for letter in text):
        raise UsageError(f"{text!r} holds characters that no light can show; write it in one line")
    addressed = known if light == ALL and ALL not in known else [light]
    try:
        texts = [
            msgspec.convert({"light_id": each, "text": text, "valid_until": end}, LightMessage, strict=False)
            for each in addressed
        ]
    except msgspec.ValidationError as err:
        raise UsageError(f"{text!r}: {err}; a light takes at most 200 characters") from err
    topic = messages.send(texts)
    what = f"says {text!r} until {end:%Y-%m-%d %H:%M %Z}" if text else "says nothing of its own any more"
    typer.echo(f"{light} {what}, once the flow reads it: delivered to {topic} on {servers()}")


def city_time(text: str, city: City, option: str) -> datetime:
    """Read a time that a person typed; without an offset it is the city's.

    Raises:
        UsageError: it is no time.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{option} {text!r}: {err}; write for instance 2026-11-21T15:00") from err
    zone = ZoneInfo(city.city.timezone)
    return when.replace(tzinfo=zone) if when.tzinfo is None else when.astimezone(zone)
