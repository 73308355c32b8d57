"""What the demo's lakes hold, asked in SQL and held against what the simulator knows to be true."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from flows.simulate.truth import TrueEvent, Truth
from schemas.city_rules import Words
from sinks.catalog import catalog
from sinks.lights import history as lights_day
from sinks.lights.history import LightsDay
from sinks.maintenance import check as upkeep

QUESTIONS = (
    (
        "Where was the air worst, and when?",
        (
            "SELECT station_id, max(mean) AS pm25, arg_max(ended_at, mean) AS ended_at FROM rolling WHERE valid"
            " AND parameter = 'pm25' AND window_length = '1h' GROUP BY ALL ORDER BY pm25 DESC LIMIT 2"
        ),
    ),
    (
        "Whose day can be trusted least?",
        (
            "SELECT station_id, received, expected, coverage FROM coverage_by_day"
            " WHERE parameter = 'pm25' AND dt = '{day}' ORDER BY coverage LIMIT 2"
        ),
    ),
    (
        "Which means did late readings change after they were first written?",
        (
            "SELECT window_length, count(*) AS means, count_if(revision > 0) AS changed FROM rolling"
            " WHERE window_length IN ('1h', '24h') GROUP BY ALL ORDER BY changed"
        ),
    ),
)
"""Questions in words and in SQL, as a person would type them."""
PARTS = ("west", "centre", "east")


class Refused(Struct, frozen=True):
    """How many messages were sent that must be refused for a reason, how many were, and what was said of one."""

    reason: str
    sent: int
    refused: int
    example: str


class Finding(Struct, frozen=True):
    """What became of something that went wrong: ``found`` of ``due``, and the rest in words."""

    scenario: str
    stations: list[str]
    started_at: datetime
    ended_at: datetime | None
    due: int
    found: int
    told: str


class Strip(Struct, frozen=True):
    """A station's hourly means of PM2.5, µg/m³; none where too little came in for a valid one."""

    station_id: str
    means: list[float | None]


class Line(Struct, frozen=True):
    """A row of means at even steps; the largest of them, and when its window ended."""

    name: str
    values: list[float | None]
    peak: float
    peak_at: datetime


class Answer(Struct, frozen=True):
    """A question, its SQL and what the lake answers."""

    question: str
    sql: str
    columns: list[str]
    rows: list[list[Any]]


class Day(Struct, frozen=True):
    """The simulated day."""

    city: str
    timezone: str
    started_at: datetime
    ended_at: datetime
    stations: int
    sent: int
    """Lines in the file."""
    readings_sent: int
    """Those that count, by the truth."""
    received: int
    stored: int
    late_sent: int
    lost: int
    refused: list[Refused]
    findings: list[Finding]
    values: int
    """Pollutant values in the readings stored."""
    suspect_elsewhere: int
    """Values that a test suspects though nothing is wrong with their station and parameter."""
    strips: list[Strip]
    """From the west to the east."""
    dust: list[Line]
    """PM10 by thirds of the city, twenty minutes a step."""
    lights: LightsDay
    words: Words
    answers: list[Answer]
    faults: list[str]
    """What the audit of the books objects to."""


class Recorded(Struct, frozen=True):
    """The recorded stretch."""

    city: str
    first_at: datetime
    last_at: datetime
    stations: int
    received: int
    stored: int
    coverage: float
    """Share of the hours that have a PM2.5 value, 0 to 1."""
    longest_gap_h: int
    longest_gap_at: str
    """The station that had it."""
    worst_day: date
    worst_mean: float
    """Mean of the stations' PM2.5 on that day, µg/m³."""
    worst_hour: float
    worst_hour_at: datetime
    worst_hour_of: str
    extreme: int
    """PM2.5 values above the credible range: suspected, and counted all the same."""
    line: Line
    """PM2.5 of all stations, four hours a step."""
    faults: list[str]


