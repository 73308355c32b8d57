"""The catalog: a consistent snapshot, newest revisions, and every view on a small lake."""

import importlib.util
import itertools
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks.catalog import catalog, snapshot
from sinks.catalog.relations import sql_type

ROOT = Path(__file__).parents[3]
NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)


def rows(con, query):
    result = con.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_an_empty_lake_has_every_view_with_its_types(lake):
    with catalog.connect(lake.root) as con:
        for view in catalog.views():
            if view.name not in {"stations", "lights"}:
                assert rows(con, f"FROM {view.name}") == []
        kinds = {row["column_name"]: row["column_type"] for row in rows(con, "DESCRIBE rolling")}
        assert kinds["ended_at"] == "TIMESTAMP WITH TIME ZONE"
        assert kinds["revision"] == "INTEGER"
        assert kinds["dt"] == "DATE"


def test_a_table_that_does_not_exist_yet_is_empty(lake):
    (lake.root / "rolling").rename(lake.root / "gone")
    with catalog.connect(lake.root) as con:
        assert rows(con, "FROM rolling") == []


def test_every_table_has_a_view_and_every_view_a_question():
    made = {view.name: view for view in catalog.views()}
    for name, table in TABLES.items():
        assert name in made
        assert not table.revised or f"{name}_history" in made
    for view in made.values():
        assert view.doc[0].isupper()
        assert "?" in view.doc


def test_the_newest_revision_is_shown_and_the_history_kept(lake):
    lake.epoch(rolling=[{"mean": 1.0}, {"mean": 2.0, "station_id": "b"}])
    lake.epoch(rolling=[{"mean": 3.0, "revision": 1}])
    lake.epoch(rolling=[{"mean": 5.0, "revision": 4}, {"mean": 9.0, "ended_at": NOON + timedelta(days=1)}])
    with catalog.connect(lake.root) as con:
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
    with catalog.connect(root) as con:
        found = con.sql("SELECT station_id, ended_at, revision FROM rolling").fetchall()
    expected = [(s, NOON + timedelta(days=20 * slot), revision) for (s, slot), revision in newest.items()]
    assert sorted(found) == sorted(expected)


def test_withdrawn_flags_are_hidden(lake):
    lake.epoch(flags=[{}, {"station_id": "b"}])
    lake.epoch(flags=[{"flag": 1, "tests": "", "revision": 1}])
    with catalog.connect(lake.root) as con:
        assert con.sql("SELECT station_id, tests FROM flags").fetchall() == [("b", "spike")]
        assert con.sql("SELECT count(*) FROM flags_history").fetchone() == (3,)


def test_views_stay_until_refreshed(lake):
    lake.epoch(rolling=[{"mean": 1.0}])
    with catalog.connect(lake.root) as con:
        lake.epoch(rolling=[{"mean": 2.0, "revision": 1}])
        assert con.sql("SELECT mean FROM rolling").fetchall() == [(1.0,)]
        con.refresh()
        assert con.sql("SELECT mean FROM rolling").fetchall() == [(2.0,)]
        assert con.sql("SELECT mean FROM rolling").df()["mean"].tolist() == [2.0]


def test_a_city_day_is_local_and_times_are_shown_in_its_zone(lake):
    midnight = datetime(2026, 3, 2, 15, tzinfo=UTC)  # 24:00 of 2 March in Seoul
    lake.epoch(rolling=[{"ended_at": midnight}])
    with catalog.connect(lake.root) as con:
        assert con.sql("SELECT dt, ended_at::VARCHAR FROM rolling").fetchall() == [
            (date(2026, 3, 2), "2026-03-03 00:00:00+09")
        ]
        assert con.cursor().execute("SELECT current_setting('TimeZone')").fetchone() == ("Asia/Seoul",)


def test_threads_are_taken(lake):
    with catalog.connect(lake.root, threads=1) as con:
        assert con.sql("SELECT current_setting('threads')").fetchone() == (1,)


def test_files_written_before_a_column_was_added(lake):
    lake.epoch(rolling=[{"mean": 1.0}])
    before = TABLES["rolling"].schema
    after = before.append(before.field("suspect").with_name("added"))
    TABLES["rolling"] = TABLES["rolling"]._replace(schema=after)
    try:
        with catalog.connect(lake.root) as con:  # no run since
            assert con.sql("SELECT mean, added FROM rolling").fetchall() == [(1.0, None)]
        lake.__class__(lake.root)  # a run begins, and adds it
        lake.epoch(rolling=[{"mean": 2.0, "added": 7, "ended_at": NOON + timedelta(days=1)}])
        with catalog.connect(lake.root) as con:
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
    with catalog.connect(lake.root) as con:
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


def test_stations_and_lights_come_from_the_city(lake):
    with catalog.connect(lake.root) as con:
        a, b = rows(con, "FROM stations ORDER BY station_id")
        assert a == {
            "station_id": "a",
            "name": "Ann's",
            "lat": 35.2,
            "lon": 128.8,
            "kind": "low_cost",
            "every": "1m",
            "expected_per_hour": 60,
            "zone": "city",
            "synthetic": False,
        }
        assert (b["kind"], b["every"], b["expected_per_hour"]) == ("reference", "1h", 1)
        assert con.sql("SELECT light_id, stations FROM lights").fetchall() == [("light-1", ["b", "a"])]


def test_coverage_by_day_counts_what_came_and_what_should_have(lake):
    readings = [
        {"koff": i, "observed_at": NOON + timedelta(minutes=i), "pm25": 5.0, "flag_pm25": 4 if i < 10 else 1}
        for i in range(154)
    ]
    lake.epoch(air_readings=readings)
    with catalog.connect(lake.root) as con:
        pm25 = rows(con, "FROM coverage_by_day WHERE parameter = 'pm25' ORDER BY station_id")
        assert [(r["station_id"], r["received"], r["failed"], r["expected"], r["coverage"]) for r in pm25] == [
            ("a", 154, 10, 1440, 0.1),
            ("b", 0, 0, 24, 0.0),
        ]
        assert con.sql("SELECT count(*), sum(received)::INT FROM coverage_by_day").fetchone() == (12, 154)


