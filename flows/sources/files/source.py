"""Files as input: NDJSON, Parquet, and CSV through a column map; one, several, a folder, or standard input.

Each file is an input partition. A recovery store knows its files again by their heads, and new files of a folder are
taken up as they appear. Exactly once under recovery; standard input has no second chance and takes a fresh store only.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.decode.batch import InputPartition, SourceBatch
from flows.decode.decoder import Decoder
from flows.sources.base import START, NdjsonReader, ParquetReader, Place, Reader, SortedReader
from flows.sources.files.lines import Lines, PipedBytes
from flows.sources.merge import BEFORE_ALL_US, EventTimeMerge, PartitionBuffer, ReadAhead
from flows.sources.tables.column_map import ColumnMap, Layout, known_maps, load_map
from flows.sources.tables.rows import LongReader, WideReader, open_bytes
from schemas.errors import ConfigurationError

ITEM_ROWS = 16_384
PARQUET_ROWS = 65_536
"""Rows of an item; more from Parquet, where nothing has to be parsed."""
HEAD_BYTES = 64 << 10
KINDS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "table", ".tsv": "table"}
KNOWN = ".ndjson, .jsonl, .json, .csv and .tsv (each also with .gz), and .parquet"
CURE = "give the original file back, or start a new lake and store"

Snapshot = dict[str, Any]
Item = tuple[str, SourceBatch]


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be read."""

    path: Path
    topic: str
    """Its path relative to what was given."""
    kind: str
    layout: Layout | None = None

    @property
    def appendable(self) -> bool:
        """Whether a longer file of the same head is the same file, grown."""
        return self.kind == "ndjson" or (self.layout is not None and not self.layout.long and not self.layout.sort)

    def reader(self, part: int, decoder: Decoder, place: Place) -> Reader:
        """Open it at a place."""
        if self.kind == "parquet":
            return ParquetReader(self.path, part, decoder, place)
        if self.layout is not None:
            form = LongReader if self.layout.long else WideReader
            if self.layout.sort:
                return SortedReader(form(self.path, part, decoder, self.layout), place)
            return form(self.path, part, decoder, self.layout, place)
        lines = Lines(open_bytes(self.path, place["offset"]), place["offset"], unended=bool(place["unended"]))
        return NdjsonReader(lines, part, decoder, place)


def find(paths: Sequence[Path], column_map: ColumnMap | None) -> list[InputFile]:
    """List the files to be read, in the order of their relative paths.

    Raises:
        ConfigurationError: a path is not there, its ending is unknown, or it needs a map.
    """
    found = []
    for given in paths:
        if given.is_dir():
            inside = [(path, path.relative_to(given).as_posix()) for path in _walk(given)]
        elif given.is_file():
            inside = [(given, given.name)]
        elif given.exists():
            raise ConfigurationError(
                f"{given}: not a file that can be read twice; give it as standard input: --input -"
            )
        else:
            raise ConfigurationError(f"{given}: no such file or folder")
        inside = [(path, topic) for path, topic in inside if not (column_map and column_map.skips(topic))]
        if not inside:
            raise ConfigurationError(f"{given}: nothing to read in it; known are {KNOWN}")
        found += [_file(path, topic, column_map) for path, topic in inside]
    topics = [file.topic for file in found]
    for twice in {topic for topic in topics if topics.count(topic) > 1} if len(paths) > 1 else ():
        raise ConfigurationError(f"two inputs are called {twice!r}; put them in one folder and give that")
    return found


