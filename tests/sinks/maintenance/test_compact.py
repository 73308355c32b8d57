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
from tests.support import compaction_races
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


def cityair_compaction(root, name):
    compaction._join(root, name, date(2026, 3, 2))


def foreign_compaction(root, name):
    DeltaTable(str(root / name)).optimize.compact()


def foreign_order(root, name):
    DeltaTable(str(root / name)).optimize.z_order(["station_id"])


@pytest.mark.parametrize("other", [cityair_compaction, foreign_compaction, foreign_order])
def test_two_compactions_at_once_join_a_day_once(lake, monkeypatch, other):
    """The other one commits between our look at the files and our commit."""
    filled(lake)
    before = rows(lake, "rolling_history")
    original, calls = pq.write_table, []

    def meanwhile(*args, **kwargs):
        original(*args, **kwargs)
        if not calls:
            calls.append(1)
            other(lake.root, "rolling")

    monkeypatch.setattr(pq, "write_table", meanwhile)
    compaction._join(lake.root, "rolling", date(2026, 3, 2))
    assert len(before) == 8
    assert rows(lake, "rolling_history") == before
    report = check(lake.root)
    assert report.faults == []
    assert report.tables["rolling"]["files"] == 1


def test_twenty_races_of_compactions_and_a_flow_double_nothing(lake):
    """``python -m tests.chaos.compactions`` runs more."""
    compaction_races.races(lake.root, 20, seed=1)
    assert check(lake.root).faults == []


def test_a_day_is_joined_though_flows_commit_all_the_time(lake, monkeypatch):
    """The joined file is not written again for that: the files that it replaces are still there."""
    filled(lake)
    before, commits, written = rows(lake, "rolling_history"), [], []
    commit, write = DeltaTable.create_write_transaction, pq.write_table

    def busy(self, actions, **kwargs):
        if len(actions) > 1 and len(commits) < 7:
            commits.append(1)
            lake.epoch(rolling=[{"station_id": "c", "revision": len(commits)}])
        commit(self, actions, **kwargs)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", busy)
    monkeypatch.setattr(pq, "write_table", lambda *args, **kwargs: (written.append(args[1]), write(*args, **kwargs)))
    monkeypatch.setattr(compaction, "PAUSE_S", 0.0)
    compaction._join(lake.root, "rolling", date(2026, 3, 2))
    assert len(rows(lake, "rolling_history")) == len(before) + 7
    assert len([path for path in written if "compact-" in str(path)]) == 1
    assert check(lake.root).faults == []


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
    original = pq.write_table

    def interrupted(*args, **kwargs):
        original(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compact(lake.root)
    assert orphans(lake.root) == []


def block_checkpoints(root, name):
    """Have each commit write a checkpoint, and let something stand where it would be written."""
    table = DeltaTable(str(root / name))
    table.alter.set_table_properties({"delta.checkpointInterval": "1"}, raise_if_not_exists=False)
    for version in range(table.version() + 1, table.version() + 5):
        obstacle = root / name / "_delta_log" / f"{version:020}.checkpoint.parquet"
        obstacle.mkdir()
        (obstacle / "x").touch()


def test_a_committed_file_stays_though_the_checkpoint_after_it_fails(lake, caplog):
    filled(lake)
    before = rows(lake, "rolling_history")
    block_checkpoints(lake.root, "rolling")
    assert compact(lake.root)["rolling"] == 3
    assert "the commit is made, but not what follows it" in caplog.text
    assert rows(lake, "rolling_history") == before
    report = check(lake.root)
    assert report.faults == []
    assert report.tables["rolling"]["files"] == 1


@pytest.mark.parametrize("failing", ["fsync", "update"])
def test_a_committed_file_stays_whatever_fails_after_it(lake, monkeypatch, failing):
    """Not only a checkpoint: nothing that follows the commit may take the file away."""
    filled(lake)
    before = rows(lake, "rolling_history")

    def failed(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        if failing == "fsync":
            patched.setattr(compaction.commit_log, "fsync_entries", failed)
        else:
            patched.setattr(DeltaTable, "update_incremental", failed)
        with pytest.raises(ConfigurationError, match="no space left on device"):
            compact(lake.root)
    assert rows(lake, "rolling_history") == before
    assert check(lake.root).faults == []


@pytest.mark.parametrize("deed", [audit, check, compact, vacuum])
def test_no_lake_no_deed(tmp_path, deed):
    with pytest.raises(ConfigurationError, match="there is no lake here"):
        deed(tmp_path / "nowhere")
