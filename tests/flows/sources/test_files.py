"""Files as input: every kind, folders read merged, and a resume that loses nothing and repeats nothing."""

import contextlib
import json
import os
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.files import open_input
from flows.sources.merge import SPAN
from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES

CSV_MAP = """
[station]
column = "id"
[time]
column = "time"
format = "unix"
[values]
pm10 = { column = "pm10" }
"""
EPOCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def parquet(path, minutes, stations=None, pm10=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "station_id": pa.array(stations if stations is not None else ["a"] * len(minutes), pa.string()),
        "observed_at": pa.array([int((EPOCH + 60 * m) * 1e6) for m in minutes], pa.timestamp("us", "UTC")),
        "pm10": pa.array([float(m) for m in minutes] if pm10 is None else pm10, pa.float64()),
    }
    pq.write_table(pa.table(table), path, **options)
    return path


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
    while not any(arrivals.last for _, arrivals in part.next_batch()):
        pass
    again = make.build_part("", "", part.snapshot())
    ((_, arrivals),) = again.next_batch()
    assert arrivals.last
    assert not arrivals.taken
    with pytest.raises(StopIteration):
        again.next_batch()


# Parquet


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
        "pm10": pa.array([1, None, 2, 3], pa.int32()),
        "o3": [float("nan"), 1.0, 1.0, float("inf")],
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
    assert [(x[1], x[2]) for x in out.rejects] == [(1, "unknown_station"), (2, "contract"), (3, "contract")]
    assert out.rejects[1][3] == "Expected a time with its offset, got None - at column `observed_at`"
    assert out.rejects[2][3] == "Expected a number, got 'inf' - at column `o3`"
    assert json.loads(out.rejects[1][4]) == {"station_id": "b", "pm10": 2, "o3": 1.0, "status": 0}


def test_parquet_times_may_be_texts(tmp_path, read):
    path = tmp_path / "x.parquet"
    stamps = ["2026-03-01T10:00:00+09:00", "yesterday", None, "2026-03-01T01:00:00Z"]
    pq.write_table(pa.table({"station_id": ["a"] * 4, "observed_at": stamps, "pm10": [1.0] * 4}), path)
    out = read(path)
    assert {row[3] for row in out.rows} == {int((EPOCH + 3600) * 1e6)}
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
        ({"pm10": pa.array(["7"])}, r"column `pm10` must hold numbers, not string"),
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
    assert max(int(np.ptp(observed)) for observed in items) <= SPAN


# Resume


def build(folder, write, wire, kind, contents):
    """Write contents, lists of minutes where None is a broken message, as files of one kind."""
    for number, minutes in enumerate(contents):
        name = folder / f"f{number}.{kind}"
        if kind == "parquet":
            whole = [m if m is not None else 0 for m in minutes]
            values = [float("inf") if m is None else float(m) for m in minutes]
            parquet(name, whole, ["abc"[m % 3] for m in whole], values, row_group_size=3)
        elif kind.startswith("csv"):
            rows = [
                b"junk" if m is None else b"%s,%d,%d" % (b"abc"[m % 3 : m % 3 + 1], EPOCH + 60 * m, m) for m in minutes
            ]
            write(name, [b"id,time,pm10", *rows])
        else:
            write(name, [b"junk" if m is None else wire(m, "abc"[m % 3], pm10=float(m)) for m in minutes], end=b"")


CONTENT = st.lists(st.one_of(st.integers(0, 30), st.none()), max_size=20)


@pytest.mark.parametrize("kind", ["ndjson", "ndjson.gz", "csv", "csv.gz", "parquet"])
@settings(deadline=None, max_examples=25)
@given(
    contents=st.one_of(st.lists(CONTENT, min_size=1, max_size=1), st.lists(CONTENT, min_size=3, max_size=3)),
    rows=st.integers(1, 12),
    again=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 4), max_size=8),
)
def test_a_resume_loses_nothing_and_repeats_nothing(
    tmp_path_factory, write, read, wire, kind, contents, rows, again, cuts
):
    folder = tmp_path_factory.mktemp("resume")
    build(folder, write, wire, kind, contents)
    column_map = CSV_MAP if kind.startswith("csv") else None
    whole = read(folder, column_map, rows=again)
    cut = read(folder, column_map, rows=rows, cuts=cuts)
    assert cut.rows == whole.rows
    assert sorted(cut.rejects) == sorted(whole.rejects)
    assert whole.last == 1


