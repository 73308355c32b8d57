"""NDJSON files of the out-topics: cut to the last snapshot, and never another store's."""

import pytest

from flows.outputs.events import Message
from schemas.errors import ConfigurationError
from sinks.ndjson import NdjsonSink


@pytest.fixture
def sink(tmp_path):
    def make(identity="mine"):
        return NdjsonSink(tmp_path / "out", ["b.v1", "a.v1"], identity)

    return make


def lines(*texts):
    return [Message(text.decode(), b"key", text, ()) for text in texts]


def test_a_topic_is_a_partition(sink, tmp_path):
    made = sink()
    assert made.list_parts() == ["a.v1", "b.v1"]
    assert [made.part_fn(topic) for topic in made.list_parts()] == [0, 1]


def test_a_resume_cuts_what_no_snapshot_covers(sink, tmp_path):
    path = tmp_path / "out" / "a.v1.ndjson"
    part = sink().build_part("topics", "a.v1", None)
    part.write_batch([lines(b"1", b"2"), lines(b"3")])
    kept = part.snapshot()
    assert path.read_bytes() == b"1\n2\n3\n"
    part.write_batch([lines(b"4")])
    part.close()  # as a crash leaves it, with all of its bytes on disk
    assert path.read_bytes() == b"1\n2\n3\n4\n"
    part = sink().build_part("topics", "a.v1", kept)
    assert path.read_bytes() == b"1\n2\n3\n4\n", "nothing is cut before the lake has agreed to go on"
    part.write_batch([lines(b"five")])
    assert part.snapshot()["length"] == 11
    part.close()
    assert path.read_bytes() == b"1\n2\n3\nfive\n"


def test_without_a_snapshot_a_first_epoch_is_cut_off(sink, tmp_path):
    part = sink().build_part("topics", "a.v1", None)
    part.write_batch([lines(b"1")])
    part.close()
    part = sink().build_part("topics", "a.v1", None)
    assert part.snapshot()["length"] == 0
    part.close()
    assert (tmp_path / "out" / "a.v1.ndjson").read_bytes() == b""


def test_a_file_that_lost_bytes_is_refused(sink, tmp_path):
    part = sink().build_part("topics", "a.v1", None)
    part.write_batch([lines(b"1", b"2")])
    kept = part.snapshot()
    part.close()
    path = tmp_path / "out" / "a.v1.ndjson"
    path.write_bytes(b"1\n")
    with pytest.raises(ConfigurationError, match="has 2 bytes, but 4 were written") as refused:
        sink().build_part("topics", "a.v1", kept)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == b"1\n"


def test_a_snapshot_of_an_unknown_version_is_refused_and_the_file_stays(sink, tmp_path):
    part = sink().build_part("topics", "a.v1", None)
    part.write_batch([lines(b"1")])
    kept = part.snapshot()
    part.close()
    path = tmp_path / "out" / "a.v1.ndjson"
    with pytest.raises(ConfigurationError, match="snapshot of output file .* has version 2, and this") as refused:
        sink().build_part("topics", "a.v1", {**kept, "v": 2})
    assert refused.value.status == 3
    assert str(path) in str(refused.value)
    assert "cityair rebuild --recovery" in str(refused.value)
    assert path.read_bytes() == b"1\n"


def test_files_of_another_store_are_refused_and_stay(sink, tmp_path):
    part = sink().build_part("topics", "a.v1", None)
    part.write_batch([lines(b"1")])
    part.snapshot()
    part.close()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="written with another recovery store"):
            sink("foreign")
    assert (tmp_path / "out" / "a.v1.ndjson").read_bytes() == b"1\n"
    assert sink() is not None, "its own store still fits"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"output folder .*out cannot be written"):
        NdjsonSink(tmp_path / "out", ["a.v1"], "mine")


def test_closing_gives_the_file_back(sink):
    part = sink().build_part("topics", "a.v1", None)
    part.close()
    part.write_batch([lines(b"1")])
    file = part._opened()
    part.close()
    assert file.closed
