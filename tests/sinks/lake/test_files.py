"""Files of an epoch: what was added, by its day, in bounded memory and few open files."""

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.rejected import MAX_KEPT_BYTES
from schemas.slots import DAY_US
from schemas.tables import TABLES, Storage
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.settings import LakeSettings
from tests.support.batches import START_US, reject_rows


@pytest.fixture
def make_files(tmp_path):
    def make(**settings):
        return EpochFiles(tmp_path, "air-00000003", LocalDates("UTC"), LakeSettings(**settings))

    return make


def rows_by_day(root, table, files):
    return {file.dt: pq.read_table(root / table / file.path, partitioning=None) for file in files}


def test_a_file_for_each_day(make_files, tmp_path):
    files = make_files()
    files.add("rejects", reject_rows([START_US + 1, START_US + 5, START_US + DAY_US]))
    files.add("rejects", reject_rows([START_US + DAY_US + 1], first=3, payload=b"x" * MAX_KEPT_BYTES))
    written = files.finish()
    assert list(written) == ["rejects"]
    days = rows_by_day(tmp_path, "rejects", written["rejects"])
    assert {day: rows["koff"].to_pylist() for day, rows in days.items()} == {"2026-03-02": [0, 1, 2], "2026-03-03": [3]}
    assert days["2026-03-03"]["payload"].to_pylist() == [b"x" * MAX_KEPT_BYTES]
    assert all(file.path.startswith(f"dt={file.dt}/air-00000003-") for file in written["rejects"])
    assert len(list((tmp_path / "rejects").rglob("*.parquet"))) == 2


def test_statistics_say_what_is_in_a_file(make_files, tmp_path):
    files = make_files()
    files.add("rejects", reject_rows([START_US + 9, START_US + 5], first=7))
    files.add("rejects", reject_rows([START_US + 1], first=2))
    [file] = files.finish()["rejects"]
    path, stats = tmp_path / "rejects" / file.path, json.loads(file.stats)
    assert file.size == path.stat().st_size
    assert stats["numRecords"] == pq.read_metadata(path).num_rows == 3
    assert (stats["minValues"]["koff"], stats["maxValues"]["koff"]) == (2, 8)
    least, greatest = (datetime.fromisoformat(stats[bound]["received_at"]) for bound in ("minValues", "maxValues"))
    assert (least.microsecond, greatest.microsecond) == (1, 9)
    assert stats["nullCount"] == {"received_at": 0, "koff": 0}


def test_an_epoch_without_rows_makes_no_file(make_files, tmp_path):
    files = make_files()
    files.add("rejects", reject_rows([]))
    assert files.finish() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_table_says_how_its_files_are_written(make_files, tmp_path, monkeypatch):
    storage = Storage(
        dictionary=("kpart",), encodings={"koff": "PLAIN"}, statistics=("kpart",), ranges=("kpart",), nullable=()
    )
    monkeypatch.setitem(TABLES, "rejects", TABLES["rejects"]._replace(storage=storage))
    files = make_files()
    files.add("rejects", reject_rows([START_US + 1, START_US + 2]))
    [file] = files.finish()["rejects"]
    stats = json.loads(file.stats)
    assert list(stats["minValues"]) == ["received_at", "kpart"]
    metadata = pq.read_metadata(tmp_path / "rejects" / file.path)
    group = metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "RLE_DICTIONARY" in columns["kpart"].encodings
    assert "RLE_DICTIONARY" in columns["topic"].encodings, "texts of type NAME always"
    assert "DELTA_BINARY_PACKED" not in columns["koff"].encodings
    assert {name for name, column in columns.items() if column.is_stats_set} == {"received_at", "kpart"}
    assert not any(field.nullable for field in metadata.schema.to_arrow_schema())


# Limits


def test_no_more_files_are_open_and_no_more_rows_buffered_than_the_settings_say(make_files, tmp_path):
    files, most_open = make_files(max_open_files=4, max_buffered_rows=40), 0
    for turn in range(6):
        files.add("rejects", reject_rows([START_US + day * DAY_US + 1 + turn for day in range(20)], first=20 * turn))
        files.wait()
        most_open = max(most_open, len(files._open_files._open))
        assert files._buffered_rows <= 40
    written = files.finish()["rejects"]
    assert most_open == 4
    assert len({file.dt for file in written}) == 20
    assert len({file.path for file in written}) == len(written) > 20
    tables = [pq.read_table(tmp_path / "rejects" / file.path, partitioning=None) for file in written]
    assert sorted(offset for table in tables for offset in table["koff"].to_pylist()) == list(range(120))


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({}, [9]),
        ({"row_group_rows": 3}, [3, 3, 3]),
        ({"row_group_rows": 4}, [6, 3]),
        ({"max_buffered_s": -1.0}, [3, 3, 3]),
    ],
)
def test_row_groups_are_as_large_as_the_settings_say(make_files, tmp_path, settings, groups):
    files = make_files(**settings)
    for turn in range(3):
        files.add("rejects", reject_rows([START_US + 1] * 3, first=3 * turn))
    [file] = files.finish()["rejects"]
    metadata = pq.read_metadata(tmp_path / "rejects" / file.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == groups


def test_a_day_that_the_table_has_gone_past_is_written_early(make_files, tmp_path):
    files = make_files(past_day_buffered_s=-1.0)
    files.add("rejects", reject_rows([START_US + 1]))
    files.add("rejects", reject_rows([START_US + DAY_US + 1], first=1))
    files.wait()
    assert list(files._buffers) == [("rejects", START_US // DAY_US + 1)]
    assert len(files.finish()["rejects"]) == 2


def test_seventy_days_in_one_epoch(make_files):
    files = make_files()
    files.add("rejects", reject_rows([START_US + day * DAY_US + 1 for day in range(70)]))
    written = files.finish()["rejects"]
    assert sum(json.loads(file.stats)["numRecords"] for file in written) == len(written) == 70


def test_memory_does_not_grow_with_the_epoch(make_files):
    files, table = make_files(), "ledger"
    numbers = pa.array(np.arange(100_000))
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["air.ndjson"]))
    times = pa.array(START_US + 1 + np.arange(100_000)).cast(pa.timestamp("us", "UTC"))
    schema = TABLES[table].schema.remove_metadata()
    before, most = pa.total_allocated_bytes(), 0
    for _ in range(30):
        fresh = {"flow": name, "topic": name, "kpart": pa.array(np.zeros(100_000, np.int32)), "received_at": times}
        columns = [fresh[c] if c in fresh else numbers.take(numbers) for c in schema.names]
        files.add(table, pa.RecordBatch.from_arrays(columns, schema=schema))
        most = max(most, pa.total_allocated_bytes() - before)
    assert sum(json.loads(file.stats)["numRecords"] for file in files.finish()[table]) == 3_000_000
    assert most < 100 << 20, "three million rows of 90 bytes each are 270 MB"
