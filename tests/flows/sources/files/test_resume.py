"""A resume from files loses nothing and repeats nothing, and a file that changed is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from tests.support.parquet_files import BEGIN_S, parquet

CSV_MAP = """
[station]
column = "id"
[time]
column = "time"
format = "unix"
[values]
pm10 = { column = "pm10" }
"""


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
                b"junk" if m is None else b"%s,%d,%d" % (b"abc"[m % 3 : m % 3 + 1], BEGIN_S + 60 * m, m)
                for m in minutes
            ]
            write(name, [b"id,time,pm10", *rows])
        else:
            write(name, [b"junk" if m is None else wire(m, "abc"[m % 3], pm10=float(m)) for m in minutes], end=b"")


CONTENT = st.lists(st.one_of(st.integers(0, 30), st.none()), max_size=20)


# More than 8 parameters: fixtures, and what is drawn.
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


def test_a_snapshot_of_another_version_is_refused(tmp_path, write, source, halfway, wire):
    path = write(tmp_path / "x.ndjson", [wire(i) for i in range(9)])
    state = halfway(path)
    assert state["v"] == 1
    with pytest.raises(ConfigurationError, match="snapshot of input has version 2, and this cityair reads 1"):
        source(path).build_part("", "", state | {"v": 2})
    with pytest.raises(ConfigurationError, match="snapshot of input has version None"):
        source("-").build_part("", "", {"stdin": 3})


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
        part, taken = source(tmp_path, rows=4).build_part("", "", state), []
        while True:
            try:
                taken += [(a.parts[t.part], t.first, t.number) for _, a in part.next_batch() for t in a.offsets]
            except StopIteration:
                return part.snapshot(), taken

    gone = write(tmp_path / "b.ndjson", [wire(1), wire(2)])
    grown = write(tmp_path / "c.ndjson", [wire(1)], end=b"")
    state, taken = drain(None)
    assert taken == [(("b.ndjson", 0), 0, 2), (("c.ndjson", 1), 0, 1)]
    gone.unlink()
    write(grown, [wire(1), wire(2)])
    write(tmp_path / "a.ndjson", [wire(9)])
    state, taken = drain(state)
    assert taken == [(("c.ndjson", 1), 1, 1), (("a.ndjson", 2), 0, 1)]
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
    (state,) = part.snapshot()["files"]
    assert state["place"] == {"koff": 20, "offset": 20 * (len(wire(0)) + 1), "unended": 0}
