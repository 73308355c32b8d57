"""The simulated day: what the lake holds, against what the simulator knows to be true."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from flows.cli.demo.facts import Answer, RefusalCount, Series, SimulatedDay, StationStrip, series
from flows.cli.demo.findings import findings
from flows.simulate.truth import Truth
from sinks.catalog import Catalog, catalog
from sinks.lights.history import lights_of_day
from sinks.maintenance.audit import audit

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
THIRDS = ("west", "centre", "east")
FAULTY = ("stuck", "drift", "spikes")
"""Scenarios whose values tests must suspect."""


def simulated_day(lake: Path, truth: Truth) -> SimulatedDay:
    """Gather what became of a simulated run."""
    with catalog.connect(lake) as con:
        city = con.snapshot.city
        elsewhere, values = _suspect_elsewhere(con, truth)
        received, stored = con.sql("SELECT sum(received), sum(stored) FROM ledger_totals").fetchone()
        zone = ZoneInfo(city.city.timezone)
        day = (truth.ended_at - timedelta(microseconds=1)).astimezone(zone).date()
        lights = lights_of_day(con, day)
        return SimulatedDay(
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
            refused=_refusals(con, truth),
            findings=findings(con, truth, lights),
            values=values,
            suspect_elsewhere=elsewhere,
            strips=_strips(con, truth),
            dust=[_dust(con, truth, third) for third in range(len(THIRDS))],
            lights=lights,
            words=city.light_rules.words,
            answers=[_answer(con, question, query.format(day=day)) for question, query in QUESTIONS],
            faults=audit(lake).faults,
        )


def _refusals(con: Catalog, truth: Truth) -> list[RefusalCount]:
    query = "SELECT reason, count(*), coalesce(arg_min(detail, koff), '') FROM rejects GROUP BY reason"
    refused = {reason: (count, detail) for reason, count, detail in con.sql(query).fetchall()}
    sent = truth.totals.refused
    reasons = [reason for reason in sent if sent[reason] or reason in refused]
    rows = [RefusalCount(reason, sent[reason], *refused.get(reason, (0, ""))) for reason in reasons]
    return sorted(rows, key=lambda row: -row.sent)


def _suspect_elsewhere(con: Catalog, truth: Truth) -> tuple[int, int]:
    """Count suspect values of stations and parameters with which nothing is wrong, and all values."""
    faulty = {
        (station, event.parameter)
        for event in truth.events
        if event.scenario in FAULTY
        for station in event.station_ids
    }
    suspects = con.sql("SELECT station_id, parameter, count(*) FROM flags GROUP BY ALL").fetchall()
    [values] = con.sql("SELECT sum(received)::BIGINT FROM coverage_by_day").fetchone()
    return sum(count for station, parameter, count in suspects if (station, parameter) not in faulty), values


def _strips(con: Catalog, truth: Truth) -> list[StationStrip]:
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
    return [StationStrip(station, means) for station, means in rows]


def _dust(con: Catalog, truth: Truth, third: int) -> Series:
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
    rows = con.execute(query, {"part": third, "start": truth.started_at, "end": truth.ended_at}).fetchall()
    return series(THIRDS[third], rows)


def _answer(con: Catalog, question: str, query: str) -> Answer:
    result = con.sql(query)
    return Answer(question, query, result.columns, [list(row) for row in result.fetchall()])
