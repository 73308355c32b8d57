"""CSV and TSV: a bad row costs only itself, wide and long form, and the cut never shows."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.tables import rows as tables
from schemas.errors import ConfigurationError
from schemas.measured import AIR
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
LONG = """
[station]
column = "id"
[time]
column = "time"
format = "unix"
[long]
item = "item"
value = "value"
status = "status"
[values]
pm10 = { item = "1" }
o3 = { item = "2", scale = 0.001 }
temperature = { item = "3" }
"""


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
    (b"a,2026-03-01 01:00,abc,1,1,1,1,0,", "Expected a number, got 'abc' - at column `PM10`"),
    (b"a,yesterday,1,1,1,1,1,0,", "Expected a time like %Y-%m-%d %H:%M in +00:00, got 'yesterday' - at column `time`"),
    (b"a,2026-03-01 01:00,1,1,1,1,1,77777,", "Expected an instrument status, got '77777' - at column `state`"),
    (b"a,2026-03-01 01:00,1", "Expected 9 columns, got 3"),
    (b"a,2026-03-01 01:00,1,1,1,1,1,0,,,", "Expected 9 columns, got 11"),
    (b'a,"2026-03-01 01:00,1,1,1,1,1,0,', "Expected 9 columns, got 2"),
    (b"a,2026-03-01 01:00,\xff,1,1,1,1,0,", "Expected a number, got '\ufffd' - at column `PM10`"),
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


@pytest.mark.parametrize(
    ("head", "change", "message"),
    [
        (
            HEADER.replace(b"O3", b"Ozone"),
            "",
            r"x\.csv: needs one column 'O3' \(values\.o3 of the map\); its columns are id, time",
        ),
        (HEADER.replace(b"extra", b"O3"), "", r"x\.csv: needs one column 'O3'"),
        (HEADER, "skip_lines = 3\n", r"x\.csv: ends before its header, line 4"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(tmp_path, write, read, head, change, message):
    with pytest.raises(ConfigurationError, match=message):
        read(write(tmp_path / "x.csv", [head, b"a,2026-03-01 02:00,2,1,1,1,1,0,"]), change + WIDE)


def test_encoding_names_and_byte_order_mark(tmp_path, read):
    toml = WIDE.replace('"PM10"', '"미세먼지"').replace("[station]", 'encoding = "cp949"\nskip_lines = 1\n[station]', 1)
    path = tmp_path / "x.csv"
    path.write_bytes("머리말\nid,time,미세먼지,O3,A,B,F,state\na,2026-03-01 02:00,7,1,1,1,1,0\n".encode("cp949"))
    assert read(path, toml).values("pm10") == [7]
    plain = WIDE.replace("[station]", 'names = ["id", "time", "PM10", "O3", "A", "B", "F", "state"]\n[station]', 1)
    path.write_bytes(b"\xef\xbb\xbfa,2026-03-01 02:00,8,1,1,1,1,0")
    assert read(path, plain).values("pm10") == [8]
    tsv = tmp_path / "x.tsv"
    tsv.write_bytes(b"\xef\xbb\xbf" + HEADER.replace(b",", b"\t") + b"\na\t2026-03-01 02:00\t9\t1\t1\t1\t1\t0\t")
    assert read(tsv, WIDE).values("pm10") == [9]


def test_long_form_joins_the_rows_of_a_reading(tmp_path, write, read):
    lines = [
        b"id,time,item,value,status",
        b"a,3600,1,41,0",
        b"b,3600,1,42,0",
        b"a,3600,2,30,8",
        b"a,3600,9,not asked for,",
        b"a,3600,1,43,0",  # item 1 again: a message of its own
        b"a,3600,3,warm,0",  # cannot be read: likewise
        b"a,3600,3,21,9",
        b"too,few",
        b"b,7200,1,-999,0",
    ]
    out = read(write(tmp_path / "x.csv", lines), LONG)
    found = {
        row[1]: (row[2], {n: v for n, v in zip(AIR.values, row[4], strict=True) if v is not None}, row[5])
        for row in out.rows
    }
    assert found == {
        0: (0, {"pm10": 41, "o3": 0.03, "temperature": 21}, (0, 0, 8, 0, 0, 0)),
        1: (1, {"pm10": 42}, (0,) * 6),
        2: (0, {"pm10": 43}, (0,) * 6),
        5: (1, {}, (0,) * 6),
    }
    assert [(x[1], x[3], x[4]) for x in out.rejects] == [
        (3, "Expected a number, got 'warm' - at column `value`", lines[6]),
        (4, "Expected 5 columns, got 2", lines[8]),
    ]
    assert out.rows[0][6] == b"\n".join([lines[1], lines[3], lines[7]])


LINE = st.one_of(
    st.builds(
        lambda s, t, i, v: f"{s},{t * 60},{i},{v},0".encode(),
        st.sampled_from("ab"),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sampled_from([1, 2, 3, "x", "NA"]),
    ),
    st.sampled_from([b"", b"junk"]),
)


def by_hand(lines, span):
    """Messages of a long form one row at a time: what the rule says, in the plainest way."""
    messages, open_at, row = [], {}, -1
    for line in lines:
        if not line:
            continue
        row += 1
        if line == b"junk":
            messages.append([line])
            continue
        station, time, item, value, _ = line.split(b",")
        if item == b"4":
            continue
        if value == b"x":
            messages.append([line])
            continue
        start, message, items = open_at.get((station, time), (-span, None, None))
        if row - start >= span:
            messages.append(message := [line])
            open_at[station, time] = (row, message, {item})
        elif item in items:
            messages.append([line])
        else:
            message.append(line)
            items.add(item)
    return [b"\n".join(message) for message in messages]


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(LINE, max_size=60),
    rows=st.integers(1, 30),
    cuts=st.lists(st.integers(1, 6), max_size=5),
    span=st.sampled_from([1, 2, 5, 17]),
)
def test_no_cut_changes_what_a_long_form_makes(tmp_path_factory, read, lines, rows, cuts, span):
    path = tmp_path_factory.mktemp("long") / "x.csv.gz"
    path.write_bytes(gzip.compress(b"id,time,item,value,status\n" + b"".join(line + b"\n" for line in lines), 1))
    kept, tables.SPAN = tables.SPAN, span
    try:
        out = read(path, LONG, rows=rows, cuts=cuts)
    finally:
        tables.SPAN = kept
    texts = dict(sorted([(row[1], row[6]) for row in out.rows] + [(x[1], x[4]) for x in out.rejects]))
    assert list(texts.values()) == by_hand(lines, span)
