"""Kinds of files: how their names end, and how each is opened.

A new kind is a reader and an entry of ``FORMATS``.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.decode.decoder import Decoder
from flows.sources.base import Place, Reader, SortedReader
from flows.sources.files.lines import LineSplitter, open_bytes
from flows.sources.files.ndjson import NdjsonReader, is_whole
from flows.sources.files.parquet import ParquetReader
from flows.sources.tables.column_map import ColumnMap, Layout, known_maps
from flows.sources.tables.long import LongReader
from flows.sources.tables.wide import WideReader
from schemas.errors import ConfigurationError

log = logging.getLogger("cityair")
BATCH_ROWS = 32_768
"""Many, because a batch is evaluated as a whole; what is left of it in the cache matters less."""
PARQUET_BATCH_ROWS = 65_536
"""More, because nothing has to be parsed."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    endings: tuple[str, ...]
    """Of names, in lower case."""
    open: "Callable[[InputFile, int, Decoder, Place], Reader]"
    """Opens a file as an input partition (its index), for a decoder, at a place."""
    may_grow: "Callable[[InputFile], bool]"
    """Whether a longer file of the same head is the same file, grown."""
    lines: bool = True
    """It consists of lines: it may be packed by gzip, and ``offset`` of a place is a byte of its content."""
    mapped: bool = False
    """It needs a column map."""
    batch_rows: int = BATCH_ROWS
    """At most so many rows leave together."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be read."""

    path: Path
    topic: str
    """Its path relative to what was given."""
    format: Format
    layout: Layout | None = None
    """Where its format needs a column map."""

    @property
    def may_grow(self) -> bool:
        """Whether a longer file of the same head is the same file, grown."""
        return self.format.may_grow(self)

    @property
    def seekable(self) -> bool:
        """Whether ``offset`` of a place is a byte of the file as it lies on disk."""
        return self.format.lines and self.path.suffix != ".gz"

    def reader(self, part: int, decoder: Decoder, place: Place) -> Reader:
        """Open it at a place."""
        return self.format.open(self, part, decoder, place)


def _open_ndjson(file: InputFile, part: int, decoder: Decoder, place: Place) -> Reader:
    offset, unended = place["offset"], bool(place["unended"])
    whole = partial(_is_ended, file.path) if file.seekable else lambda _: True
    lines = LineSplitter(open_bytes(file.path, offset), offset, unended=unended, whole=whole)
    return NdjsonReader(lines, part, decoder, place)


def _is_ended(path: Path, line: bytes) -> bool:
    """Say whether a last line without its newline is whole; where it is not, its writer is still at it."""
    if is_whole(line):
        return True
    log.warning("%s: its last line has no end and is not whole JSON; it waits for the next start", path)
    return False


def _open_table(file: InputFile, part: int, decoder: Decoder, place: Place) -> Reader:
    layout = file.layout
    assert layout is not None
    if layout.long:
        reader: Reader = LongReader(file.path, part, decoder, layout)
        return SortedReader(reader, place) if layout.sort else reader
    if layout.sort:
        return SortedReader(WideReader(file.path, part, decoder, layout), place)
    return WideReader(file.path, part, decoder, layout, place)


def _open_parquet(file: InputFile, part: int, decoder: Decoder, place: Place) -> Reader:
    return ParquetReader(file.path, part, decoder, place)


def _is_wide(file: InputFile) -> bool:
    return file.layout is not None and not file.layout.long and not file.layout.sort


FORMATS: dict[str, Format] = {
    "ndjson": Format((".ndjson", ".jsonl", ".json"), _open_ndjson, lambda _: True),
    "table": Format((".csv", ".tsv"), _open_table, _is_wide, mapped=True),
    "parquet": Format((".parquet",), _open_parquet, lambda _: False, lines=False, batch_rows=PARQUET_BATCH_ROWS),
}


def find_files(paths: Sequence[Path], column_map: ColumnMap | None) -> list[InputFile]:
    """List the files to be read, in the order of their relative paths.

    Raises:
        ConfigurationError: a path is not there, its ending is unknown, or it needs a map.
    """
    files: list[InputFile] = []
    for root in paths:
        if root.is_dir():
            inside = [(path, path.relative_to(root).as_posix()) for path in _walk(root)]
        elif root.is_file():
            inside = [(root, root.name)]
        elif root.exists():
            raise ConfigurationError(f"{root}: not a file that can be read twice; give it as standard input: --input -")
        else:
            raise ConfigurationError(f"{root}: no such file or folder")
        inside = [(path, topic) for path, topic in inside if not (column_map and column_map.skips(topic))]
        if not inside:
            raise ConfigurationError(f"{root}: nothing to read in it; known are {known_endings()}")
        files += [_input_file(path, topic, column_map) for path, topic in inside]
    topics = [file.topic for file in files]
    for twice in {topic for topic in topics if topics.count(topic) > 1} if len(paths) > 1 else ():
        raise ConfigurationError(f"two inputs are called {twice!r}; put them in one folder and give that")
    return files


def known_endings() -> str:
    """Name the endings of every format.

    >>> known_endings()
    '.ndjson, .jsonl, .json, .csv and .tsv (each also with .gz), and .parquet'
    """
    *most, last = [ending for kind in FORMATS.values() if kind.lines for ending in kind.endings]
    others = [ending for kind in FORMATS.values() if not kind.lines for ending in kind.endings]
    return f"{', '.join(most)} and {last} (each also with .gz), and {', '.join(others)}"


def _walk(folder: Path) -> list[Path]:
    """Files of a folder, hidden ones left out, in the order of their relative paths."""
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _input_file(path: Path, topic: str, column_map: ColumnMap | None) -> InputFile:
    kind = _format_of(path)
    if kind is None:
        raise ConfigurationError(f"{path}: cannot tell what it holds from its name; known are {known_endings()}")
    if not kind.mapped:
        return InputFile(path, topic, kind)
    if column_map is None:
        known = ", ".join(sorted(known_maps()))
        raise ConfigurationError(f"{path}: needs a column map: --map FILE, or one of those shipped: {known}")
    return InputFile(path, topic, kind, column_map.layout(topic))


def _format_of(path: Path) -> Format | None:
    endings = [ending.lower() for ending in path.suffixes]
    packed = endings[-1:] == [".gz"]
    ending = (endings[:-1] if packed else endings)[-1:]
    for kind in FORMATS.values():
        if ending and ending[0] in kind.endings and (kind.lines or not packed):
            return kind
    return None
