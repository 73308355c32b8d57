"""Files as input: lines, folders read merged, and standard input."""

import contextlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.files.source import open_input
from flows.sources.merge import MAX_SPAN_US
from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES
from tests.flows.sources.parquet import parquet

# NDJSON


def test_one_bad_line_costs_only_itself(tmp_path, write, read, wire):
    lines = [wire(1, pm10=1.0), b"{", b"", wire(2, pm10=2.0), wire(3, station="who"), wire(4, pm10=4.0) + b"\r"]
    out = read(write(tmp_path / "x.ndjson", lines, end=b""))
    assert [(row[0], row[1]) for row in out.rows] == [("x.ndjson", 0), ("x.ndjson", 3), ("x.ndjson", 5)]
    assert out.values("pm10") == [1, 2, 4]
    assert [(x[1], x[2], x[4]) for x in out.rejects] == [
        (1, "undecodable", b"{"), (2, "undecodable", b""), (4, "unknown_station", lines[4]),
    ]  # fmt: skip
    assert out.last == 1


@pytest.mark.parametrize("name", ["x.ndjson", "x.jsonl.gz", "x.json"])
def test_a_line_too_large_is_refused_with_its_head(tmp_path, write, read, wire, name):
    out = read(write(tmp_path / name, [wire(1), b"q" * (MAX_MESSAGE_BYTES + 5), wire(2)]))
    assert [row[1] for row in out.rows] == [0, 2]
    (reject,) = out.rejects
    assert reject[1:] == (1, "too_large", "a line of 1,048,581 bytes, over 1,048,576", b"q" * MAX_KEPT_BYTES)


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


def test_a_folder_is_read_by_its_relative_paths(tmp_path, write, read, wire):
    write(tmp_path / "b.ndjson", [wire(1)])
    write(tmp_path / "a" / "z.ndjson.gz", [wire(1)])
    parquet(tmp_path / "a" / "c.parquet", [1])
    for hidden in (tmp_path / ".x.swp", tmp_path / ".git" / "y.ndjson"):
        write(hidden, [b"no"])
    assert read(tmp_path).taken == [("a/c.parquet", 0, 0, 0), ("a/z.ndjson.gz", 1, 0, 0), ("b.ndjson", 2, 0, 0)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.xlsx", r"x\.xlsx: cannot tell what it holds from its name; known are \.ndjson"),
        ("README", r"README: cannot tell"),
        ("x.gz", r"x\.gz: cannot tell"),
        ("x.csv", r"x\.csv: needs a column map: --map FILE, or one of those shipped: airkorea-year, beijing"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, write, source, name, message):
    write(tmp_path / name, [b"x"])
    with pytest.raises(ConfigurationError, match=message):
        source(tmp_path)


def test_missing_and_empty_inputs(tmp_path, source):
    with pytest.raises(ConfigurationError, match="nowhere: no such file or folder"):
        source(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="nothing to read in it"):
        source(tmp_path)
    os.mkfifo(tmp_path / "pipe.ndjson")
    with pytest.raises(ConfigurationError, match="--input -"):
        source(tmp_path / "pipe.ndjson")


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
    from flows.sources.files.source import FileSource

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
