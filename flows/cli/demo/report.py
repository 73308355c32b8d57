"""The demo's report: its facts, for a person at a terminal."""

import shlex
import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from flows.cli.demo.facts import Answer, Facts, RecordedStretch, SimulatedDay
from flows.cli.demo.folder import LAKE_FOLDER, PICTURE_FILE
from flows.cli.render.lights_day import day_lines
from flows.cli.render.lights_png import EXTRA
from flows.cli.render.pictures import SWATCHES, hour_ticks, legend, sparkline, strip
from flows.cli.render.values import cell, has_colour

WIDTH = 100
STRIP_COLUMNS = 3
"""Strips of stations side by side."""


def print_facts(facts: Facts, folder: Path) -> None:
    """Print the report on stdout: in colour on a terminal, unless ``NO_COLOR`` is set."""
    console = Console(file=sys.stdout, width=WIDTH, highlight=False)
    for line in fact_lines(facts, folder, colour=has_colour(console)):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def fact_lines(facts: Facts, folder: Path, *, colour: bool) -> Iterator[Text]:
    """Yield the report line by line."""
    day = facts.day
    yield from _arrivals(day)
    yield from _refusals(day)
    yield from _strips_and_dust(day, colour=colour)
    yield from _lights(day, folder, colour=colour)
    yield from _findings(day)
    yield from _answers(day, folder)
    yield from _recorded(facts.recorded)
    yield from _next_commands(folder)


def _heading(title: str, rest: str = "") -> Text:
    return Text().append(title, "bold").append(f"  {rest}" if rest else "")


def _arrivals(day: SimulatedDay) -> Iterator[Text]:
    yield _heading(
        "WHAT CAME IN",
        f"{day.stations} stations of {day.city}, simulated, "
        f"{day.started_at:%Y-%m-%d %H:%M} to {_end_of_day(day.ended_at)}, {day.timezone}",
    )
    refused = sum(row.refused for row in day.refused)
    proof = "the audit of every line agrees" if not day.faults else f"the audit objects: {day.faults[0]}"
    yield Text(
        f"  {day.received:,} lines = {day.stored:,} readings stored + {refused:,} refused: {proof}.\n"
        f"  {day.readings_sent:,} were sent to be stored, {day.late_sent:,} of them up to three hours late. "
        f"{day.lost:,} were due, never sent."
    )
    yield Text()


def _end_of_day(end: datetime) -> str:
    """Write the time at which an interval ends: a day ends at 24:00."""
    return f"{end:%H:%M}".replace("00:00", "24:00")


def _refusals(day: SimulatedDay) -> Iterator[Text]:
    yield _heading("WHAT WAS REFUSED", "    sent  refused  the first was told")
    for row in day.refused:
        line = Text(f"  {row.reason:<16}{row.sent:>7,} {row.refused:>8,}  ")
        yield line.append(textwrap.shorten(row.example, WIDTH - len(line), placeholder=" …"), "dim")
    yield Text()


