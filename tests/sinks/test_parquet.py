"""Files of an epoch: what was added, by its day, in bounded memory and few open files."""

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.rejected import MAX_KEPT_BYTES
from schemas.tables import TABLES
from sinks.lake import files as parquet
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from tests.sinks.epochs import DAY, START, rejects


@pytest.fixture
def files(tmp_path):
    return EpochFiles(tmp_path, "air-00000003", LocalDates("UTC"))


def content(root, table, found):
    """All rows of data files, by their day."""
    return {file.dt: pq.read_table(root / table / file.path, partitioning=None) for file in found}


def test_files_hold_what_was_added_and_their_statistics_say_so(files, tmp_path):
    files.add("rejects", rejects([START + 1, START + 5, START + DAY]))
    files.add("rejects", rejects([START + DAY + 1], first=3, payload=b"x" * MAX_KEPT_BYTES))
    files.add("rejects", rejects([], first=4))
    found = files.finish()
    assert list(found) == ["rejects"]
    days = content(tmp_path, "rejects", found["rejects"])
    assert {day: rows["koff"].to_pylist() for day, rows in days.items()} == {"2026-03-02": [0, 1, 2], "2026-03-03": [3]}
    assert days["2026-03-03"]["payload"].to_pylist() == [b"x" * MAX_KEPT_BYTES]
    for file in found["rejects"]:
        rows, stats = days[file.dt], json.loads(file.stats)
        path = tmp_path / "rejects" / file.path
        assert file.path.startswith(f"dt={file.dt}/air-00000003-")
        assert file.size == path.stat().st_size
        assert stats["numRecords"] == rows.num_rows == pq.read_metadata(path).num_rows
        for bound, of in (("minValues", min), ("maxValues", max)):
            assert stats[bound]["koff"] == of(rows["koff"].to_pylist())
            told = datetime.fromisoformat(stats[bound]["received_at"].replace("Z", "+00:00"))
            assert told == of(rows["received_at"].to_pylist())
    assert len(list((tmp_path / "rejects").rglob("*.parquet"))) == 2


def test_an_epoch_without_rows_makes_no_file(files, tmp_path):
    assert files.finish() == {}
    assert list(tmp_path.iterdir()) == []


def test_more_days_than_files_may_be_open(files, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_OPEN", 4)
    monkeypatch.setattr(parquet, "MOST_KEPT", 40)
    most = 0
    for turn in range(6):
        files.add("rejects", rejects([START + day * DAY + 1 + turn for day in range(20)], first=20 * turn))
        files.wait()
        most = max(most, len(files._files._open))
        assert files._rows <= 40
    found = files.finish()["rejects"]
    assert most == 4
    assert len({file.dt for file in found}) == 20
    assert len({file.path for file in found}) == len(found) > 20
    koff = [
        value
        for file in found
        for value in pq.read_table(tmp_path / "rejects" / file.path, partitioning=None)["koff"].to_pylist()
    ]
    assert sorted(koff) == list(range(120))


def test_seventy_days_in_one_epoch(files, tmp_path):
    files.add("rejects", rejects([START + day * DAY + 1 for day in range(70)]))
    found = files.finish()["rejects"]
    assert sum(json.loads(file.stats)["numRecords"] for file in found) == len(found) == 70


def test_memory_does_not_grow_with_the_epoch(files):
    table = "ledger"
    numbers = pa.array(np.arange(100_000))
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["air.ndjson"]))
    times = pa.array(START + 1 + np.arange(100_000)).cast(pa.timestamp("us", "UTC"))
    schema = TABLES[table].schema.remove_metadata()
    before, most = pa.total_allocated_bytes(), 0
    for _ in range(30):
        fresh = {"topic": name, "kpart": pa.array(np.zeros(100_000, np.int32)), "received_at": times}
        columns = [fresh[c] if c in fresh else numbers.take(numbers) for c in schema.names]
        files.add(table, pa.RecordBatch.from_arrays(columns, schema=schema))
        most = max(most, pa.total_allocated_bytes() - before)
    assert sum(json.loads(file.stats)["numRecords"] for file in files.finish()[table]) == 3_000_000
    assert most < 100 << 20, "three million rows of 90 bytes each are 270 MB"
