"""What the lake shows of everything that the simulator made go wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flows.cli.demo.facts import Finding
from flows.cli.render.lights_day import end_time
from flows.signals.light_rules import preference
from flows.simulate.truth import TrueEvent, Truth
from schemas.city import City
from schemas.slots import SLOT
from sinks.catalog import Catalog
from sinks.lights.history import LightsDay

ONE_HOUR = timedelta(hours=1)
STORED = "FROM air_readings WHERE station_id IN $stations AND observed_at > $start AND observed_at <= $end"
LABELS = {"pm25": "PM2.5", "pm10": "PM10"}


class Outcome(NamedTuple):
    """``found`` of ``due``, and in words what was counted."""

    due: int
    found: int
    summary: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The events of one scenario at one place, and where to look for their effect.

    Attributes:
        con: catalog of the lake.
        truth: of the run.
        events: at least one, in their order.
        lights: what lights showed.
    """

    con: Catalog
    truth: Truth
    events: Sequence[TrueEvent]
    lights: LightsDay

    @property
    def stations(self) -> list[str]:
        """Ids of the stations it touches."""
        return self.events[0].station_ids

    @property
    def start(self) -> datetime:
        """Start of the first event, in the city's time."""
        return self.events[0].started_at.astimezone(self.zone)

    @property
    def end(self) -> datetime:
        """End of the last event, or of the run where that never ends."""
        return self.events[-1].ended_at or self.truth.ended_at

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.con.snapshot.city.city.timezone)

    def ask(self, query: str, **names: object) -> tuple[Any, ...]:
        """Return the one row of a query that may name $stations, $start and $end."""
        given = {"stations": self.stations, "start": self.start, "end": self.end} | names
        row: tuple[Any, ...] = self.con.execute(query, {n: v for n, v in given.items() if f"${n}" in query}).fetchone()
        return row


def findings(con: Catalog, truth: Truth, lights: LightsDay) -> list[Finding]:
    """Look in the lake for the effect of every scenario of a run, by scenario and place."""
    places: dict[tuple[str, str], list[TrueEvent]] = {}
    for event in truth.events:
        places.setdefault((event.scenario, event.station_ids[0]), []).append(event)
    return [_finding(Occurrence(con, truth, events, lights)) for events in places.values()]


def _finding(at: Occurrence) -> Finding:
    scenario, ended = at.events[0].scenario, at.events[-1].ended_at
    outcome = CHECKS[scenario](at)
    return Finding(scenario, at.stations, at.start, ended and ended.astimezone(at.zone), *outcome)


def _dust_front(at: Occurrence) -> Outcome:
    found, top = _risen(at, "pm10", 2)
    return Outcome(len(at.stations), found, f"stations: PM10 doubled, to {top:.0f} µg/m³")


def _plume(at: Occurrence) -> Outcome:
    found, top = _risen(at, "pm25", 1.2)
    return Outcome(len(at.stations), found, f"stations: PM2.5 rose, to {top:.0f} µg/m³")


def _risen(at: Occurrence, parameter: str, factor: float) -> tuple[int, float]:
    """Count stations whose means of ten minutes rose to ``factor`` times those of the hour before; and the highest.

    Hourly stations have no means of ten minutes: their hours stand in.
    """
    query = """
    WITH mean AS (
        FROM rolling JOIN stations USING (station_id)
        WHERE parameter = $parameter AND station_id IN $stations AND ended_at > $start::TIMESTAMPTZ - INTERVAL 2 hour
            AND ended_at <= $end AND window_length = if(expected_per_hour = 1, '1h', '10m')
    ),
    rise AS (
        SELECT station_id, max(mean) FILTER (ended_at > $start) AS top, avg(mean) FILTER (ended_at <= $start) AS before
        FROM mean GROUP BY station_id
    )
    SELECT count_if(top >= $factor * before), coalesce(max(top), 0) FROM rise
    """
    found, top = at.ask(query, parameter=parameter, factor=factor)
    return found, top


def _faulty_sensor(at: Occurrence) -> Outcome:
    parameter = at.events[0].parameter or ""
    suspects = (
        "SELECT count(*), min(ended_at) FROM flags WHERE parameter = $parameter AND station_id IN $stations"
        " AND ended_at > $start AND ended_at <= $end"
    )
    found, first = at.ask(suspects, parameter=parameter)
    [due] = at.ask(f"SELECT count({parameter}) {STORED}")
    since = f" from {first.astimezone(at.zone):%H:%M}" if first else ": too slow a change"
    return Outcome(due, found, f"{LABELS.get(parameter, parameter)} values suspect{since}")


def _spikes(at: Occurrence) -> Outcome:
    tops = [event.ended_at for event in at.events]
    query = "FROM flags SELECT count(*) WHERE station_id IN $stations AND parameter = 'pm10' AND ended_at IN $tops"
    [found] = at.ask(query, tops=tops)
    return Outcome(len(at.events), found, "PM10 values suspect, still counted")


def _silence(at: Occurrence) -> Outcome:
    silent = silent_hours(at.start, at.end)
    query = (
        "SELECT count(*) FROM rolling WHERE valid AND window_length = '1h' AND parameter = 'pm25'"
        " AND station_id IN $stations AND ended_at IN $hours"
    )
    [valid] = at.ask(query, hours=silent) if silent else (0,)
    return Outcome(len(silent), len(silent) - valid, "hours are a gap, not a guess")


def silent_hours(start: datetime, end: datetime) -> list[datetime]:
    """Ends of the hours of which more than a quarter is silent: too much for a valid mean."""
    hour = start.replace(minute=0, second=0, microsecond=0)
    ends = []
    while (hour := hour + ONE_HOUR) < end + ONE_HOUR:
        if min(hour, end) - max(hour - ONE_HOUR, start) > timedelta(minutes=15):
            ends.append(hour)
    return ends


def _outage(at: Occurrence) -> Outcome:
    [found] = at.ask(f"SELECT count(*) {STORED}")
    return Outcome(at.truth.totals.late, found, "late readings put in their minutes")


def _future_clock(at: Occurrence) -> Outcome:
    [found] = at.ask("FROM rejects SELECT count_if(reason = 'future')")
    return Outcome(at.truth.totals.future, found, "readings 400 days ahead refused")


def _blackout(at: Occurrence) -> Outcome:
    """Lights that may follow silent stations only, and those of them that showed gray at its end."""
    city: City = at.con.snapshot.city
    dark = {*at.stations}
    followed = preference(city, city.light_rules.nearest_within_km).stations
    due = {
        light.id
        for light, order in zip(city.lights, followed, strict=True)
        if all(city.stations[i].id in dark for i in order)
    }
    gray = {
        light.light_id: run
        for light in at.lights.lights
        for run in light.gray()
        if run.begin < at.end and run.end > at.end - SLOT
    }
    spans = [f"{run.begin:%H:%M}–{end_time(run.end, run.begin)}" for light, run in gray.items() if light in due]
    others = len({*gray} - due)
    return Outcome(len(due), len(due & {*gray}), f"lights gray, {', '.join(spans) or 'never'}; others: {others}")


CHECKS: dict[str, Callable[[Occurrence], Outcome]] = {
    "dust_front": _dust_front,
    "plume": _plume,
    "stuck": _faulty_sensor,
    "drift": _faulty_sensor,
    "spikes": _spikes,
    "dead": _silence,
    "silent": _silence,
    "outage": _outage,
    "future_clock": _future_clock,
    "blackout": _blackout,
}
"""Of every scenario with events."""
