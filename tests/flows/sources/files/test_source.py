"""Files as input: read to their end, folders merged by time, and standard input."""

import contextlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.files.source import FileSource, open_input
from flows.sources.merge import MAX_SPAN_US
from schemas.errors import ConfigurationError


def test_items_have_at_most_so_many_rows(tmp_path, write, read, wire):
    path = write(tmp_path / "x.ndjson", [wire(i) for i in range(100)])
    out = read(path, rows=7)
    assert max(last - first for _, _, first, last in out.taken) == 6
    assert out.items == 15 + 1


def test_an_empty_file_is_at_its_end_at_once(tmp_path, write, read):
    out = read(write(tmp_path / "x.ndjson", []))
    assert (out.items, out.last, out.rows) == (1, 1, [])


def test_a_stop_says_nothing_of_an_end(tmp_path, write, source, wire):
    stop = []
    part = source(
        write(tmp_path / "x.ndjson", [wire(i) for i in range(9)]), rows=4, stop=lambda: bool(stop)
    ).build_part("", "", None)
    assert len(part.next_batch()) == 1
    stop.append(True)
    with pytest.raises(StopIteration):
        part.next_batch()
    assert part.snapshot()["files"][0]["koff"] == 4


def test_a_finished_run_says_its_end_again(tmp_path, write, source, wire):
    make = source(write(tmp_path / "x.ndjson", [wire(1)]))
    part = make.build_part("", "", None)
    while not any(arrivals.end_of_input for _, arrivals in part.next_batch()):
        pass
    again = make.build_part("", "", part.snapshot())
    ((_, arrivals),) = again.next_batch()
    assert arrivals.end_of_input
    assert not arrivals.offsets
    with pytest.raises(StopIteration):
        again.next_batch()


# Folders


def test_two_files_may_fill_one_station(tmp_path, write, read):
    write(tmp_path / "pm.csv", [b"t,PM", b"60,41"])
    write(tmp_path / "gas.csv", [b"t,O3", b"60,30"])
    out = read(
        tmp_path,
        """
        [station]
        id = "a"
        [time]
        column = "t"
        format = "unix"
        [[files]]
        match = "pm*"
        values.pm10 = { column = "PM" }
        [[files]]
        match = "gas*"
        values.o3 = { column = "O3", scale = 0.001 }
        """,
    )
    assert {(row[0], row[2], row[3], row[4][0], row[4][2]) for row in out.rows} == {
        ("gas.csv", 0, 60_000_000, None, 0.03),
        ("pm.csv", 0, 60_000_000, 41, None),
    }


MINUTES = st.lists(st.integers(0, 40), max_size=25)


def in_order(files):
    """Order of merged rows: (running maximum, file, row)."""
    keyed = []
    for number, minutes in enumerate(files):
        high = np.maximum.accumulate(minutes) if minutes else []
        keyed += [(key, number, row) for row, key in enumerate(high)]
    return [(number, row) for _, number, row in sorted(keyed)]


@settings(deadline=None, max_examples=50)
@given(files=st.lists(MINUTES, min_size=1, max_size=4), rows=st.integers(1, 40))
def test_files_are_merged_by_running_maximum_whatever_the_cut(tmp_path_factory, write, read, wire, files, rows):
    folder = tmp_path_factory.mktemp("merge")
    for number, minutes in enumerate(files):
        write(folder / f"{number}.ndjson", [wire(m) for m in minutes])
    out = read(folder, rows=rows)
    assert [(int(row[0][0]), row[1]) for row in out.rows] == in_order(files)


def test_large_files_are_merged_in_bounded_items(tmp_path, write, read, wire):
    files = [[m + shift for m in range(0, 1200, step)] for step, shift in ((1, 0), (2, 1), (3, 700))]
    for number, minutes in enumerate(files):
        write(tmp_path / f"{number}.ndjson.gz", [wire(m) for m in minutes])
    out = read(tmp_path, rows=300)
    assert [(int(row[0][0]), row[1]) for row in out.rows] == in_order(files)
    assert out.items < 3 * 2200 / 300


def test_what_leaves_together_spans_few_days(tmp_path, source, write, wire):
    """A reading every third day: with thousands of rows at once, all the means of decades would be made at once."""
    path = write(tmp_path / "sparse.ndjson", [wire(3 * 1440 * n) for n in range(100)])
    part = source(path).build_part("read", "input", None)
    items = []
    with contextlib.suppress(StopIteration):
        while True:
            items += [item.readings.observed for _, item in part.next_batch() if len(item.readings)]
    assert [observed.size for observed in items] == [2] * 50
    assert max(int(np.ptp(observed)) for observed in items) <= MAX_SPAN_US


# Standard input


@pytest.fixture
def piped(decoder):
    get, put = os.pipe()
    yield FileSource("-", decoder, None, stop=lambda: False, now=lambda: 7, descriptor=get), put
    os.close(get)


def test_standard_input_is_read_as_it_comes(piped, wire):
    source, put = piped
    part = source.build_part("", "", None)
    assert part.next_batch() == []
    os.write(put, wire(1) + b"\n" + wire(2))
    ((_, arrivals),) = part.next_batch()
    assert arrivals.parts == [("stdin", 0)]
    assert len(arrivals.readings) == 1
    assert part.next_batch() == []
    os.close(put)
    ((_, arrivals),) = part.next_batch()
    assert [(t.first, t.number) for t in arrivals.offsets] == [(1, 1)]
    items = [part.next_batch(), part.next_batch()]
    assert [arrivals.end_of_input for item in items for _, arrivals in item] == [True]
    with pytest.raises(ConfigurationError, match="standard input cannot be read a second time"):
        source.build_part("", "", part.snapshot())


def test_open_input_finds_shipped_maps(tmp_path, write, decoder):
    path = write(tmp_path / "x.tsv", [b"2017-01-01 0:00\ta\t1\t1\t1\t1\t1\t1"])
    source = open_input(str(path), "seoul", decoder, lambda: False, lambda: 7)
    assert source.list_parts() == ["input"]
    ((_, arrivals),) = source.build_part("", "", None).next_batch()
    assert [x.reason for x in arrivals.rejects] == ["unknown_station"]
    assert "seoul-a" in arrivals.rejects[0].detail
