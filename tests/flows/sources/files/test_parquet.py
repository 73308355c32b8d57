"""Parquet as input: its rows are wire messages, and what does not fit is refused."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.decode.decoder import Decoder
from flows.sources.files.parquet import ParquetReader
from schemas.errors import ConfigurationError
from schemas.measured import AIR
from tests.support.parquet_files import BEGIN_S


def test_parquet_rows_are_wire_messages(tmp_path, read):
    path = tmp_path / "x.parquet"
    at = [
        datetime(2026, 3, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 2, tzinfo=UTC),
        None,
        datetime(2026, 3, 1, 3, tzinfo=UTC),
    ]
    table = {
        "station_id": ["a", None, "b", "c"],
        "observed_at": pa.array(at, pa.timestamp("ns", "Asia/Seoul")),
        "pm10": pa.array([1, None, 2, None], pa.int32()),
        "o3": [float("nan"), 1.0, 1.0, float("inf")],
        "co": pa.array(["-", "1", "2", "?"]),
        "status": pa.array([9, None, 0, 0], pa.int16()),
        "other": ["x"] * 4,
    }
    pq.write_table(pa.table(table), path)
    out = read(path)
    (row,) = out.rows
    assert row[1:3] == (0, 0)
    assert row[3] == int(at[0].timestamp() * 1e6)
    assert row[4][:3] == (1, None, None)
    assert row[5] == (9,) * 6
    assert json.loads(row[6])["observed_at"] == "2026-03-01T01:00:00+00:00"
    assert row[4][3:] == (None,) * 5
    assert [(x[1], x[2]) for x in out.rejects] == [(1, "unknown_station"), (2, "contract"), (3, "contract")]
    assert out.rejects[1][3] == "Expected a time with its offset, got None - at column `observed_at`"
    assert out.rejects[2][3] == "Expected a number, got 'inf' - at column `o3`"
    assert json.loads(out.rejects[1][4]) == {"station_id": "b", "pm10": 2, "o3": 1.0, "co": "2", "status": 0}


def test_a_row_of_another_kind_of_reading_names_its_instrument(tmp_path):
    path = tmp_path / "x.parquet"
    decoder = Decoder(AIR._replace(id_field="sensor_id"), ["a"], [[-999.0]] * len(AIR.gridded))
    at = pa.array([0, 60], pa.timestamp("s", "UTC"))
    pq.write_table(pa.table({"sensor_id": ["a", "who"], "observed_at": at, "pm10": [1.0, 2.0]}), path)
    block = ParquetReader(path, 0, decoder).read(10)
    assert block.readings.observed.tolist() == [0]
    (reject,) = block.rejects
    assert json.loads(reject.payload) == {"sensor_id": "who", "observed_at": "1970-01-01T00:01:00+00:00", "pm10": 2.0}


def test_the_first_moment_of_1970_is_a_time(tmp_path, read):
    path = tmp_path / "x.parquet"
    at = pa.array([0], pa.timestamp("s", "UTC"))
    pq.write_table(pa.table({"station_id": ["who"], "observed_at": at, "pm10": [1.0]}), path)
    assert json.loads(read(path).rejects[0][4])["observed_at"] == "1970-01-01T00:00:00+00:00"


def test_parquet_times_may_be_texts(tmp_path, read):
    path = tmp_path / "x.parquet"
    stamps = ["2026-03-01T10:00:00+09:00", "yesterday", None, "2026-03-01T01:00:00Z"]
    pq.write_table(pa.table({"station_id": ["a"] * 4, "observed_at": stamps, "pm10": [1.0] * 4}), path)
    out = read(path)
    assert {row[3] for row in out.rows} == {int((BEGIN_S + 3600) * 1e6)}
    assert [(x[1], x[3]) for x in out.rejects] == [
        (1, "Expected a time with its offset, got 'yesterday' - at column `observed_at`"),
        (2, "Expected a time with its offset, got None - at column `observed_at`"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"observed_at": pa.array([0], pa.timestamp("us"))},
            r"x\.parquet: column `observed_at` is a timestamp without a zone",
        ),
        ({"observed_at": pa.array([0], pa.date32())}, r"column `observed_at` must be a timestamp"),
        ({"station_id": None}, r"column `station_id` is needed once; its columns are observed_at, pm10"),
        ({"station_id": pa.array([7])}, r"column `station_id` must hold texts, not int64"),
        ({"pm10": pa.array([True])}, r"column `pm10` must hold numbers, or texts of numbers, not bool"),
        ({"pm10": None}, r"x\.parquet: no column holds a value"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(tmp_path, read, change, message):
    table = {"station_id": ["a"], "observed_at": pa.array([0], pa.timestamp("us", "UTC")), "pm10": [1.0]} | change
    pq.write_table(
        pa.table({name: column for name, column in table.items() if column is not None}), tmp_path / "x.parquet"
    )
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path / "x.parquet")


def test_no_parquet_at_all(tmp_path, read):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(ConfigurationError, match=r"x\.parquet: not a Parquet file"):
        read(tmp_path / "x.parquet")