@pytest.fixture
def halfway(source):
    def run(paths, **options):
        part = source(paths, rows=4, **options).build_part("", "", None)
        while not part.next_batch():
            pass
        return part.snapshot()

    return run


def test_a_changed_head_is_refused(tmp_path, write, source, halfway, wire):
    path = write(tmp_path / "x.ndjson", [wire(i) for i in range(9)])
    state = halfway(path)
    write(path, [wire(i) for i in range(1, 10)])
    with pytest.raises(
        ConfigurationError, match=r"x\.ndjson changed under this recovery store: its head differs; give the original"
    ):
        source(path).build_part("", "", state)


def test_a_shorter_file_is_refused(tmp_path, write, source, halfway, wire):
    path = write(tmp_path / "x.ndjson", [wire(i) + b" " * 20_000 for i in range(9)])
    state = halfway(path)
    path.write_bytes(path.read_bytes()[: 66 << 10])
    with pytest.raises(ConfigurationError, match=r"x\.ndjson changed under this recovery store: 67,584 bytes, it had"):
        source(path).build_part("", "", state)


def test_a_file_that_vanished_unread_is_refused(tmp_path, write, source, halfway, wire):
    write(tmp_path / "a.ndjson", [wire(1)])
    path = write(tmp_path / "b.ndjson", [wire(i) for i in range(9)])
    state = halfway(tmp_path)
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"b\.ndjson vanished before it was read to its end"):
        source(tmp_path).build_part("", "", state)


def test_a_folder_grows(tmp_path, write, source, wire):
    def drain(state):
        part, found = source(tmp_path, rows=4).build_part("", "", state), []
        while True:
            try:
                found += [(a.parts[t.part], t.first, t.number) for _, a in part.next_batch() for t in a.taken]
            except StopIteration:
                return part.snapshot(), found

    gone = write(tmp_path / "b.ndjson", [wire(1), wire(2)])
    grown = write(tmp_path / "c.ndjson", [wire(1)], end=b"")
    state, found = drain(None)
    assert found == [(("b.ndjson", 0), 0, 2), (("c.ndjson", 1), 0, 1)]
    gone.unlink()
    write(grown, [wire(1), wire(2)])
    write(tmp_path / "a.ndjson", [wire(9)])
    state, found = drain(state)
    assert found == [(("c.ndjson", 1), 1, 1), (("a.ndjson", 2), 0, 1)]
    assert drain(state)[1] == []


def test_parquet_may_not_grow(tmp_path, source, halfway):
    path = parquet(tmp_path / "x.parquet", list(range(9)), row_group_size=1)
    state = halfway(path)
    state["files"][0]["size"] -= 1
    with pytest.raises(ConfigurationError, match=r"x\.parquet grew under this recovery store"):
        source(path).build_part("", "", state)


def test_plain_lines_are_sought_not_read_again(tmp_path, write, source, wire):
    path = write(tmp_path / "x.ndjson", [wire(i) for i in range(50)])
    part = source(path, rows=10).build_part("", "", None)
    part.next_batch()
    part.next_batch()
    (one,) = part.snapshot()["files"]
    assert one["place"] == {"koff": 20, "offset": 20 * (len(wire(0)) + 1), "unended": 0}


# Standard input


@pytest.fixture
def piped(decoder):
    from flows.sources.files import FileSource

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
    assert [(t.first, t.number) for t in arrivals.taken] == [(1, 1)]
    items = [part.next_batch(), part.next_batch()]
    assert [arrivals.last for item in items for _, arrivals in item] == [True]
    with pytest.raises(ConfigurationError, match="standard input cannot be read a second time"):
        source.build_part("", "", part.snapshot())


def test_open_input_finds_shipped_maps(tmp_path, write, decoder):
    path = write(tmp_path / "x.tsv", [b"2017-01-01 0:00\ta\t1\t1\t1\t1\t1\t1"])
    source = open_input(str(path), "seoul", decoder, lambda: False, lambda: 7)
    assert source.list_parts() == ["input"]
    ((_, arrivals),) = source.build_part("", "", None).next_batch()
    assert [x.reason for x in arrivals.rejects] == ["unknown_station"]
    assert "seoul-a" in arrivals.rejects[0].detail
