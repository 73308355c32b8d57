"""``cityair lights``: what the lights of a city show, now, at a time, or over a day; and words for them to show."""

import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from flows import settings
from flows.broker.connection import servers
from flows.cli.demo import lights_png
from flows.resources import index
from schemas.city import City
from schemas.errors import UsageError
from schemas.light import LightMessage
from sinks.catalog import catalog
from sinks.kafka.producer import Publisher
from sinks.lights import history as lights_day
from sinks.lights.board import Board, Seen, changed, row, table
from sinks.lights.states import Lake, Topic, now

MESSAGES = "env.light.message.v1"
ALL = "all"
WIDE = 10_000
"""Characters a line may have where no one looks at it through a window."""
WITHDRAWN_FOR = timedelta(hours=1)
"""An empty text needs an end like any other."""

app = typer.Typer()

CityFile = Annotated[
    Path | None, typer.Option("--city", envvar="CITYAIR_CITY", help="City file.", show_default="the shipped Gimhae")
]
AT = "Show the lights as they were at this time: RFC 3339, or without an offset in the city's time."
UNTIL = "When the text goes away: RFC 3339, or without an offset in the city's time."


@app.callback(invoke_without_command=True)
def lights(
    ctx: typer.Context,
    lake: Annotated[
        Path | None, typer.Option(envvar="CITYAIR_LAKE", help="Folder of the Delta tables.", show_default=False)
    ] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="Follow the topic, as a light does.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C; look every second.")] = False,
    light: Annotated[str | None, typer.Option(help="One light by its id.", show_default="all")] = None,
    at: Annotated[str | None, typer.Option(help=AT, show_default="now")] = None,
    day: Annotated[str | None, typer.Option(help="A whole day, such as 2026-11-21.", show_default=False)] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the day into this file.", show_default=False)] = None,
    city: CityFile = None,
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
    source = ctx.get_parameter_source("lake")
    given = source is not None and source.name == "COMMANDLINE"
    if kafka and (given or day):
        raise UsageError(f"--kafka and {'--lake' if given else '--day'} exclude each other: choose one")
    if not kafka and lake is None:
        raise UsageError("which lights? give --lake DIR or --kafka")
    if follow and (at or day):
        raise UsageError(f"--follow and {'--at' if at else '--day'} exclude each other: choose one")
    if png and not day:
        raise UsageError(f"--png {png} draws a day; name it with --day")
    if day and at:
        raise UsageError("--day and --at exclude each other: choose one")
    if day and lake:
        show_day(lake, day, light, png, as_json=as_json)
    elif kafka or lake is None:
        shape = settings.load_city(city)
        with Topic(shape) as topic:
            show(topic, light, at, follow=follow, as_json=as_json)
    else:
        with Lake(lake) as states:
            show(states, light, at, follow=follow, as_json=as_json)


def show(source: Lake | Topic, light: str | None, at: str | None, *, follow: bool, as_json: bool) -> None:
    """Show what lights show: once, or until Ctrl-C."""
    zone = ZoneInfo(source.city.city.timezone)
    when = moment(at, source.city, "--at") if at else None
    board = Board(source.city, light)
    board.take(source.whole(when))

    def look() -> list[Seen]:
        return board.look((when or now()).astimezone(zone))

    seen = look()
    if as_json:
        write(seen)
    grades = index("korea").grades
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)
    colour = console.color_system is not None and not console.no_color
    if not follow:
        if not as_json:
            console.print(table(seen, grades, zone, colour=colour))
        return
    if as_json or not console.is_terminal:

        def tell(new: list[Seen]) -> None:
            if as_json:
                write(new)
            else:
                for one in new:
                    grid = Table.grid(padding=(0, 2))
                    grid.add_row(f"{one.at:%m-%d %H:%M:%S}", *row(one, grades, zone, colour=colour))
                    console.print(grid)

        if not as_json:
            tell(seen)
        watch(source, board, look, seen, tell)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(table(look(), grades, zone, colour=colour, trouble=source.trouble), refresh=True)
            board.take(source.take(to_the_second()))