def test_rejects_by_reason(lake):
    lake.books([0], rejects=[(1, "contract"), (2, "contract"), (3, "duplicate")])
    with catalog.connect(lake.root) as con:
        assert con.sql("SELECT topic, reason, messages FROM rejects_by_reason ORDER BY reason").fetchall() == [
            ("air", "contract", 2),
            ("air", "duplicate", 1),
        ]


def test_latest_means_are_the_newest_valid_ones_of_a_week(lake):
    later = NOON + timedelta(hours=1)
    lake.epoch(
        rolling=[
            {"mean": 1.0},
            {"mean": 2.0, "ended_at": later},
            {"mean": 3.0, "ended_at": later + timedelta(hours=1), "valid": False},
        ]
    )
    lake.epoch(
        rolling=[
            {"mean": 2.5, "ended_at": later, "revision": 1},
            {"station_id": "b", "ended_at": NOON - timedelta(days=8)},
        ]
    )
    with catalog.connect(lake.root) as con:
        assert con.sql("SELECT station_id, ended_at, mean FROM latest_means").fetchall() == [("a", later, 2.5)]


def test_ledger_totals_say_whether_the_books_balance(lake):
    lake.books([0, 1, 3], rejects=[(2, "duplicate")], waiting=1, last=4)
    with catalog.connect(lake.root) as con:
        [total] = rows(con, "FROM ledger_totals")
        assert (total["received"], total["stored"], total["duplicate"], total["waiting"], total["balanced"]) == (
            4,
            3,
            1,
            1,
            True,
        )
    lake.books([4], first=5, last=4)  # what waited is judged; nothing new is taken
    with catalog.connect(lake.root) as con:
        [total] = rows(con, "FROM ledger_totals")
        assert (
            total["first_offset"],
            total["last_offset"],
            total["received"],
            total["waiting"],
            total["balanced"],
        ) == (0, 4, 5, 0, True)
    lake.epoch(ledger=[{"first_offset": 5, "last_offset": 9, "received": 4, "stored": 4}])
    with catalog.connect(lake.root) as con:
        assert con.sql("SELECT balanced FROM ledger_totals").fetchone() == (False,)


@pytest.mark.parametrize("spoil", ["missing", "foreign", "newer"])
def test_what_is_no_lake_is_refused_with_the_cure(lake, spoil):
    root = lake.root
    if spoil == "missing":
        root = root.parent / "nowhere"
    elif spoil == "foreign":
        (root / snapshot.CITY_FILE).unlink()
    else:
        (root / snapshot.CITY_FILE).write_text('{"city": {}, "odour": 1}')
    with pytest.raises(ConfigurationError, match=r"cityair run") as refused:
        catalog.connect(root)
    assert str(root) in str(refused.value)


def test_a_lost_file_is_told_with_the_command_that_looks(lake):
    lake.epoch(rolling=[{}])
    next((lake.root / "rolling").glob("dt=*/*.parquet")).unlink()
    with pytest.raises(ConfigurationError, match="lake check"):
        catalog.connect(lake.root)


def test_a_path_with_brackets_is_no_pattern(lake, tmp_path):
    lake.epoch(rolling=[{"mean": 1.0}])
    odd = lake.root.rename(tmp_path / "la[k]e's *")
    with catalog.connect(odd) as con:
        assert con.sql("SELECT mean FROM rolling").fetchall() == [(1.0,)]


def test_the_ledger_is_opened_first(lake, monkeypatch):
    order = []
    original = snapshot.open_table
    monkeypatch.setattr(snapshot, "open_table", lambda root, name: order.append(name) or original(root, name))
    catalog.connect(lake.root).close()
    assert order[0] == "ledger"
    assert set(order) == set(TABLES)


def test_portable_views_run_in_a_plain_duckdb(lake):
    """With read_parquet standing in for the delta extension, which is a download; the rest is as printed."""
    lake.epoch(rolling=[{"mean": 1.0}], flags=[{}])
    lake.epoch(rolling=[{"mean": 2.0, "revision": 1}], flags=[{"flag": 1, "revision": 1}])
    lake.books([0, 1])
    printed = catalog.portable_views(lake.root)
    assert printed.startswith("INSTALL delta;\nLOAD delta;\n")
    with duckdb.connect() as con, catalog.connect(lake.root) as ours:
        scan = "read_parquet(path || '/dt=*/*.parquet', hive_partitioning = true, union_by_name = true)"
        con.execute(f"CREATE MACRO delta_scan(path) AS TABLE FROM {scan}")
        for name in TABLES:
            if not list((lake.root / name).glob("dt=*")):
                fields = [*TABLES[name].schema, pa.field("dt", pa.date32())]
                nothing = ", ".join(f'NULL::{sql_type(field.type)} AS "{field.name}"' for field in fields)
                printed = printed.replace(f"delta_scan('{lake.root / name}')", f"(SELECT {nothing} WHERE false)")
        con.execute(printed.replace("INSTALL delta;\nLOAD delta;\n", ""))
        for view in catalog.views():
            assert rows(con, f"FROM {view.name} ORDER BY ALL") == rows(ours, f"FROM {view.name} ORDER BY ALL"), (
                view.name
            )


def test_the_tables_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate.tables()
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == page, "run: python docs/generate.py"
    for view in catalog.views():
        assert f"| `{view.name}` | {view.doc} |" in page
