"""What lights show, as a table for a terminal."""

from datetime import timedelta, tzinfo

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.cli.render.pictures import GRAY_COLOUR, SWATCHES, light_cells
from flows.cli.render.values import cell
from schemas.light import COLORS
from schemas.slots import SLOT
from sinks.lights.board import LightView

FACE_EMOJI = {"smile": "😊", "calm": "🙂", "worry": "😟", "frown": "😡", None: ""}


def lights_table(views: list[LightView], grades: list[str], zone: tzinfo, *, colour: bool, trouble: str = "") -> Group:
    """Draw a table, a light a row, and below it when that was.

    Args:
        views: what each light shows.
        grades: words for the grades, best first.
        zone: in which times are written.
        colour: whether there are colours; else shades.
        trouble: what keeps new states from coming; empty for nothing.
    """
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("light", "", "shows", "PM10", "PM2.5", "air", "text", "reason"):
        number = title.startswith("PM")
        long = title in ("text", "reason")
        drawn.add_column(title, justify="right" if number else "left", no_wrap=not long, overflow="fold")
    for view in views:
        drawn.add_row(*light_row(view, grades, zone, colour=colour))
    at = f"{views[0].at.astimezone(zone):%Y-%m-%d %H:%M:%S} {getattr(zone, 'key', zone)}" if views else "no lights"
    foot = Text(f"\n{at}, µg/m³")
    if trouble:
        foot.append(f"\nnothing can come: {trouble}", "bold red")
    return Group(drawn, foot)


def change_line(view: LightView, grades: list[str], zone: tzinfo, *, colour: bool) -> Table:
    """Draw one light on a line that begins with the time."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row(f"{view.at:%m-%d %H:%M:%S}", *light_row(view, grades, zone, colour=colour))
    return grid


def light_row(view: LightView, grades: list[str], zone: tzinfo, *, colour: bool) -> list[Text]:
    """Cells of one light: its id and name, color and face, numbers, age of its air, text and reason."""
    grade = COLORS.index(view.color)
    shows = light_cells([grade] * 2, colour=colour).append(f" {FACE_EMOJI[view.face] or '  '} ")
    if grade:
        shows.append(f"{view.color} {grades[grade - 1]}", SWATCHES[grade - 1].colour)
    else:
        shows.append(view.color, GRAY_COLOUR)
    numbers = ["" if value is None else f"{value:.0f}" for value in (view.pm10, view.pm25)]
    in_force = view.why == "told"
    return [
        Text(view.light_id),
        Text(cell(view.name)),
        shows,
        *map(Text, numbers),
        Text(age(view.at - view.as_of) if view.as_of else "", "" if in_force else "dim"),
        Text(cell(view.text) if view.text else "", "bold"),
        Text(reason(view, zone), "dim"),
    ]


def reason(view: LightView, zone: tzinfo) -> str:
    """Explain what a light shows: its state's reason, or why it grays itself. Times are written in ``zone``."""
    if view.why == "color":
        return f"grays itself: its newest state cannot be shown: {cell(view.reason)}"
    if view.as_of is None or view.valid_until is None:
        return "grays itself: nothing told yet"
    until, as_of, at = (f"{when.astimezone(zone):%m-%d %H:%M}" for when in (view.valid_until, view.as_of, view.at))
    match view.why:
        case "over":
            return f"grays itself: told nothing for after {until}"
        case "clock":
            return f"grays itself: its clock, {at}, lies before its air of {as_of}"
        case _:
            return cell(view.reason)


def age(span: timedelta) -> str:
    """Write how old air is.

    >>> age(timedelta(minutes=3, seconds=50)), age(timedelta(minutes=80)), age(timedelta(days=2.5)), age(-2 * SLOT)
    ('3 min', '1 h 20 min', '2 d 12 h', '0 min')
    """
    minutes = max(0, span // SLOT)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
