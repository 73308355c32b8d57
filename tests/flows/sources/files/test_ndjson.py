"""NDJSON as input: a line is a message, and a bad one costs only itself."""

import pytest

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