class Facts(Struct, frozen=True):
    """Everything the report tells."""

    day: Day
    recorded: Recorded
    seconds: dict[str, float]
    """How long each step took."""


def read_truth(path: Path) -> Truth:
    """Read what the simulator wrote beside its file."""
    return msgspec.json.decode(path.read_bytes(), type=Truth)


def of_day(lake: Path, truth: Truth) -> Day:
    """Gather what became of a simulated run."""
    with catalog.connect(lake) as con:
        city = con.snapshot.city
        elsewhere, values = _elsewhere(con, truth)
        received, stored = con.sql("SELECT sum(received), sum(stored) FROM ledger_totals").fetchone()
        zone = ZoneInfo(city.city.timezone)
        day = (truth.ended_at - timedelta(microseconds=1)).astimezone(zone).date()
        lights = lights_day.of_day(con, day)
        return Day(
            city=city.city.name,
            timezone=city.city.timezone,
            started_at=truth.started_at.astimezone(zone),
            ended_at=truth.ended_at.astimezone(zone),
            stations=con.sql("SELECT count(DISTINCT station_id) FROM air_readings").fetchone()[0],
            sent=truth.totals.lines,
            readings_sent=truth.totals.readings,
            received=int(received),
            stored=int(stored),
            late_sent=truth.totals.late,
            lost=truth.totals.lost,
            refused=_refused(con, truth),
            findings=[_finding(con, zone, truth, events, lights) for events in _by_scenario(truth.events)],
            values=values,
            suspect_elsewhere=elsewhere,
            strips=_strips(con, truth),
            dust=[_dust(con, truth, number) for number in range(len(PARTS))],
            lights=lights,
            words=city.light_rules.words,
            answers=[_answer(con, question, query.format(day=day)) for question, query in QUESTIONS],
            faults=upkeep.audit(lake).faults,
        )


def _refused(con: Any, truth: Truth) -> list[Refused]:
    query = "SELECT reason, count(*), coalesce(arg_min(detail, koff), '') FROM rejects GROUP BY reason"
    found = {reason: (count, detail) for reason, count, detail in con.sql(query).fetchall()}
    sent = truth.totals.refused
    reasons = [reason for reason in sent if sent[reason] or reason in found]
    rows = [Refused(reason, sent[reason], *found.get(reason, (0, ""))) for reason in reasons]
    return sorted(rows, key=lambda row: -row.sent)


def _by_scenario(events: Sequence[TrueEvent]) -> list[list[TrueEvent]]:
    """Put events of one kind and place together, in the order they were told."""
    groups: dict[tuple[str, str], list[TrueEvent]] = {}
    for event in events:
        groups.setdefault((event.scenario, event.station_ids[0]), []).append(event)
    return list(groups.values())


