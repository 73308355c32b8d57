"""Two lakes compared, one of them of a run that was disturbed; and what must hold of each alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.maintenance.audit import audit

NEWEST = {
    "rolling": "zone, station_id, parameter, window_length, ended_at, mean, count, expected, coverage, suspect, "
    "valid, why_invalid",
    "flags": "zone, station_id, parameter, ended_at, flag, tests",
    "air_readings": "* EXCLUDE (received_at, dt)",
    "rejects": "topic, kpart, koff, reason, detail, payload",
    "ledger_totals": "* EXCLUDE (received_at)",
}
"""Columns of each view that must be equal; a wall clock's time and the number of a revision need not be."""


def view_differences(
    calm: Path, disturbed: Path, views: Mapping[str, str], may_be_empty: Iterable[str] = ()
) -> Iterator[str]:
    """Differences between the views of two lakes, and views in which there is nothing to compare."""
    with catalog.connect(calm) as calm_con, catalog.connect(disturbed) as disturbed_con:
        for view, columns in views.items():
            expected, actual = (
                con.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table()
                for con in (calm_con, disturbed_con)
            )
            if not expected.num_rows and view not in may_be_empty:
                yield f"{view} is empty: nothing was proved"
            if not expected.equals(actual):
                difference = first_difference(expected, actual)
                yield f"{view}: {expected.num_rows} rows and {actual.num_rows}, first {difference}"


def first_difference(expected: Any, actual: Any) -> str:
    """Rows that only one of two tables has: at most two."""
    with duckdb.connect() as con:
        con.register("expected", expected)
        con.register("actual", actual)
        return str(
            con.execute(
                "(FROM expected EXCEPT ALL FROM actual) UNION ALL (FROM actual EXCEPT ALL FROM expected) "
                "ORDER BY ALL LIMIT 2"
            ).fetchall()
        )


def lake_faults(lake: Path, ends: Sequence[int] | None = None) -> Iterator[str]:
    """Faults of one lake: a ledger that does not balance, doubles, holes, and orphan files.

    Args:
        lake: its folder.
        ends: of each partition of the input, the offset behind its last message; if left out, the last offset of each
            is taken for its end.
    """
    yield from audit(lake).faults
    with catalog.connect(lake) as con:
        offsets = con.execute(
            "SELECT kpart, count(*), count(DISTINCT koff), max(koff) + 1 "
            "FROM (SELECT kpart, koff FROM air_readings UNION ALL SELECT kpart, koff FROM rejects) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        for (partition, count, distinct, end), due in zip(offsets, ends or [o[-1] for o in offsets], strict=True):
            if not count == distinct == end == due:
                yield f"partition {partition}, {due} messages: {count} rows of {distinct} offsets before {end}"
        [doubled] = con.execute(
            "SELECT count(*) FROM (FROM rolling_history SELECT count(*) AS n "
            "GROUP BY station_id, parameter, window_length, ended_at, revision HAVING n > 1)"
        ).fetchone()
        if doubled:
            yield f"{doubled} revisions of means are there twice"
    for table in TABLES:
        known = set(DeltaTable(str(lake / table)).file_uris())
        orphans = [path for path in (lake / table).glob("dt=*/*.parquet") if str(path) not in known]
        if orphans:
            yield f"{table}: {len(orphans)} orphan files, first {orphans[0].name}"


def row_counts(lake: Path, *relations: str) -> list[int]:
    """Rows of each view, or of what stands behind a FROM."""
    with catalog.connect(lake) as con:
        return [con.execute(f"SELECT count(*) FROM {relation}").fetchone()[0] for relation in relations]