def watch(
    source: Lake | Topic, board: Board, look: Callable[[], list[Seen]], seen: list[Seen], tell: Callable[..., None]
) -> None:
    """Tell of every light that comes to show something else, for ever; complain once while nothing can come."""
    complained = ""
    while True:
        board.take(source.take(to_the_second()))
        if new := changed(seen, after := look()):
            tell(new)
        seen = after
        if (trouble := source.trouble) and not complained:
            print(f"cityair: nothing can come: {trouble}", file=sys.stderr)
        complained = trouble


def to_the_second() -> float:
    """Seconds until the clock's next whole one: lights change on whole minutes."""
    return 1.001 - time.time() % 1


def write(seen: list[Seen]) -> None:
    """Write an object a line, at once."""
    for one in seen:
        sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    sys.stdout.flush()


def show_day(lake: Path, day: str, light: str | None, png: Path | None, *, as_json: bool) -> None:
    """Show a day of a lake's lights, or draw it.

    Raises:
        UsageError: no such day or light, or no picture can be drawn.
    """
    try:
        which = date.fromisoformat(day)
    except ValueError as err:
        raise UsageError(f"--day {day!r}: {err}; write a date such as 2026-11-21") from err
    with catalog.connect(lake) as con:
        found = lights_day.of_day(con, which, light)
        words = con.snapshot.city.light_rules.words
    grades = index("korea").grades
    if png is not None:
        lights_png.draw(found, words, grades, png)
    if as_json:
        for one in (*found.lights, *found.alerts):
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
        return
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)
    if png is not None:
        console.print(f"written to {png}")
        return
    colour = console.color_system is not None and not console.no_color
    rows = list(lights_day.lines(found, words, grades, colour=colour))
    if max(line.cell_len for line in rows) > console.width:
        rows = list(lights_day.lines(found, words, grades, colour=colour, short=True))
    for line in rows:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


@app.command()
def say(
    light: Annotated[str, typer.Argument(help=f"Its id; {ALL} for every light of the city.", show_default=False)],
    text: Annotated[str, typer.Argument(help="At most 200 characters; '' withdraws.", show_default=False)],
    until: Annotated[str | None, typer.Option(help=UNTIL, show_default=False)] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="By the broker: the only way there is.")] = True,
    city: CityFile = None,
) -> None:
    """Have a light show a text beside its color, until a time: a forest fire, a heat wave. Ends 0 once it is delivered.

    \b
    cityair lights say light-07 '산불 조심' --until 2026-11-21T18:00
    cityair lights say all '폭염 경보' --until 2026-11-21T18:00+09:00
    cityair lights say light-07 ''
    """  # noqa: D301, \b keeps these lines apart
    shape = settings.load_city(city)
    known = [one.id for one in shape.lights]
    if light not in (*known, ALL):
        raise UsageError(f"no light named {light!r}; there are {', '.join([*known, ALL])}")
    if until is None and text:
        raise UsageError("until when? give --until TIME, such as 2026-11-21T18:00: a text without an end is forgotten")
    end = moment(until, shape, "--until") if until else now().astimezone(ZoneInfo(shape.city.timezone)) + WITHDRAWN_FOR
    if end <= now():
        raise UsageError(f"--until {until} has passed")
    if not all(letter.isprintable() for letter in text):
        raise UsageError(f"{text!r} holds characters that no light can show; write it in one line")
    which = known if light == ALL and ALL not in known else [light]
    try:
        said = [
            msgspec.convert({"light_id": one, "text": text, "valid_until": end}, LightMessage, strict=False)
            for one in which
        ]
    except msgspec.ValidationError as err:
        raise UsageError(f"{text!r}: {err}; a light takes at most 200 characters") from err
    publisher = Publisher(MESSAGES)
    for one in said:
        publisher.send(one.light_id.encode(), msgspec.json.encode(one))
    publisher.finish()
    where = f"{publisher.name} on {servers()}"
    what = f"says {text!r} until {end:%Y-%m-%d %H:%M %Z}" if text else "says nothing of its own any more"
    typer.echo(f"{light} {what}, once the flow reads it: delivered to {where}")


def moment(text: str, city: City, option: str) -> datetime:
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