def _strips_and_dust(day: SimulatedDay, *, colour: bool) -> Iterator[Text]:
    names = [each.station_id.rpartition("-")[2] for each in day.strips]
    wide, hours = max(map(len, names)), max(len(each.means) for each in day.strips)
    yield _heading("THE DAY IN PM2.5", f"hourly means, west to east, {len(names)} stations by number, hours of the day")
    yield Text(" " * 18).append_text(legend(colour=colour))
    rows = -(-len(names) // STRIP_COLUMNS)
    yield Text("".join(f"  {'':{wide}} {hour_ticks(hours):<{hours}}    " for _ in range(STRIP_COLUMNS)).rstrip(), "dim")
    for row in range(rows):
        line = Text()
        for i in range(row, len(names), rows):
            line.append(f"  {names[i]:>{wide}} ").append_text(strip(day.strips[i].means, "pm25", colour=colour))
            line.append("    ")
        line.rstrip()
        yield line
    yield Text()
    yield _heading("THE DUST FRONT", "PM10 of the thirds of the city, µg/m³, a bar for twenty minutes")
    top = max(each.peak for each in day.dust)
    for each in day.dust:
        tail = f"  {each.peak:3.0f} at {each.peak_at:%H:%M}"
        yield Text(f"  {each.name:<7}").append_text(sparkline(each.values, "pm10", top)).append(tail)
    yield Text()


def _lights(day: SimulatedDay, folder: Path, *, colour: bool) -> Iterator[Text]:
    lights = day.lights
    changes = sum(light.changes() for light in lights.lights)
    rest = f"what {len(lights.lights)} showed by their own rules, a cell for a quarter of an hour, {changes} changes"
    yield _heading("THE LIGHTS", rest)
    yield from day_lines(lights, day.words, [swatch.name for swatch in SWATCHES], colour=colour, short=True)
    picture = folder / PICTURE_FILE
    yield Text(f"   The picture: {picture}" if picture.is_file() else f"   No picture: {EXTRA}", "dim")
    yield Text()


def _findings(day: SimulatedDay) -> Iterator[Text]:
    yield _heading("WHAT WENT WRONG", "    where        when           found of true")
    for each in day.findings:
        where = each.stations[0] if len(each.stations) == 1 else f"{len(each.stations)} stations"
        ended = _end_of_day(each.ended_at) if each.ended_at else "…"
        line = Text(f"  {each.scenario.replace('_', ' '):<15}  {where:<12} {each.started_at:%H:%M}–{ended:<6}")
        yield line.append(f"{each.found:>6,} of {each.due:<6,}", "bold").append(each.summary)
    yield Text(f"  elsewhere        {day.suspect_elsewhere:,} of {day.values:,} values suspected without a cause")
    yield Text()


def _answers(day: SimulatedDay, folder: Path) -> Iterator[Text]:
    yield _heading("ASK IT YOURSELF")
    for each in day.answers:
        yield Text(f"  {each.question}")
        command = f'$ cityair sql "{each.sql}" --lake {shlex.quote(str(folder / LAKE_FOLDER))}'
        wrapped = textwrap.TextWrapper(
            WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
        ).wrap(command)
        yield from (Text(line, "cyan") for line in wrapped)
        yield from _answer_table(each)
    yield Text()


def _answer_table(answer: Answer) -> Iterator[Text]:
    rows = [[_short(value) for value in row] for row in answer.rows]
    widths = [max(map(len, column)) for column in zip(answer.columns, *rows, strict=True)]
    numbers = [all(isinstance(row[i], int | float) for row in answer.rows) for i in range(len(widths))]
    for number, row in enumerate([answer.columns, *rows]):
        cells = [f"{c:>{w}}" if n else f"{c:<{w}}" for c, w, n in zip(row, widths, numbers, strict=True)]
        yield Text("      " + "   ".join(cells).rstrip(), "" if number else "dim")


def _short(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else cell(value)


def _recorded(stretch: RecordedStretch) -> Iterator[Text]:
    span = f"{stretch.first_at:%Y-%m-%d} to {stretch.last_at:%Y-%m-%d}"
    yield _heading("REAL AIR", f"PM2.5 of {stretch.stations} stations of {stretch.city}, {span}, a bar for four hours")
    yield Text("  ").append_text(sparkline(stretch.series.values, "pm25", stretch.series.peak))
    proof = "the books balance" if not stretch.faults else f"the audit objects: {stretch.faults[0]}"
    yield Text(
        f"  {stretch.stored:,} of {stretch.received:,} station-hours stored, {proof}. "
        f"{stretch.coverage:.1%} have PM2.5, the longest gap is\n"
        f"  {stretch.longest_gap_h} h at {stretch.longest_gap_at}. Worst was {stretch.worst_day} with "
        f"{stretch.worst_mean:.0f} µg/m³ on average, {stretch.worst_hour:.0f} at {stretch.worst_hour_of}.\n"
        f"  {stretch.extreme} values lie above the credible range: suspected, and still counted."
    )
    yield Text("  Song Chen, Beijing Multi-Site Air Quality, UCI, doi 10.24432/C5RK5G, CC BY 4.0", "dim")
    yield Text()


def _next_commands(folder: Path) -> Iterator[Text]:
    lake = shlex.quote(str(folder / LAKE_FOLDER))
    yield _heading("GO ON")
    for command, purpose in (
        (f'. .venv/bin/activate; cityair sql "SHOW TABLES" --lake {lake}', "what else can be asked"),
        ("pip install jupyterlab && jupyter lab notebooks/01-first-look.ipynb", "the same day in plots"),
        ("cityair run --help", "your own air; see README.md"),
    ):
        yield Text("  ").append(f"{command:<70}", "cyan").append(purpose)