def _finding(con: Any, zone: ZoneInfo, truth: Truth, events: Sequence[TrueEvent], lights: LightsDay) -> Finding:
    """Ask the lake what became of events of one kind at one place."""
    scenario, stations = events[0].scenario, events[0].station_ids
    started, ended = events[0].started_at.astimezone(zone), events[-1].ended_at
    last = ended or truth.ended_at
    names: dict[str, object] = {"stations": stations, "start": started, "end": last}
    stored = "FROM air_readings WHERE station_id IN $stations AND observed_at > $start AND observed_at <= $end"
    match scenario:
        case "dust_front":
            due, (found, top) = len(stations), _risen(con, names, "pm10", 2)
            told = f"stations: PM10 doubled, to {top:.0f} µg/m³"
        case "plume":
            due, (found, top) = len(stations), _risen(con, names, "pm25", 1.2)
            told = f"stations: PM2.5 rose, to {top:.0f} µg/m³"
        case "stuck" | "drift":
            suspects = (
                "SELECT count(*), min(ended_at) FROM flags WHERE parameter = $parameter AND station_id IN $stations"
                " AND ended_at > $start AND ended_at <= $end"
            )
            parameter = events[0].parameter
            found, first = con.execute(suspects, {**names, "parameter": parameter}).fetchone()
            [due] = con.execute(f"SELECT count({parameter}) {stored}", names).fetchone()
            since = f" from {first.astimezone(zone):%H:%M}" if first else ": too slow a change"
            told = f"{_label(parameter)} values suspect{since}"
        case "spikes":
            tops = [event.ended_at for event in events]
            query = "FROM flags SELECT count(*) WHERE station_id IN $stations AND parameter = 'pm10' AND ended_at IN $t"
            due, [found] = len(events), con.execute(query, {"stations": stations, "t": tops}).fetchone()
            told = "PM10 values suspect, still counted"
        case "dead" | "silent":
            silent = silent_hours(started, last)
            query = (
                "SELECT count(*) FROM rolling WHERE valid AND window_length = '1h' AND parameter = 'pm25'"
                " AND station_id IN $stations AND ended_at IN $hours"
            )
            [valid] = con.execute(query, {"stations": stations, "hours": silent}).fetchone() if silent else (0,)
            due, found = len(silent), len(silent) - valid
            told = "hours are a gap, not a guess"
        case "outage":
            due, [found] = truth.totals.late, con.execute(f"SELECT count(*) {stored}", names).fetchone()
            told = "late readings put in their minutes"
        case "blackout":
            due, found, told = lights_day.blind(con.snapshot.city, lights, {*stations}, last)
        case "future_clock":
            due, [found] = truth.totals.future, con.sql("FROM rejects SELECT count_if(reason = 'future')").fetchone()
            told = "readings 400 days ahead refused"
        case _:
            raise AssertionError(f"no question is written for scenario {scenario!r}")
    return Finding(scenario, stations, started, ended and ended.astimezone(zone), due, found, told)


def silent_hours(start: datetime, end: datetime) -> list[datetime]:
    """List the ends of the hours of which more than a quarter is silence: too much for a valid mean."""
    hour, last = start.replace(minute=0, second=0, microsecond=0), end
    ends = []
    while (hour := hour + timedelta(hours=1)) < last + timedelta(hours=1):
        if min(hour, last) - max(hour - timedelta(hours=1), start) > timedelta(minutes=15):
            ends.append(hour)
    return ends


def _risen(con: Any, names: dict[str, object], parameter: str, factor: float) -> tuple[int, float]:
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
    found, top = con.execute(query, {**names, "parameter": parameter, "factor": factor}).fetchone()
    return found, top


def _elsewhere(con: Any, truth: Truth) -> tuple[int, int]:
    """Count suspect values of stations and parameters with which nothing is wrong, and all values."""
    faulty = [event for event in truth.events if event.scenario in ("stuck", "drift", "spikes")]
    touched = {(station, event.parameter) for event in faulty for station in event.station_ids}
    suspects = con.sql("SELECT station_id, parameter, count(*) FROM flags GROUP BY ALL").fetchall()
    [values] = con.sql("SELECT sum(received)::BIGINT FROM coverage_by_day").fetchone()
    return sum(count for station, parameter, count in suspects if (station, parameter) not in touched), values


def _strips(con: Any, truth: Truth) -> list[Strip]:
    query = """
    SELECT stations.station_id, list(mean ORDER BY h)
    FROM stations
    CROSS JOIN (SELECT unnest(generate_series($start::TIMESTAMPTZ, $end::TIMESTAMPTZ, INTERVAL 1 hour)[2:]) AS h)
    LEFT JOIN (FROM rolling WHERE valid AND parameter = 'pm25' AND window_length = '1h') AS r
        ON r.station_id = stations.station_id AND r.ended_at = h
    GROUP BY stations.station_id, lon, lat
    ORDER BY lon, lat
    """
    rows = con.execute(query, {"start": truth.started_at, "end": truth.ended_at}).fetchall()
    return [Strip(station, means) for station, means in rows]


