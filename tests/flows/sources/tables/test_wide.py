"""Rows in wide form: values are scaled and joined, and a bad row costs only itself."""

import pytest

from flows.decode.decoder import Decoder
from flows.sources.tables.column_map import parse
from flows.sources.tables.wide import WideReader
from schemas.measured import Measured
from schemas.rejected import MAX_MESSAGE_BYTES

WIDE = """
[station]
column = "id"
[time]
column = "time"
format = "%Y-%m-%d %H:%M"
timezone = "+00:00"
[status]
column = "state"
[values]
pm10 = { column = "PM10" }
o3 = { column = "O3", scale = 0.001, missing = [-1] }
pm25 = { columns = ["A", "B"] }
temperature = { column = "F", scale = 0.5555555555555556, offset = -17.77777777777778 }
"""
HEADER = b"id,time,PM10,O3,A,B,F,state,extra"


def test_wide_form_joins_scales_and_reads_status(tmp_path, write, read):
    path = write(
        tmp_path / "x.csv",
        [HEADER, b'a,2026-03-01 1:00,41,30,1,3,212,0,"x, ""y"""', b"b,2026-03-01 24:00,NA,-1,,5,,8,"],
    )
    out = read(path, WIDE)
    assert [row[4] for row in out.rows] == [
        (41, 2, 0.03, None, None, None, pytest.approx(100), None),
        (None, 5, None, None, None, None, None, None),
    ]
    assert [row[5] for row in out.rows] == [(0,) * 6, (8,) * 6]
    assert [row[2] for row in out.rows] == [0, 1]
    assert out.rows[1][3] - out.rows[0][3] == 23 * 3_600_000_000
    assert out.rows[1][6] == b"b,2026-03-01 24:00,NA,-1,,5,,8,"


BAD = [
    (b"a,2026-03-01 01:00,abc,,,NA,,0,", "Expected a number, got 'abc' - at column `PM10`"),
    (b"a,yesterday,1,1,1,1,1,0,", "Expected a time like %Y-%m-%d %H:%M in +00:00, got 'yesterday' - at column `time`"),
    (b"a,2026-03-01 01:00,1,1,1,1,1,77777,", "Expected an instrument status, got '77777' - at column `state`"),
    (b"a,2026-03-01 01:00,1", "Expected 9 columns, got 3"),
    (b"a,2026-03-01 01:00,1,1,1,1,1,0,,,", "Expected 9 columns, got 11"),
    (b'a,"2026-03-01 01:00,1,1,1,1,1,0,', "Expected 9 columns, got 2"),
    (b"a,2026-03-01 01:00,\xff,,,,,0,", "Expected a number, got '\ufffd' - at column `PM10`"),
    (b"a,2026-03-01 01:00,1\r2,1,1,1,1,0,", None),
]


@pytest.mark.parametrize(("line", "detail"), BAD)
def test_a_bad_row_costs_only_itself(tmp_path, write, read, line, detail):
    good = b"a,2026-03-01 02:00,2,1,1,1,1,0,"
    out = read(write(tmp_path / "x.csv", [HEADER, good, line, b"", b"\r", good + b"\r"]), WIDE)
    assert [row[1] for row in out.rows] == [0, 2]
    assert out.values("pm10") == [2, 2]
    assert [(x[1], x[2], x[4]) for x in out.rejects] == [(1, "contract", line)]
    assert detail is None or out.rejects[0][3] == detail


def test_unknown_and_empty_stations_are_the_decoder_s(tmp_path, write, read):
    rows = [b"a,2026-03-01 01:00,1,1,1,1,1,0,", b"zz,2026-03-01 01:00,1,1,1,1,1,0,", b",2026-03-01 01:00,1,1,1,1,1,0,"]
    out = read(write(tmp_path / "x.csv", [HEADER, *rows]), WIDE)
    assert [(x[1], x[2], x[4]) for x in out.rejects] == [
        (1, "unknown_station", rows[1]),
        (2, "unknown_station", rows[2]),
    ]


def test_a_line_too_large_is_its_own_reject(tmp_path, write, read):
    good = b"a,2026-03-01 02:00,2,1,1,1,1,0,"
    out = read(write(tmp_path / "x.csv.gz", [HEADER, good, b"q" * (MAX_MESSAGE_BYTES + 1), good]), WIDE)
    assert [x[1:3] for x in out.rejects] == [(1, "too_large")]
    assert [row[1] for row in out.rows] == [0, 2]


def test_another_kind_of_reading(tmp_path, write):
    odor = Measured("env.odor.v1", "odors", "sensor_id", gridded=("h2s", "nh3"), carried=("wind",))
    toml = (
        WIDE[: WIDE.index("[values]")] + '[values]\nnh3 = { column = "PM10", status = "A" }\nwind = { column = "O3" }'
    )
    layout = parse(toml.encode(), "odor.toml", odor).layout("x.csv")
    path = write(tmp_path / "x.csv", [HEADER, b"n,2026-03-01 1:00,41,30,2,,,8,", b"n,never,1,1,,,,0,"])
    block = WideReader(path, 0, Decoder(odor, ["n"], [[-999.0]] * 2), layout).read(10)
    assert block.readings.values[0, 1:].tolist() == [41, 30]
    assert block.readings.status.tolist() == [[8, 2]]
    assert [reject.reason for reject in block.rejects] == ["contract"]
