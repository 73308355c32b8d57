"""The recorded two weeks: what the lake holds of them."""

from datetime import timedelta
from pathlib import Path

from flows.cli.demo.facts import RecordedStretch, series
from sinks.catalog import catalog
from sinks.maintenance.audit import audit


def recorded_stretch(lake: Path) -> RecordedStretch:
    """Gather what became of the recorded air."""
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
        return RecordedStretch(
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
            series=series("PM2.5", rows),
            faults=audit(lake).faults,
        )
