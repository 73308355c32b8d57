"""A day of the lights: what each showed, minute by minute, and which alerts were in force; rows for a terminal."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from flows.cli.demo.pictures import cells, light_legend
from flows.kernels import display
from flows.signals.light_rules import preference
from schemas.city import City
from schemas.errors import UsageError
from schemas.light import COLORS, Color, LightState
from sinks.lights.states import now, told

MINUTE = timedelta(minutes=1)
QUARTER = 15
"""Minutes of a cell."""
CELLS = 96
OFFICIAL, EARLY = "▲", "△"


class Run(Struct, frozen=True):
    """A stretch in which a light showed one color for one cause."""

    begin: datetime
    end: datetime
    color: Color
    why: str
    """As ``display.Shown`` says: told, or gray by itself."""


class LightDay(Struct, frozen=True):
    """What one light showed."""

    light_id: str
    name: str
    runs: list[Run]

    def cells(self, begin: datetime) -> list[int | None]:
        """The grade shown longest in each quarter of an hour, of two the later; 0 is gray, none is not yet known."""
        minutes: list[int] = []
        for run in self.runs:
            minutes += [COLORS.index(run.color)] * ((run.end - run.begin) // MINUTE)
        quarters = [minutes[i : i + QUARTER] for i in range(0, len(minutes), QUARTER)]
        longest: list[int | None] = [Counter(reversed(quarter)).most_common(1)[0][0] for quarter in quarters]
        return longest + [None] * (CELLS - len(longest))

    def gray(self) -> list[Run]:
        """Stretches without a color, after the first."""
        first = next((i for i, run in enumerate(self.runs) if run.color != "gray"), len(self.runs))
        return [run for run in self.runs[first:] if run.color == "gray"]

    def changes(self) -> int:
        """How often another color came."""
        return sum(a.color != b.color for a, b in zip(self.runs, self.runs[1:], strict=False))


class AlertSpan(Struct, frozen=True):
    """A stage of an alert in force."""

    zone: str
    parameter: str
    kind: str
    stage: str
    begin: datetime
    end: datetime
    value: float
    """What began it: PM in µg/m³, ozone in ppm."""


class LightsDay(Struct, frozen=True):
    """A day of all lights, midnight to midnight of the city."""

    city: str
    city_id: str
    begin: datetime
    end: datetime
    lights: list[LightDay]
    alerts: list[AlertSpan]


def of_day(con: Any, day: date, only: str | None = None) -> LightsDay:
    """Ask a lake what its lights showed on a day.

    Args:
        con: catalog of the lake.
        day: of the city's calendar.
        only: one light's id.

    Raises:
        UsageError: no light was told anything then, or there is no such light.
    """
    city: City = con.snapshot.city
    zone = ZoneInfo(city.city.timezone)
    begin, end = (datetime.combine(day + timedelta(days=i), time(), zone) for i in (0, 1))
    states = told(con, begin, end)
    if not any(one.state.valid_until > begin for one in states):
        raise UsageError(f"no light was told anything for {day}; {_span(con, zone)}")
    names = {one.state.light_id: "" for one in states} | {light.id: light.name for light in city.lights}
    if only is not None and only not in names:
        raise UsageError(f"--light {only}: unknown; there are {', '.join(names)}")
    order = [light.id for light in city.lights] + sorted({*names} - {light.id for light in city.lights})
    # What comes is not known; but a simulated day may lie ahead of this machine's clock.
    known = min(end, max(now(), *(one.state.valid_until for one in states)))
    lights = []
    for light in order if only is None else [only]:
        ours = [(one.at, one.state) for one in states if one.state.light_id == light]
        lights.append(LightDay(light, names[light], list(_runs(light, ours, begin, known))))
    return LightsDay(city.city.name or city.city.id, city.city.id, begin, end, lights, _alerts(con, begin, known))


def _span(con: Any, zone: ZoneInfo) -> str:
    first, last = con.sql("SELECT min(as_of), max(as_of) FROM light_states").fetchone()
    if first is None:
        return "the lake holds no states of lights"
    return f"the lake's lights go from {first.astimezone(zone):%Y-%m-%d} to {last.astimezone(zone):%Y-%m-%d}"


def _runs(light: str, states: Sequence[tuple[datetime, LightState]], begin: datetime, end: datetime) -> Iterator[Run]:
    """Ask a light every minute what it shows, and put like minutes together."""
    zone, begin, end = begin.tzinfo, begin.astimezone(UTC), end.astimezone(UTC)  # so that no hour is left out or twice
    newest, shown, heard = None, [], 0
    for i in range(max(0, -(-(end - begin) // MINUTE))):
        clock = begin + i * MINUTE
        while heard < len(states) and states[heard][0] <= clock:
            newest = display.take(light, newest, states[heard][1])
            heard += 1
        seen = display.show(newest, clock)
        shown.append((seen.color, seen.why))
    at = begin
    for (color, why), minutes in groupby(shown):
        stop = at + len(list(minutes)) * MINUTE
        yield Run(at.astimezone(zone), stop.astimezone(zone), color, why)
        at = stop


def _alerts(con: Any, begin: datetime, end: datetime) -> list[AlertSpan]:
    """Stages in force between two times, by when they began."""
    query = """
    SELECT zone, parameter, kind, stage, greatest(ended_at, $begin), least(coalesce(until, $end), $end), value FROM (
        SELECT *, lead(ended_at) OVER (PARTITION BY zone, parameter, kind ORDER BY ended_at) AS until
        FROM alerts WHERE ended_at < $end
    ) WHERE stage <> 'none' AND coalesce(until, $end) > $begin ORDER BY kind DESC, ended_at, parameter
    """
    rows = con.execute(query, {"begin": begin, "end": end}).fetchall()
    zone = begin.tzinfo
    return [
        AlertSpan(where, parameter, kind, stage, first.astimezone(zone), last.astimezone(zone), value)
        for where, parameter, kind, stage, first, last, value in rows
    ]


def blind(city: City, day: LightsDay, dark: Collection[str], at: datetime) -> tuple[int, int, str]:
    """Count lights that may follow dark stations alone, and those of them that show gray, and say when.

    Args:
        city: whose lights they are.
        day: what they showed.
        dark: stations that were silent up to ``at``, long enough for their air to grow old.
        at: when it ended.
    """
    followed = preference(city, city.light_rules.nearest_within_km).stations
    due = {
        light.id
        for light, order in zip(city.lights, followed, strict=True)
        if all(city.stations[i].id in dark for i in order)
    }
    gray = {
        light.light_id: run for light in day.lights for run in light.gray() if run.begin < at and run.end > at - MINUTE
    }
    spans = ", ".join(f"{run.begin:%H:%M}–{until(run.end, run.begin)}" for light, run in gray.items() if light in due)
    others = len({*gray} - due)
    return len(due), len(due & {*gray}), f"lights gray, {spans or 'never'}; others: {others}"


def lines(day: LightsDay, words: Any, grades: list[str], *, colour: bool, short: bool = False) -> Iterator[Text]:
    """Draw a day: a row a light, a cell a quarter of an hour; alerts above, what they were below.

    Args:
        day: what was shown.
        words: ``[light_rules.words]`` of the city file.
        grades: their words, best first.
        colour: else shades.
        short: numbers in the place of ids and names.
    """
    labels = [light.light_id.rpartition("-")[2] if short else f"{light.light_id}  {light.name}" for light in day.lights]
    wide = max(map(cell_len, labels), default=0)
    yield Text(" " * (wide + 1)).append_text(light_legend(grades, colour=colour))
    yield Text(" " * (wide + 1) + "".join(f"{hour:<12}" for hour in range(0, 24, 3)).rstrip(), "dim")
    if day.alerts:
        yield Text(" " * (wide + 1) + _marks(day), "bold")
    for light, label in zip(day.lights, labels, strict=True):
        row = Text(label + " " * (wide - cell_len(label) + 1))
        yield row.append_text(cells(light.cells(day.begin), colour=colour))
    for alert in day.alerts:
        yield Text(f"{' ' * (wide + 1)}{alert_words(alert, words)}")


def _marks(day: LightsDay) -> str:
    """Mark the quarters in which an alert was in force for half of them or longer."""
    row = [" "] * CELLS
    for alert in day.alerts:  # official ones come first
        first, last = (round((at - day.begin) / MINUTE / QUARTER) for at in (alert.begin, alert.end))
        for i in range(first, min(last, CELLS)):
            row[i] = OFFICIAL if alert.kind == "official" or row[i] == OFFICIAL else EARLY
    return "".join(row).rstrip()


def alert_words(alert: AlertSpan, words: Any) -> str:
    """Say what was in force, in the city's words, and when."""
    mark, told = (OFFICIAL, "") if alert.kind == "official" else (EARLY, " (early sign)")
    value = f"{alert.value:.3f} ppm" if alert.parameter == "o3" else f"{alert.value:.0f} µg/m³"
    name = f"{getattr(words, alert.parameter)} {getattr(words, alert.stage)}"
    return f"{mark} {name}{told}  {alert.begin:%H:%M}–{until(alert.end, alert.begin)}  {value}"


def until(end: datetime, begin: datetime) -> str:
    """Write the end of a stretch of a day, which may be its 24:00."""
    return "24:00" if end.date() > begin.date() and end.time() == time() else f"{end:%H:%M}"
