"""A day of a city's lights, out of a lake: what each showed, minute by minute, and which alerts were in force."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from msgspec import Struct

from flows.kernels import display
from schemas.city import City
from schemas.errors import UsageError
from schemas.light import COLORS, Color, LightState
from schemas.slots import SLOT
from sinks.catalog import Catalog
from sinks.lights.states import PublishedState, now, states_between

QUARTER_SLOTS = 15
DAY_QUARTERS = 96


class ColorRun(Struct, frozen=True):
    """A stretch of time in which a light showed one color for one cause."""

    begin: datetime
    end: datetime
    color: Color
    why: str
    """As ``display.Shown`` says: by the newest state, or gray by itself."""


class LightDay(Struct, frozen=True):
    """What one light showed on a day."""

    light_id: str
    name: str
    runs: list[ColorRun]

    def quarter_grades(self) -> list[int | None]:
        """Grade shown longest in each quarter of an hour, of two the later; 0 is gray, None is not yet known."""
        minutes: list[int] = []
        for run in self.runs:
            minutes += [COLORS.index(run.color)] * ((run.end - run.begin) // SLOT)
        quarters = [minutes[i : i + QUARTER_SLOTS] for i in range(0, len(minutes), QUARTER_SLOTS)]
        longest: list[int | None] = [Counter(reversed(quarter)).most_common(1)[0][0] for quarter in quarters]
        return longest + [None] * (DAY_QUARTERS - len(longest))

    def gray(self) -> list[ColorRun]:
        """Stretches without a color, after the first color of the day."""
        first = next((i for i, run in enumerate(self.runs) if run.color != "gray"), len(self.runs))
        return [run for run in self.runs[first:] if run.color == "gray"]

    def changes(self) -> int:
        """Number of times that the color changed."""
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
    """The mean that began it: PM in µg/m³, ozone in ppm."""


class LightsDay(Struct, frozen=True):
    """A day of all lights, midnight to midnight of the city."""

    city: str
    city_id: str
    begin: datetime
    end: datetime
    lights: list[LightDay]
    alerts: list[AlertSpan]


def lights_of_day(con: Catalog, day: date) -> LightsDay:
    """Read from a lake what its lights showed on a day, as far as that is known.

    Args:
        con: catalog of the lake.
        day: of the city's calendar.

    Raises:
        UsageError: the lake has no state in force that day.
    """
    city: City = con.snapshot.city
    zone = ZoneInfo(city.city.timezone)
    begin, end = (datetime.combine(day + timedelta(days=i), time(), zone) for i in (0, 1))
    states = states_between(con, begin, end)
    ends = [published.state.valid_until for published in states if isinstance(published.state, LightState)]
    if not any(until > begin for until in ends):
        raise UsageError(f"no light was told anything for {day}; {_days_known(con, zone)}")
    by_light: dict[str, list[PublishedState]] = {light.id: [] for light in city.lights}
    for published in states:  # lights that the city does not name follow in the order of their ids
        by_light.setdefault(published.state.light_id, []).append(published)
    names = {light.id: light.name for light in city.lights}
    # The future is not known; but a simulated day may lie ahead of this machine's clock.
    known = min(end, max(now(), *ends))
    lights = [
        LightDay(light, names.get(light, ""), list(color_runs(light, published, begin, known)))
        for light, published in by_light.items()
    ]
    return LightsDay(city.city.name or city.city.id, city.city.id, begin, end, lights, _alerts(con, begin, known))


def _days_known(con: Catalog, zone: ZoneInfo) -> str:
    first, last = con.sql("SELECT min(as_of), max(as_of) FROM light_states").fetchone()
    if first is None:
        return "the lake holds no states of lights"
    return f"the lake's lights go from {first.astimezone(zone):%Y-%m-%d} to {last.astimezone(zone):%Y-%m-%d}"


def color_runs(light_id: str, states: Sequence[PublishedState], begin: datetime, end: datetime) -> Iterator[ColorRun]:
    """Runs of one color that a light shows from ``begin`` to ``end``, to the minute.

    Args:
        light_id: the light.
        states: its states, in their order.
        begin: whole minute, in the time zone of the result.
        end: likewise.
    """
    zone, begin, end = begin.tzinfo, begin.astimezone(UTC), end.astimezone(UTC)  # so that no hour is left out or twice
    newest: display.Memory = None
    shown, received = [], 0
    for i in range(max(0, -(-(end - begin) // SLOT))):
        clock = begin + i * SLOT
        while received < len(states) and states[received].at <= clock:
            newest = display.take(light_id, newest, states[received].state)
            received += 1
        view = display.show(newest, clock)
        shown.append((view.color, view.why))
    at = begin
    for (color, why), minutes in groupby(shown):
        stop = at + len(list(minutes)) * SLOT
        yield ColorRun(at.astimezone(zone), stop.astimezone(zone), color, why)
        at = stop


def _alerts(con: Catalog, begin: datetime, end: datetime) -> list[AlertSpan]:
    """Stages in force between two times, official ones first, by their beginning."""
    query = """
    SELECT zone, parameter, kind, stage, greatest(ended_at, $begin), least(coalesce(until, $end), $end), value FROM (
        SELECT *, lead(ended_at) OVER (PARTITION BY zone, parameter, kind ORDER BY ended_at) AS until
        FROM alerts WHERE ended_at < $end
    ) WHERE stage <> 'none' AND coalesce(until, $end) > $begin ORDER BY kind DESC, ended_at, parameter
    """
    rows = con.execute(query, {"begin": begin, "end": end}).fetchall()
    tz = begin.tzinfo
    return [
        AlertSpan(zone, parameter, kind, stage, first.astimezone(tz), last.astimezone(tz), value)
        for zone, parameter, kind, stage, first, last, value in rows
    ]
