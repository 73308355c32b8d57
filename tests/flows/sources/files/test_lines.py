"""Chunks of whole lines: nothing lost, whatever the cut, in bounded memory."""

import gzip
import os
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.sources.files.lines import GzipBytes, LineSplitter, PipedBytes, PlainBytes
from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES


class Trickle:
    """Bytes in portions, sometimes none yet."""

    def __init__(self, data, portions):
        self.data, self.portions = data, list(portions)

    def readinto(self, room):
        n = self.portions.pop(0) if self.portions else len(room)
        if n == 0:
            return None
        part, self.data = self.data[: min(n, len(room))], self.data[min(n, len(room)) :]
        room[: len(part)] = part
        return len(part)


def chunks_of(lines, rows):
    chunks = []
    while (chunk := lines.read(rows)) is not None:
        chunks.append(chunk)
        assert len(chunks) < 100_000
    return chunks


@given(
    st.lists(st.sampled_from([b"", b"x", b"ab\r", b"y" * 300]), max_size=40),
    st.booleans(),
    st.lists(st.integers(0, 50), max_size=30),
    st.integers(1, 9),
)
def test_no_cut_changes_the_lines(content, newline, portions, rows):
    data = b"\n".join(content) + (b"\n" if newline and content else b"")
    chunks = chunks_of(LineSplitter(Trickle(data, portions)), rows)
    joined = b"".join(chunk.data for chunk in chunks)
    assert joined == (data if data.endswith(b"\n") or not data else data + b"\n")
    assert all(chunk.data.count(b"\n") == chunk.lines <= rows for chunk in chunks)
    assert [chunk.offset for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    assert not chunks or chunks[-1].end == len(data)


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1, 3 * MAX_MESSAGE_BYTES])
@pytest.mark.parametrize("before", [0, 1, 700_000])
@pytest.mark.parametrize("after", [b"", b"\n", b"\nend\n"])
def test_a_line_over_a_mebibyte_costs_only_itself(tmp_path, size, before, after):
    path = tmp_path / "x"
    head = b"a" * before + b"\n" if before else b""
    path.write_bytes(head + b"b" * size + after)
    chunks = chunks_of(LineSplitter(PlainBytes(path, 0)), 16_384)
    lines = [(chunk.data, chunk.too_large) for chunk in chunks]
    if size > MAX_MESSAGE_BYTES:
        assert (b"b" * MAX_KEPT_BYTES, size) in lines
        assert [data for data, large in lines if not large] == [x for x in (head, b"end\n" * (len(after) > 1)) if x]
    else:
        assert b"".join(data for data, _ in lines) == path.read_bytes() + b"\n" * (not after)
    assert chunks[-1].end == path.stat().st_size


def test_a_line_of_a_hundred_megabytes_is_never_held():
    class Endless:
        left = 100 << 20

        def readinto(self, room):
            n = min(len(room), self.left)
            room[:n] = b"z" * n
            self.left -= n
            return n

    lines = LineSplitter(Endless())
    tracemalloc.start()
    try:
        chunks = chunks_of(lines, 16_384)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(len(chunk.data), chunk.too_large) for chunk in chunks] == [(MAX_KEPT_BYTES, 100 << 20)]
    assert peak < 20 << 20


def test_a_last_line_that_grows_its_newline_later_is_not_two(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo")
    lines = LineSplitter(PlainBytes(path, 0))
    assert b"".join(chunk.data for chunk in chunks_of(lines, 10)) == b"one\ntwo\n"
    assert lines.unended
    path.write_bytes(b"one\ntwo\nthree\n")
    more = LineSplitter(PlainBytes(path, lines.offset), lines.offset, unended=True)
    assert [chunk.data for chunk in chunks_of(more, 10)] == [b"three\n"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"no gzip at all", lambda data: data[:40] + b"?" * 40]
)
def test_a_broken_gzip_is_named(tmp_path, damage):
    path = tmp_path / "x.gz"
    path.write_bytes(damage(gzip.compress(os.urandom(5000))))
    with pytest.raises(ConfigurationError, match=r"x\.gz: not a whole gzip file"):
        chunks_of(LineSplitter(GzipBytes(path, 0)), 10)


def test_after_a_pause_gzip_goes_on_where_it_was(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % i for i in range(5000))))
    lines = LineSplitter(GzipBytes(path, 0))
    chunks = [lines.read(64).data]
    lines.pause()
    chunks += [chunk.data for chunk in chunks_of(lines, 1000)]
    assert b"".join(chunks) == gzip.decompress(path.read_bytes())


def test_a_pipe_never_waits():
    get, put = os.pipe()
    lines = LineSplitter(PipedBytes(get))
    assert lines.read(10).lines == 0
    os.write(put, b"one\ntw")
    assert lines.read(10).data == b"one\n"
    assert lines.read(10).lines == 0
    writer = threading.Thread(target=lambda: (os.write(put, b"o\n" * 10), os.close(put)))
    writer.start()
    writer.join()
    assert b"".join(chunk.data for chunk in chunks_of(lines, 10)) == b"two\n" + b"o\n" * 9
    os.close(get)
