"""Rows of a delimited file: its header, its encoding, and what does not fit."""

import pytest

from schemas.errors import ConfigurationError

MAP = """
[station]
column = "id"
[time]
column = "time"
format = "%Y-%m-%d %H:%M"
timezone = "+00:00"
[values]
pm10 = { column = "PM10" }
o3 = { column = "O3", scale = 0.001 }
"""
HEADER = b"id,time,PM10,O3,extra"
ROW = b"a,2026-03-01 02:00,2,1,"


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
        read(write(tmp_path / "x.csv", [head, ROW]), change + MAP)


def test_another_encoding(tmp_path, read):
    toml = 'encoding = "cp949"\nskip_lines = 1\n' + MAP.replace('"PM10"', '"미세먼지"')
    path = tmp_path / "x.csv"
    path.write_bytes("머리말\nid,time,미세먼지,O3\na,2026-03-01 02:00,7,1\n".encode("cp949"))
    assert read(path, toml).values("pm10") == [7]


def test_a_file_without_a_header(tmp_path, read):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa,2026-03-01 02:00,8,1")
    assert read(path, 'names = ["id", "time", "PM10", "O3"]\n' + MAP).values("pm10") == [8]


@pytest.mark.parametrize(("name", "delimiter", "key"), [("x.tsv", b"\t", ""), ("x.csv", b";", 'delimiter = ";"\n')])
def test_delimiters_and_a_byte_order_mark(tmp_path, read, name, delimiter, key):
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.replace(b",", delimiter) + b"\n" + ROW.replace(b",", delimiter))
    assert read(path, key + MAP).values("pm10") == [2]


def test_empty_lines_are_no_rows(tmp_path, write, read):
    out = read(write(tmp_path / "x.csv", [HEADER, b"", ROW, b"\r", b"", ROW, b""]), MAP)
    assert [row[1] for row in out.rows] == [0, 1]
