"""Compact and vacuum on small lakes, while flows and other compactions go on."""

import os
import re
import time
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from schemas.errors import ConfigurationError, ContractError
from schemas.tables import TABLES
from sinks.catalog import connect
from sinks.maintenance import compact as compaction
from sinks.maintenance.audit import audit
from sinks.maintenance.check import check
from sinks.maintenance.compact import compact, vacuum
from tests.support.lakes import NOON, data_files, orphans


def filled(lake):
    for i in range(3):
        lake.epoch(
            rolling=[{"station_id": s, "ended_at": NOON + timedelta(minutes=10 * i), "mean": i / 3} for s in "ba"]
            + [{"revision": i, "mean": float(i)}] * (i > 0),
            rejects=[{"koff": i, "payload": bytes([i])}],
        )
    return lake


def rows(lake, name):
    with connect(lake.root) as con:
        return con.sql(f"FROM {name} ORDER BY ALL").fetchall()


def test_compacted_days_hold_the_same_rows_in_one_sorted_file(lake):
    filled(lake).epoch(rolling=[{"ended_at": NOON + timedelta(days=3)}])
    lake.epoch(rolling=[{"ended_at": NOON + timedelta(days=3, hours=1)}])
    before = {name: rows(lake, name) for name in ("rolling", "rolling_history", "rejects")}
    assert compact(lake.root, date(2026, 3, 4)) == {**dict.fromkeys(TABLES, 0), "rolling": 3, "rejects": 3}
    assert {name: rows(lake, name) for name in before} == before
    table = DeltaTable(str(lake.root / "rolling"))
    assert table.transaction_version("air") == lake.p
    assert sorted(uri.rsplit("/", 2)[1] for uri in table.file_uris()) == [
        "dt=2026-03-02",
        "dt=2026-03-05",
        "dt=2026-03-05",
    ]
    [joined] = [path for path in data_files(lake.root, "rolling") if path.name.startswith("compact-")]
    key = [*TABLES["rolling"].key, "revision"]
    joined_rows = pq.ParquetFile(joined).read(key)
    assert joined_rows.num_rows == 8
    assert joined_rows == joined_rows.sort_by([(column, "ascending") for column in key])
    assert check(lake.root).faults == []
    assert compact(lake.root, date(2026, 3, 4)) == dict.fromkeys(TABLES, 0)


def test_statistics_of_a_compacted_file_let_readers_skip_it(lake):
    filled(lake)
    compact(lake.root)
    adds = pa.RecordBatchReader.from_stream(
        DeltaTable(str(lake.root / "rolling")).get_add_actions(flatten=True)
    ).read_all()
    [add] = adds.to_pylist()
    assert (add["num_records"], add["min.revision"], add["max.revision"]) == (8, 0, 2)
    assert (add["min.ended_at"], add["max.ended_at"]) == (NOON, NOON + timedelta(minutes=20))
    assert (add["min.station_id"], add["max.station_id"], add["null_count.mean"]) == ("a", "b", 0)


def test_long_texts_do_not_swell_the_log(lake):
    for i in range(2):
        lake.epoch(rejects=[{"koff": i, "detail": "x" * 5000}])
    compact(lake.root)
    assert "xxx" not in (lake.root / "rejects" / "_delta_log" / f"{3:020}.json").read_text()


def test_a_flow_writes_on_while_a_day_is_joined(lake, monkeypatch):
    filled(lake)
    before = len(rows(lake, "rolling_history"))
    original = pq.write_table

    def meanwhile(*args, **kwargs):
        original(*args, **kwargs)
        lake.epoch(rolling=[{"station_id": "c", "mean": 7.0}])

    monkeypatch.setattr(pq, "write_table", meanwhile)
    compaction._join(lake.root, "rolling", date(2026, 3, 2))
    after = rows(lake, "rolling_history")
    assert len(after) == before + 1
    assert any(row[1] == "c" for row in after)
    assert DeltaTable(str(lake.root / "rolling")).transaction_version("air") == lake.p
    assert check(lake.root).faults == []


def test_two_compactions_at_once_join_a_day_once(lake, monkeypatch):
    filled(lake)
    before = rows(lake, "rolling_history")
    original, calls = pq.write_table, []

    def meanwhile(*args, **kwargs):
        original(*args, **kwargs)
        if not calls:
            calls.append(1)
            compaction._join_once(lake.root, "rolling", date(2026, 3, 2))

    monkeypatch.setattr(pq, "write_table", meanwhile)
    compaction._join(lake.root, "rolling", date(2026, 3, 2))
    assert rows(lake, "rolling_history") == before
    report = check(lake.root)
    assert report.faults == []
    assert report.tables["rolling"]["files"] == 1


def test_a_flow_that_was_open_before_goes_on_after(lake):
    filled(lake)
    stale = DeltaTable(str(lake.root / "rolling"))
    compact(lake.root)
    stale.update_incremental()
    assert stale.transaction_version("air") == lake.p
    lake.epoch(rolling=[{"station_id": "c"}])
    assert len(rows(lake, "rolling")) == 7


def test_a_file_that_lost_rows_is_not_joined(lake):
    filled(lake)
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 2', '\\"numRecords\\": 5'))
    with pytest.raises(ContractError, match="hold 8 rows, the log says 11"):
        compact(lake.root)
    assert not [path for path in data_files(lake.root, "rolling") if path.name.startswith("compact-")]


def test_vacuum_removes_only_what_was_replaced_a_day_ago(lake):
    filled(lake)
    compact(lake.root)
    pending = data_files(lake.root, "rolling")[0].with_name("air-00000099-abc.parquet")
    pending.write_bytes(b"pending")
    os.utime(pending, (time.time() - 200_000,) * 2)
    assert vacuum(lake.root) == dict.fromkeys(TABLES, 0)
    assert "3 files replaced" in check(lake.root).warnings[-2] + check(lake.root).warnings[-1]
    log = lake.root / "rolling" / "_delta_log" / f"{4:020}.json"
    now = DeltaTable(str(lake.root / "rolling"))
    assert now.version() == 4
    text, count = re.subn(
        r'(?<="deletionTimestamp":)\d+', lambda stamp: str(int(stamp[0]) - 90_000_000), log.read_text()
    )
    assert count == 3
    log.write_text(text)
    assert vacuum(lake.root)["rolling"] == 3
    assert pending.exists()
    assert len(rows(lake, "rolling_history")) == 8


def test_an_interrupt_after_the_commit_leaves_the_new_file(lake, monkeypatch):
    """The log lists it already: to remove it would lose the rows of a day."""
    filled(lake)
    before, original = rows(lake, "rolling_history"), DeltaTable.create_write_transaction

    def interrupted(*args, **kwargs):
        original(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compact(lake.root)
    assert rows(lake, "rolling_history") == before
    assert check(lake.root).faults == []


def test_an_interrupt_before_the_commit_leaves_nothing(lake, monkeypatch):
    filled(lake)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compact(lake.root)
    assert orphans(lake.root) == []


@pytest.mark.parametrize("deed", [audit, check, compact, vacuum])
def test_no_lake_no_deed(tmp_path, deed):
    with pytest.raises(ConfigurationError, match="there is no lake here"):
        deed(tmp_path / "nowhere")
