"""NDJSON as input: a line is a message, and a bad one costs only itself."""

import json
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.files.source import FileSource
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES


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


UNENDED = {
    "cut in a number": b'{"station_id":"a","observed_at":"2026-03-01T09:00:00+09:00","pm10":4',
    "cut in a text": b'{"station_id":"a","obser',
    "cut before the last brace": b'{"station_id":"a","observed_at":"2026-03-01T09:00:00+09:00","pm10":41.0',
    "its first byte": b"{",
    "blanks": b"  ",
    "cut within a letter": '{"station_id":"a","name":"통'.encode()[:-1],
    "over a mebibyte": b'{"x":"' + b"x" * MAX_MESSAGE_BYTES,
}


def drained(part):
    """Everything up to the end, as offsets of readings, and rejects by offset and reason."""
    rows, rejects = [], []
    try:
        while True:
            for _, batch in part.next_batch():
                rows += batch.readings.offset.tolist()
                rejects += [(reject.offset, reject.reason) for reject in batch.rejects]
    except StopIteration:
        return rows, rejects


@pytest.mark.parametrize("kind", UNENDED)
def test_a_last_line_without_its_end_that_is_not_whole_waits_for_the_next_start(
    tmp_path, write, source, wire, kind, caplog
):
    whole, head = wire(1, pm10=1.0), UNENDED[kind]
    path = write(tmp_path / "x.ndjson", [whole, head], end=b"")
    part = source(path).build_part("read", "input", None)
    assert drained(part) == ([0], [])
    assert "x.ndjson: its last line has no end and is not whole JSON; it waits for the next start" in caplog.text
    state = pickle.loads(pickle.dumps(part.snapshot()))
    again = source(path).build_part("read", "input", state)
    assert drained(again) == ([], []), "still not ended"
    state = again.snapshot()
    with path.open("ab") as file:
        file.write(b"?\n" + wire(2, pm10=2.0) + b"\n")
    reason = "too_large" if len(head) >= MAX_MESSAGE_BYTES else "undecodable"
    assert drained(source(path).build_part("read", "input", state)) == ([2], [(1, reason)])


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
def test_a_last_line_that_was_cut_off_is_taken_once_it_is_whole(tmp_path, write, source, wire, line_end):
    first, second, third = (wire(minute, pm10=float(minute)) for minute in (1, 2, 3))
    path = write(tmp_path / "x.ndjson", [first, second[:30]], end=b"")
    part = source(path).build_part("read", "input", None)
    assert drained(part) == ([0], [])
    state = part.snapshot()
    with path.open("ab") as file:
        file.write(second[30:] + line_end)
    part = source(path).build_part("read", "input", state)
    assert drained(part) == ([1], [])
    state = part.snapshot()
    with path.open("ab") as file:
        file.write((b"" if line_end else b"\r\n") + third)
    assert drained(source(path).build_part("read", "input", state)) == ([2], [])


@pytest.mark.parametrize("kind", UNENDED)
def test_a_last_line_that_is_not_whole_is_refused_where_the_input_ends_for_good(
    tmp_path, write, read, source, wire, kind
):
    head = UNENDED[kind]
    reason = "too_large" if len(head) > MAX_MESSAGE_BYTES else "undecodable"
    out = read(write(tmp_path / "x.ndjson.gz", [wire(1, pm10=1.0), head], end=b""))
    assert [row[1] for row in out.rows] == [0]
    assert [(reject[1], reject[2]) for reject in out.rejects] == [(1, reason)]


def test_a_last_line_that_is_not_whole_is_refused_from_standard_input(wire, decoder):
    descriptor, writer = os.pipe()
    os.write(writer, wire(1, pm10=1.0) + b"\n" + UNENDED["cut in a number"])
    os.close(writer)
    source = FileSource("-", decoder, None, stop=lambda: False, now=lambda: 7, descriptor=descriptor)
    assert drained(source.build_part("read", "input", None)) == ([0], [(1, "undecodable")])
    os.close(descriptor)


@settings(max_examples=60)
@given(cuts=st.lists(st.integers(0, 400), max_size=6), line_end=st.sampled_from([b"\n", b"\r\n"]))
def test_however_a_file_grows_between_starts_each_line_is_taken_once(tmp_path_factory, source, wire, cuts, line_end):
    lines = [wire(1, pm10=1.0), wire(2, pm10=2.0), b'{"x":[1,{}],"y":"\\"}"}', wire(3, pm10=3.0)]
    whole = b"".join(line + line_end for line in lines)
    path = tmp_path_factory.mktemp("grows") / "x.ndjson"
    path.write_bytes(b"")
    state, rows, rejects, begin = None, [], [], 0
    for end in [*sorted(cuts), len(whole)]:
        with path.open("ab") as file:
            file.write(whole[begin:end])
        begin = max(begin, min(end, len(whole)))
        if not path.stat().st_size:
            continue
        part = source(path).build_part("read", "input", state)
        more = drained(part)
        state = pickle.loads(pickle.dumps(part.snapshot()))
        rows += more[0]
        rejects += more[1]
    assert (rows, rejects) == ([0, 1, 3], [(2, "contract")])
    assert json.loads(lines[2])["y"] == '"}'
