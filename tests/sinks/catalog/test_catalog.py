"""The catalog: a connection onto one consistent snapshot, with every view."""

import importlib.util
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.catalog.relations import sql_type
from tests.support.queries import rows

ROOT = Path(__file__).parents[3]


def test_an_empty_lake_has_every_view_with_its_types(lake):
    with catalog.connect(lake.root) as con:
        for view in catalog.views():
            if view.name not in {"stations", "lights", "lights_now"}:
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


def test_a_lost_file_is_told_with_the_command_that_looks(lake):
    lake.epoch(rolling=[{}])
    next((lake.root / "rolling").glob("dt=*/*.parquet")).unlink()
    with pytest.raises(ConfigurationError, match="lake check"):
        catalog.connect(lake.root)


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
