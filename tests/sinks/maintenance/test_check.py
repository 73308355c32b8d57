"""Check on small lakes, whole and spoilt."""

import os
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from schemas.tables import TABLES
from sinks.maintenance.check import MANY_FILES, check
from tests.support.lakes import NOON, data_files


def test_a_whole_lake_has_no_faults(lake):
    lake.books([0, 1]).epoch(rolling=[{}, {"ended_at": datetime(2026, 3, 2, 15, tzinfo=UTC)}])
    report = check(lake.root)
    assert report.faults == []
    assert report.warnings == []
    assert report.tables["rolling"]["files"] == 1
    assert report.tables["rolling"]["rows"] == 2
    assert report.tables["flags"] == {"files": 0, "rows": 0, "bytes": 0}


def test_a_lost_file(lake):
    lake.epoch(rolling=[{}])
    data_files(lake.root, "rolling")[0].unlink()
    [fault] = check(lake.root).faults
    assert "rolling" in fault
    assert "is gone" in fault


def test_a_cut_file(lake):
    lake.epoch(rolling=[{}])
    path = data_files(lake.root, "rolling")[0]
    path.write_bytes(path.read_bytes()[:-10])
    assert "bytes, the log says" in check(lake.root).faults[0]


def test_a_garbled_file(lake):
    lake.epoch(rolling=[{}])
    path = data_files(lake.root, "rolling")[0]
    path.write_bytes(b"x" * path.stat().st_size)
    assert "cannot be read" in check(lake.root).faults[0]


def test_other_rows_than_the_log_says(lake):
    """A file of the same size with other rows: only its statistics can tell."""
    lake.epoch(rolling=[{}])
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 1', '\\"numRecords\\": 2'))
    assert check(lake.root).faults[0].endswith("has 1 rows, the log says 2")


def test_rows_of_another_day(lake):
    lake.epoch(rolling=[{}])
    day = lake.root / "rolling" / "dt=2026-03-02"
    day.rename(day.with_name("dt=2026-03-03"))
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(
        log.read_text().replace("2026-03-02/", "2026-03-03/").replace('"dt":"2026-03-02"', '"dt":"2026-03-03"')
    )
    [fault] = check(lake.root).faults
    assert "2026-03-02T03:00:00" in fault
    assert fault.endswith("which is of 2026-03-02")


def test_an_unreadable_log(lake):
    (lake.root / "flags" / "_delta_log" / f"{0:020}.json").write_text("{")
    report = check(lake.root)
    assert len(report.faults) == 1
    assert report.faults[0].startswith("flags: its log cannot be read")
    assert "rolling" in report.tables


def test_columns_of_another_type(lake):
    lake.epoch(rolling=[{}])
    original = TABLES["rolling"]
    where = original.schema.get_field_index("suspect")
    TABLES["rolling"] = original._replace(
        schema=original.schema.set(where, pa.field("suspect", pa.float64())).remove(
            original.schema.get_field_index("valid")
        )
    )
    try:
        report = check(lake.root)
    finally:
        TABLES["rolling"] = original
    assert report.faults[0] == "rolling.suspect: is INTEGER, but schemas/tables.py says DOUBLE"
    assert report.warnings == ["rolling.valid: unknown to this version of cityair"]


def test_orphan_files_are_warned_of_by_age(lake):
    lake.epoch(rolling=[{}])
    path = data_files(lake.root, "rolling")[0]
    young, old = path.with_name("air-00000009-abc.parquet"), path.with_name("air-00000008-abc.parquet")
    for orphan in (young, old):
        orphan.write_bytes(path.read_bytes())
    os.utime(old, (time.time() - 90_000,) * 2)
    report = check(lake.root)
    assert report.faults == []
    assert any("1 files not in the log" in w for w in report.warnings)
    assert any("1 orphan files older than 24 h" in w for w in report.warnings)


def test_days_of_many_files_are_warned_of(lake):
    for i in range(MANY_FILES + 1):
        lake.epoch(flags=[{"ended_at": NOON + timedelta(minutes=i)}])
    [warning] = check(lake.root).warnings
    assert "flags: 1 days of more than 8 files" in warning
    assert "lake compact" in warning