def _walk(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _file(path: Path, topic: str, column_map: ColumnMap | None) -> InputFile:
    endings = [ending.lower() for ending in path.suffixes]
    if endings[-1:] == [".parquet"]:
        return InputFile(path, topic, "parquet")
    packed = endings[-1:] == [".gz"]
    kind = KINDS.get((endings[-2:-1] if packed else endings[-1:] or [""])[0] if endings[packed:] else "")
    if kind is None:
        raise ConfigurationError(f"{path}: cannot tell what it holds from its name; known are {KNOWN}")
    if kind == "ndjson":
        return InputFile(path, topic, kind)
    if column_map is None:
        known = ", ".join(sorted(known_maps()))
        raise ConfigurationError(f"{path}: needs a column map: --map FILE, or one of those shipped: {known}")
    return InputFile(path, topic, kind, column_map.layout(topic))


class FileSource(FixedPartitionedSource[Item, Snapshot]):
    """Bounded input from files: exactly once under recovery, in one partition named ``input``.

    Args:
        paths: files and folders; or "-", standard input.
        decoder: judges what they hold.
        column_map: for CSV and TSV.
        stop: whether to end early; then nothing says that the input is at its end.
        now: microseconds since 1970 UTC, for ``received``.
        rows: at most so many rows an item; 16,384, and 65,536 from Parquet alone.
        descriptor: of standard input.

    Raises:
        ConfigurationError: a path is not there, its ending is unknown, or it needs a map.
    """

    def __init__(
        self,
        paths: Sequence[Path] | Literal["-"],
        decoder: Decoder,
        column_map: ColumnMap | None,
        *,
        stop: Callable[[], bool],
        now: Callable[[], int],
        rows: int | None = None,
        descriptor: int | None = None,
    ) -> None:
        self._files = None if paths == "-" else find([Path(path) for path in paths], column_map)
        self._decoder, self._stop, self._now = decoder, stop, now
        parquet = bool(self._files) and all(file.kind == "parquet" for file in self._files or ())
        self._rows = rows or (PARQUET_ROWS if parquet else ITEM_ROWS)
        self._descriptor = descriptor

    def list_parts(self) -> list[str]:
        """List the one partition."""
        return ["input"]

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "FilesPartition":
        """Go on where a snapshot was taken.

        Raises:
            ConfigurationError: a file changed, or vanished, since then; or it was standard input.
        """
        if self._files is None:
            if resume_state is not None:
                raise ConfigurationError(
                    "standard input cannot be read a second time, and this recovery store has already taken some; "
                    "start a new lake and store, or write the input to a file and give its path"
                )
            descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
            reader = NdjsonReader(Lines(PipedBytes(descriptor)), 0, self._decoder)
            piped = ReadAhead(reader, PartitionBuffer(0))
            return FilesPartition([InputPartition("stdin", 0)], [piped], None, self._rows, self._stop, self._now)
        if resume_state is not None and "files" not in resume_state:
            raise ConfigurationError(
                "this recovery store has read standard input, or topics; start a new lake and store for files"
            )
        known, files = _resume(self._files, resume_state, self._decoder)
        parts = [InputPartition(one["path"], one["kpart"]) for one in known]
        return FilesPartition(parts, files, known, self._rows, self._stop, self._now)

    def finish(self) -> None:
        """After the engine has returned there is nothing left to say."""

    def state_at(self, offsets: Mapping[InputPartition, tuple[int, int]]) -> Snapshot:
        """Make the snapshot of a source that has taken each partition up to an offset.

        Args:
            offsets: of each partition the next offset, and the largest ``observed`` before it.

        Raises:
            ConfigurationError: a file is not among the input.
        """
        here = {file.topic: file for file in self._files or []}
        known = []
        for partition, (koff, high) in sorted(offsets.items(), key=lambda item: item[0].number):
            if partition.topic not in here:
                raise ConfigurationError(
                    f"the lake has readings of {partition.topic}, which is not in the input; {CURE}"
                )
            known.append(_first_seen(here[partition.topic], partition.number) | {"koff": koff, "high": high})
        return {"v": 1, "files": known}


class FilesPartition(StatefulSourcePartition[Item, Snapshot]):
    """All files, merged."""

    def __init__(
        self,
        parts: list[InputPartition],
        files: list[ReadAhead],
        known: list[dict[str, Any]] | None,
        rows: int,
        stop: Callable[[], bool],
        now: Callable[[], int],
    ) -> None:
        self._parts, self._files, self._known = parts, files, known
        self._merge = EventTimeMerge(files, rows)
        self._stop, self._now = stop, now
        self._finished = False

    def next_batch(self) -> list[Item]:
        """Return the next readings and rejects, if any have come; at the end an item that says so."""
        if self._finished or self._stop():
            raise StopIteration
        merged = self._merge.next_batch()
        if merged is None:
            self._finished = True
            return [("files", SourceBatch(self._parts, self._now(), end_of_input=True))]
        if not merged.offsets:
            return []
        more = self._known is not None  # standard input may be live: what it brings is evaluated at once
        return [
            (
                "files",
                SourceBatch(self._parts, self._now(), merged.readings, merged.rejects, merged.offsets, backlog=more),
            )
        ]

    def snapshot(self) -> Snapshot:
        """Return where to go on, as plain data."""
        if self._known is None:
            return {"v": 1, "stdin": self._files[0].buffer.offset}
        for one, file in zip(self._known, self._files, strict=True):
            place = file.place
            one["done"] = place is None
            one["koff"], one["high"] = file.buffer.offset, file.buffer.emitted_high
            if place is not None:
                one["place"] = place
                if one["plain"]:
                    one["size"] = max(one["size"], place["offset"])
        return {"v": 1, "files": [dict(one) for one in self._known]}


def _resume(
    files: list[InputFile], snapshot: Snapshot | None, decoder: Decoder
) -> tuple[list[dict[str, Any]], list[ReadAhead]]:
    """Match the files with those a snapshot knows; new ones come after them."""
    if snapshot is not None and snapshot["v"] != 1:
        raise ConfigurationError(f"the recovery store is of another version of cityair (v{snapshot['v']}); {CURE}")
    known: list[dict[str, Any]] = [dict(one) for one in snapshot["files"]] if snapshot else []
    here = {file.topic: file for file in files}
    resumed = []
    for part, one in enumerate(known):
        file = here.pop(one["path"], None)
        if file is None:
            if not one["done"]:
                raise ConfigurationError(f"{one['path']} vanished before it was read to its end; {CURE}")
            resumed.append(ReadAhead(None, PartitionBuffer(part, one["koff"], one["high"])))
        else:
            grown = _same(file, one)
            reader = None if one["done"] and not grown else file.reader(part, decoder, one["place"])
            resumed.append(ReadAhead(reader, PartitionBuffer(part, one["koff"], one["high"])))
    for file in here.values():
        part = len(known)
        known.append(_first_seen(file, part))
        resumed.append(ReadAhead(file.reader(part, decoder, START), PartitionBuffer(part)))
    return known, resumed


def _first_seen(file: InputFile, kpart: int) -> dict[str, Any]:
    """What a snapshot keeps of a file of which nothing was read."""
    size, head, digest = _head(file.path, HEAD_BYTES)
    plain = file.kind != "parquet" and file.path.suffix != ".gz"
    identity = {"path": file.topic, "kpart": kpart, "size": size, "head_size": head, "head": digest, "plain": plain}
    return identity | {"koff": 0, "high": BEFORE_ALL_US, "place": START, "done": False}


def _same(file: InputFile, one: dict[str, Any]) -> bool:
    """Make sure that a file is the one that a snapshot knows, and tell whether it has grown.

    Raises:
        ConfigurationError: it is not.
    """
    size, _, digest = _head(file.path, one["head_size"])
    was: int = one["size"]
    if digest != one["head"]:
        raise ConfigurationError(f"{file.path} changed under this recovery store: its head differs; {CURE}")
    if size < was:
        raise ConfigurationError(
            f"{file.path} changed under this recovery store: {size:,} bytes, it had {was:,}; {CURE}"
        )
    if size > was and not file.appendable:
        raise ConfigurationError(
            f"{file.path} grew under this recovery store from {was:,} to {size:,} bytes, "
            f"which only NDJSON and tables in wide form may; {CURE}"
        )
    one["size"] = size
    return size > was


def _head(path: Path, size: int) -> tuple[int, int, str]:
    """Return a file's size, how much of its head there is, and the hash of that."""
    try:
        with path.open("rb") as file:
            head = file.read(size)
            return os.fstat(file.fileno()).st_size, len(head), hashlib.sha256(head).hexdigest()
    except OSError as err:
        raise ConfigurationError(f"{path}: cannot be read: {err.strerror}") from err


def open_input(
    path_text: str,
    map_name: str | None,
    decoder: Decoder,
    stop: Callable[[], bool],
    now: Callable[[], int],
) -> FileSource:
    """Open what ``--input`` and ``--map`` name.

    Args:
        path_text: a file, a folder, or "-" for standard input.
        map_name: a column map's path, or the name of one that ships.
        decoder: judges what is read.
        stop: whether to end early.
        now: microseconds since 1970 UTC.

    Raises:
        ConfigurationError: they cannot be read, or do not fit.
    """
    column_map = load_map(map_name) if map_name is not None else None
    return FileSource("-" if path_text == "-" else [Path(path_text)], decoder, column_map, stop=stop, now=now)
