"""Relations behind the views: newest revisions, added columns, and filters that leave files closed."""

import itertools
import json
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.tables import TABLES
from sinks.catalog import connect
from tests.support.lakes import NOON


def test_the_newest_revision_is_shown_and_the_history_kept(lake):
    lake.epoch(rolling=[{"mean": 1.0}, {"mean": 2.0, "station_id": "b"}])
    lake.epoch(rolling=[{"mean": 3.0, "revision": 1}])
    lake.epoch(rolling=[{"mean": 5.0, "revision": 4}, {"mean": 9.0, "ended_at": NOON + timedelta(days=1)}])
    with connect(lake.root) as con:
        assert con.sql("SELECT mean FROM rolling ORDER BY ALL").fetchall() == [(2.0,), (5.0,), (9.0,)]
        assert con.sql("SELECT mean FROM rolling_history ORDER BY ALL").fetchall() == [
            (1.0,),
            (2.0,),
            (3.0,),
            (5.0,),
            (9.0,),
        ]
        assert con.sql("SELECT mean FROM rolling WHERE station_id = 'a' AND dt = '2026-03-02'").fetchall() == [(5.0,)]


revisions = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)),
    unique_by=lambda r: r[:3],
    max_size=30,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(revisions, st.integers(0, 99))
def test_newest_equals_a_window_over_everything(tmp_path_factory, lake, written, seed):
    root = tmp_path_factory.mktemp("lake")
    fresh = type(lake)(root)
    for number, epoch in itertools.groupby(sorted(written, key=lambda r: (r[3] + seed) % 3), key=lambda r: r[3]):
        fresh.epoch(
            rolling=[
                {
                    "station_id": s,
                    "ended_at": NOON + timedelta(days=20 * slot),
                    "revision": revision,
                    "mean": float(revision),
                }
                for s, slot, revision, _ in epoch
            ]
        )
        assert number in range(3)
    newest = {}
    for station, slot, revision, _ in written:
        newest[station, slot] = max(revision, newest.get((station, slot), 0))
    with connect(root) as con:
        shown = con.sql("SELECT station_id, ended_at, revision FROM rolling").fetchall()
    expected = [(s, NOON + timedelta(days=20 * slot), revision) for (s, slot), revision in newest.items()]
    assert sorted(shown) == sorted(expected)


def test_files_written_before_a_column_was_added(lake):
    lake.epoch(rolling=[{"mean": 1.0}])
    before = TABLES["rolling"].schema
    after = before.append(before.field("suspect").with_name("added"))
    TABLES["rolling"] = TABLES["rolling"]._replace(schema=after)
    try:
        with connect(lake.root) as con:  # no run since
            assert con.sql("SELECT mean, added FROM rolling").fetchall() == [(1.0, None)]
        lake.__class__(lake.root)  # a run begins, and adds it
        lake.epoch(rolling=[{"mean": 2.0, "added": 7, "ended_at": NOON + timedelta(days=1)}])
        with connect(lake.root) as con:
            assert con.sql("SELECT mean, added FROM rolling ORDER BY ALL").fetchall() == [(1.0, None), (2.0, 7)]
    finally:
        TABLES["rolling"] = TABLES["rolling"]._replace(schema=before)


def opened(con, query):
    """Run a query; its plan as JSON, with what each step handed on."""
    con.execute("PRAGMA enable_profiling = 'json'")
    plan = con.execute("EXPLAIN ANALYZE " + query).fetchall()[0][1]
    con.execute("PRAGMA disable_profiling")
    return plan


def test_filters_reach_the_files(lake):
    for day in range(0, 100, 5):
        times = [NOON + timedelta(days=day, minutes=10 * step) for step in range(3)]
        lake.epoch(rolling=[{"ended_at": t, "station_id": s, "revision": 0} for t in times for s in "ab"])
        if day % 2:
            lake.epoch(rolling=[{"ended_at": times[0], "revision": 1}])
    low, high = NOON + timedelta(days=45), NOON + timedelta(days=46)
    with connect(lake.root) as con:
        for where in ("dt = '2026-04-16'", f"ended_at >= '{low.isoformat()}' AND ended_at < '{high.isoformat()}'"):
            query = f"SELECT station_id, mean FROM rolling WHERE station_id = 'a' AND {where}"
            assert len(con.execute(query).fetchall()) == 3
            plan = opened(con, query)
            assert 3 <= scanned(plan) <= 12, plan  # of 120: the day's own rows, and its revised ones


def scanned(plan):
    """Sum of rows that scans handed on."""

    def walk(node):
        own = node.get("operator_cardinality", 0) if "READ_PARQUET" in str(node.get("operator_name", "")).upper() else 0
        return own + sum(walk(child) for child in node.get("children", []))

    return walk(json.loads(plan))


def test_a_path_with_brackets_is_no_pattern(lake, tmp_path):
    lake.epoch(rolling=[{"mean": 1.0}])
    odd = lake.root.rename(tmp_path / "la[k]e's *")
    with connect(odd) as con:
        assert con.sql("SELECT mean FROM rolling").fetchall() == [(1.0,)]
