"""Cells: cut as the csv module cuts them, and read as numbers, times and status."""

import csv
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.sources.tables.cells import Cells, cut_cells, read_numbers, read_status, read_times
from flows.sources.tables.column_map import StatusColumn, TimeColumn, parse

MAP = """
[station]
column = "id"
[time]
column = "t"
format = "unix"
[values]
o3 = { column = "O3" }
"""
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=5)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_rows_are_cut_as_the_csv_module_writes_them(rows, delimiter):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    layout = parse(MAP.encode(), "map.toml").layout("x.csv")
    cells = cut_cells(file.getvalue().encode(), len(rows), ["id", "other", "t", "O3"], layout, delimiter)
    assert not cells.faults
    for column, place in (("id", 0), ("t", 2), ("O3", 3)):
        texts, codes = cells.coded(column)
        assert [texts[code] for code in codes] == [row[place].strip() for row in rows]


@pytest.mark.parametrize(("marks", "minutes"), [("start", 60), ("middle", 30), ("end", 0)])
def test_observed_at_is_the_end_of_the_interval(marks, minutes):
    rule = TimeColumn(column="t", format="unix", marks=marks, interval="1h")
    cells = Cells({"t": pa.array(["3600", "0"])}, 2)
    assert read_times(cells, rule).tolist() == [(60 + minutes) * 60_000_000, minutes * 60_000_000]


def test_numbers_faults_and_sentinels():
    texts = ["1", " -2.5 ", "1e3", "-999", "-999.0", "NA", "", "abc", "nan", "inf", "1_0", "0x1", "+5", "١٢"]
    cells = Cells({"v": pa.array(texts)}, len(texts), {3: "before"})
    values = read_numbers(cells, "v", ("NA", -999), "pm10")
    np.testing.assert_array_equal(values, [1, -2.5, 1000] + [np.nan] * 9 + [5, np.nan])
    assert cells.faults == {3: "before"}
    notes = cells.notes()
    assert sorted(notes) == [7, 8, 9, 10, 11, 13]
    assert notes[7].text == 'pm10: "abc" is no number'
    assert notes[7].fault == "Expected a number, got 'abc' - at column `v`"


def test_status_with_and_without_codes():
    cells = Cells({"s": pa.array(["0", "9", "", "-", "256", "x"])}, 6)
    status, bad = read_status(cells, "s", StatusColumn(), ("-",))
    assert status.tolist() == [0, 9, 0, 0, 0, 0]
    assert np.flatnonzero(bad).tolist() == [4, 5]
    coded = Cells({"s": pa.array(["ok", "broken", "0"])}, 3)
    status, bad = read_status(coded, "s", StatusColumn(codes={"ok": 0, "broken": 8}), ())
    assert status.tolist() == [0, 8, 0]
    assert np.flatnonzero(bad).tolist() == [2]
