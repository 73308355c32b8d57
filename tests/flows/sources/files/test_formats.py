"""Kinds of files, told by the endings of their names."""

import os
from dataclasses import replace

import pytest

from flows.sources.files.formats import FORMATS
from schemas.errors import ConfigurationError
from tests.support.parquet_files import parquet


def test_a_folder_is_read_by_its_relative_paths(tmp_path, write, read, wire):
    write(tmp_path / "b.ndjson", [wire(1)])
    write(tmp_path / "a" / "z.ndjson.gz", [wire(1)])
    parquet(tmp_path / "a" / "c.parquet", [1])
    for hidden in (tmp_path / ".x.swp", tmp_path / ".git" / "y.ndjson"):
        write(hidden, [b"no"])
    assert read(tmp_path).taken == [("a/c.parquet", 0, 0, 0), ("a/z.ndjson.gz", 1, 0, 0), ("b.ndjson", 2, 0, 0)]


def test_a_new_format_is_one_entry(tmp_path, write, read, wire, monkeypatch):
    monkeypatch.setitem(FORMATS, "log", replace(FORMATS["ndjson"], endings=(".log",)))
    write(tmp_path / "x.log.gz", [wire(1)])
    assert read(tmp_path).taken == [("x.log.gz", 0, 0, 0)]


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
