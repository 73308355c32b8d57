"""What the lights of a city show, by the rules of ``display``: as records, and as a table for a terminal."""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from msgspec import Struct
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.cli.demo.pictures import GRADES, GRAY, cells
from flows.cli.sql import cell
from flows.kernels import display
from schemas.city import City
from schemas.errors import UsageError
from schemas.light import COLORS, Color, LightState

FACES = {"smile": "😊", "calm": "🙂", "worry": "😟", "frown": "😡", None: ""}
MINUTE = timedelta(minutes=1)


class Seen(Struct, frozen=True):
    """What one light shows at a moment of its own clock, and its newest message."""

    light_id: str
    name: str
    at: datetime
    color: Color
    face: str | None
    pm10: float | None
    pm25: float | None
    text: str | None
    why: str
    """As ``display.Shown`` says: told, or gray by itself."""
    seq: int | None
    """From here on: of the newest message, in force or not; null before any."""
    as_of: datetime | None
    valid_until: datetime | None
    reason: str | None


class Board:
    """The lights of a city, each with its memory.

    Args:
        city: names and order of the lights; others that are told something stand behind them.
        only: one light's id; none: all.
    """

    def __init__(self, city: City, only: str | None = None) -> None:
        self._names = {light.id: light.name for light in city.lights}
        self._newest: dict[str, LightState | None] = dict.fromkeys(self._names)
        self._only = only

    def take(self, states: Iterable[LightState]) -> None:
        """Hand every light what came for it."""
        for state in states:
            self._newest[state.light_id] = display.take(state.light_id, self._newest.get(state.light_id), state)

    def look(self, clock: datetime) -> list[Seen]:
        """Say what each light shows.

        Raises:
            UsageError: there is no such light.
        """
        if self._only is not None and self._only not in self._newest:
            raise UsageError(f"--light {self._only}: unknown; there are {', '.join(self._newest) or 'none'}")
        chosen = self._newest if self._only is None else [self._only]
        return [self._seen(light, clock) for light in chosen]

    def _seen(self, light: str, clock: datetime) -> Seen:
        newest = self._newest[light]
        shown = display.show(newest, clock)
        about = (newest.seq, newest.as_of, newest.valid_until, newest.reason) if newest else (None,) * 4
        return Seen(light, self._names.get(light, ""), clock, *shown, *about)


def changed(before: Iterable[Seen], after: Iterable[Seen]) -> list[Seen]:
    """Which lights show something else than before; a heartbeat changes nothing."""
    was = {seen.light_id: _face(seen) for seen in before}
    return [seen for seen in after if was.get(seen.light_id) != _face(seen)]


def _face(seen: Seen) -> tuple[object, ...]:
    return (seen.color, seen.face, seen.pm10, seen.pm25, seen.text, seen.why)


def table(board: list[Seen], grades: list[str], zone: tzinfo, *, colour: bool, trouble: str = "") -> Group:
    """Draw a board.

    Args:
        board: what each light shows.
        grades: their words, best first.
        zone: in which times are written.
        colour: else shades.
        trouble: what stands in the way of new messages.
    """
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("light", "", "shows", "PM10", "PM2.5", "air", "text", "reason"):
        number = title.startswith("PM")
        long = title in ("text", "reason")
        drawn.add_column(title, justify="right" if number else "left", no_wrap=not long, overflow="fold")
    for seen in board:
        drawn.add_row(*row(seen, grades, zone, colour=colour))
    at = f"{board[0].at.astimezone(zone):%Y-%m-%d %H:%M:%S} {getattr(zone, 'key', zone)}" if board else "no lights"
    foot = Text(f"\n{at}, µg/m³")
    if trouble:
        foot.append(f"\nnothing can come: {trouble}", "bold red")
    return Group(drawn, foot)


def row(seen: Seen, grades: list[str], zone: tzinfo, *, colour: bool) -> list[Text]:
    """Write one light: who, color and face, numbers, age of its air, words."""
    grade = COLORS.index(seen.color)
    shows = cells([grade] * 2, colour=colour).append(f" {FACES[seen.face] or '  '} ")
    shows.append(f"{seen.color} {grades[grade - 1]}" if grade else seen.color, GRADES[grade - 1][1] if grade else GRAY)
    numbers = ["" if value is None else f"{value:.0f}" for value in (seen.pm10, seen.pm25)]
    told = seen.why == "told"
    return [
        Text(seen.light_id),
        Text(cell(seen.name)),
        shows,
        *map(Text, numbers),
        Text(age(seen.at - seen.as_of) if seen.as_of else "", "" if told else "dim"),
        Text(cell(seen.text) if seen.text else "", "bold"),
        Text(reason(seen, zone), "dim"),
    ]


def reason(seen: Seen, zone: tzinfo) -> str:
    """Say why a light shows what it shows; one that grays itself says so.

    Times are written in ``zone``.
    """
    if seen.as_of is None or seen.valid_until is None:
        return "grays itself: nothing told yet"
    until, as_of, at = (f"{when.astimezone(zone):%m-%d %H:%M}" for when in (seen.valid_until, seen.as_of, seen.at))
    match seen.why:
        case "over":
            return f"grays itself: told nothing for after {until}"
        case "clock":
            return f"grays itself: its clock, {at}, lies before its air of {as_of}"
        case _:
            return cell(seen.reason)


def age(span: timedelta) -> str:
    """Write how old air is.

    >>> age(timedelta(minutes=3, seconds=50)), age(timedelta(minutes=80)), age(timedelta(days=2.5)), age(-2 * MINUTE)
    ('3 min', '1 h 20 min', '2 d 12 h', '0 min')
    """
    minutes = max(0, span // MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