def _dust(con: Any, truth: Truth, part: int) -> Line:
    """PM10 of the stations in a third of the city, from the west: means of ten minutes, two a step."""
    query = """
    WITH
    third AS (
        SELECT station_id, ntile(3) OVER (ORDER BY lon, lat) - 1 AS part FROM stations WHERE expected_per_hour > 1
    ),
    step AS (
        SELECT
            time_bucket(INTERVAL 20 minute, ended_at - INTERVAL 10 minute) + INTERVAL 20 minute AS ended,
            avg(mean) AS mean
        FROM rolling SEMI JOIN (FROM third WHERE part = $part) AS mine USING (station_id)
        WHERE parameter = 'pm10' AND window_length = '10m' AND valid
        GROUP BY ended
    )
    SELECT t, mean FROM (
        SELECT unnest(generate_series($start::TIMESTAMPTZ, $end::TIMESTAMPTZ, INTERVAL 20 minute)[2:]) AS t
    ) LEFT JOIN step ON ended = t ORDER BY t
    """
    rows = con.execute(query, {"part": part, "start": truth.started_at, "end": truth.ended_at}).fetchall()
    return _line(PARTS[part], rows)


def _line(name: str, rows: Sequence[tuple[datetime, float | None]]) -> Line:
    peak, peak_at = max((mean, at) for at, mean in rows if mean is not None)
    return Line(name, [mean for _, mean in rows], peak, peak_at)


def _answer(con: Any, question: str, query: str) -> Answer:
    result = con.sql(query)
    return Answer(question, query, result.columns, [list(row) for row in result.fetchall()])


def of_recorded(lake: Path) -> Recorded:
    """Gather what became of the recorded stretch."""
    with catalog.connect(lake) as con:
        received, stored = con.sql("SELECT sum(received)::BIGINT, sum(stored)::BIGINT FROM ledger_totals").fetchone()
        first, last, stations, measured, extreme = con.sql(
            "SELECT min(observed_at), max(observed_at), count(DISTINCT station_id), count(pm25),"
            " count_if(flag_pm25 = 3) FROM air_readings"
        ).fetchone()
        hours = (last - first) // timedelta(hours=1) + 1
        worst_day, worst_mean = con.sql(
            "SELECT dt, avg(pm25) AS mean FROM air_readings GROUP BY dt HAVING count(pm25) > 36"
            " ORDER BY mean DESC LIMIT 1"
        ).fetchone()
        worst, worst_at, worst_of = con.sql(
            "SELECT pm25, observed_at, station_id FROM air_readings ORDER BY pm25 DESC NULLS LAST LIMIT 1"
        ).fetchone()
        gap, gap_of = con.sql(
            "SELECT date_diff('hour', lag(observed_at) OVER mine, observed_at) - 1 AS gap, station_id"
            " FROM air_readings WHERE pm25 IS NOT NULL WINDOW mine AS (PARTITION BY station_id ORDER BY observed_at)"
            " ORDER BY gap DESC NULLS LAST LIMIT 1"
        ).fetchone()
        rows = con.sql(
            "SELECT time_bucket(INTERVAL 4 hour, observed_at) AS t, avg(pm25) FROM air_readings GROUP BY t ORDER BY t"
        ).fetchall()
        return Recorded(
            city=con.snapshot.city.city.name,
            first_at=first,
            last_at=last,
            stations=stations,
            received=received,
            stored=stored,
            coverage=measured / (stations * hours),
            longest_gap_h=gap,
            longest_gap_at=gap_of,
            worst_day=worst_day,
            worst_mean=worst_mean,
            worst_hour=worst,
            worst_hour_at=worst_at,
            worst_hour_of=worst_of,
            extreme=extreme,
            line=_line("PM2.5", rows),
            faults=upkeep.audit(lake).faults,
        )


def _label(parameter: str | None) -> str:
    return {"pm25": "PM2.5", "pm10": "PM10"}.get(parameter or "", parameter or "")
