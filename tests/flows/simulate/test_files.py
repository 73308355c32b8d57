"""Runs in files."""

import gzip
from datetime import UTC, datetime

import msgspec
import pyarrow.parquet as pq
import pytest

from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation
from schemas.errors import UsageError
from tests.support.simulated import START


def test_parquet_holds_the_same_readings(tiny, tmp_path):
    scenarios = ["stuck", "duplicates", "outage"]
    table = pq.read_table(write_run(Simulation(tiny, START, 0.5, 2, scenarios), tmp_path / "a.parquet").path)
    text = gzip.decompress(
        write_run(Simulation(tiny, START, 0.5, 2, scenarios), tmp_path / "a.ndjson.gz").path.read_bytes()
    )
    lines = [msgspec.json.decode(line) for line in text.splitlines()]
    assert table.column_names == list(lines[0])
    for row in (rows := table.to_pylist()):
        row["observed_at"] = row["observed_at"].astimezone(UTC)
    for line in lines:
        line["observed_at"] = datetime.fromisoformat(line["observed_at"]).astimezone(UTC)
    assert rows == lines


def test_a_table_cannot_hold_garbage(tiny, tmp_path):
    with pytest.raises(UsageError, match="cannot hold garbage"):
        write_run(Simulation(tiny, START, 1, 0, ["trouble"]), tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_run_cut_short_leaves_nothing(tiny, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_run(Simulation(tiny, START, 2, 0, []), tmp_path / "x.ndjson", stop)
    assert list(tmp_path.iterdir()) == []
