"""Files as input: one, several, a folder, or standard input.

Each file is an input partition. A recovery store knows its files again by their heads, and new files of a folder are
taken up as they appear. Exactly once under recovery; standard input has no second chance and takes a fresh store only.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.decode.batch import InputPartition, SourceBatch
from flows.decode.decoder import Decoder
from flows.kernels.merge_keys import BEFORE_ALL_US
from flows.sources.base import START, Place
from flows.sources.files.formats import BATCH_ROWS, InputFile, find_files
from flows.sources.files.lines import LineSplitter, PipedBytes
from flows.sources.files.ndjson import NdjsonReader
from flows.sources.merge import EventTimeMerge, PartitionBuffer, ReadAhead
from flows.sources.tables.column_map import ColumnMap, load_map
from schemas.errors import ConfigurationError
from schemas.snapshots import VERSION, check_version

HEAD_BYTES = 64 << 10
"""Bytes of a file's beginning whose hash identifies it."""
REMEDY = "give the original file back, or start a new lake and store"

SourceState = dict[str, Any]
"""What a recovery store keeps: under ``files`` a ``FileState`` of each, or how much of ``stdin`` was read."""
Item = tuple[str, SourceBatch]


class FileState(TypedDict):
    """What a recovery store keeps of one file."""

    path: str
    """Relative to what was given."""
    kpart: int
    """Number of the input partition."""
    size: int
    """Bytes of the file, as far as they are known."""
    head_size: int
    head: str
    """SHA-256 of its first ``head_size`` bytes."""
    plain: bool
    """Whether ``offset`` of a place is a byte of the file as it lies on disk."""
    koff: int
    """First offset that was not emitted."""
    high: int
    """Largest ``observed`` that was emitted, microseconds since 1970 UTC."""
    place: Place
    """Where reading goes on."""
    done: bool
    """Whether it was read to its end."""


class FileSource(FixedPartitionedSource[Item, SourceState]):
    """Bounded input from files: exactly once under recovery, in one partition named ``input``.

    Args:
        paths: files and folders; or "-", standard input.
        decoder: judges what they hold.
        column_map: for files whose format needs one.
        stop: whether to end early; then nothing says that the input is at its end.
        now: microseconds since 1970 UTC, for ``received``.
        rows: at most so many rows an item; by default 32,768, and 65,536 from Parquet alone.
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
        self._files = None if paths == "-" else find_files([Path(path) for path in paths], column_map)
        self._decoder, self._stop, self._now = decoder, stop, now
        self._rows = rows or min((file.format.batch_rows for file in self._files or ()), default=BATCH_ROWS)
        self._descriptor = descriptor

    def list_parts(self) -> list[str]:
        """List the one partition."""
        return ["input"]

    def build_part(self, step_id: str, for_part: str, resume_state: SourceState | None) -> "FilesPartition":
        """Go on where a snapshot was taken.

        Raises:
            ConfigurationError: a file changed, or vanished, since then; or it was standard input; or another version
                took the snapshot.
        """
        if resume_state is not None:
            check_version(resume_state, "input")
        if self._files is None:
            if resume_state is not None:
                raise ConfigurationError(
                    "standard input cannot be read a second time, and this recovery store has already taken some; "
                    "start a new lake and store, or write the input to a file and give its path"
                )
            descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
            reader = NdjsonReader(LineSplitter(PipedBytes(descriptor)), 0, self._decoder)
            piped = ReadAhead(reader, PartitionBuffer(0))
            return FilesPartition([InputPartition("stdin", 0)], [piped], None, self._rows, self._stop, self._now)
        if resume_state is not None and "files" not in resume_state:
            raise ConfigurationError(
                "this recovery store has read standard input, or topics; start a new lake and store for files"
            )
        states, files = _resume(self._files, resume_state["files"] if resume_state else [], self._decoder)
        parts = [InputPartition(state["path"], state["kpart"]) for state in states]
        return FilesPartition(parts, files, states, self._rows, self._stop, self._now)

    def finish(self) -> None:
        """After the engine has returned there is nothing left to do."""

    def state_at(self, offsets: Mapping[InputPartition, tuple[int, int]]) -> SourceState:
        """Make the snapshot of a source that has taken each partition up to an offset.

        Args:
            offsets: of each partition the next offset, and the largest ``observed`` before it.

        Raises:
            ConfigurationError: a file is not among the input.
        """
        by_topic = {file.topic: file for file in self._files or []}
        states = []
        for partition, (offset, high) in sorted(offsets.items(), key=lambda item: item[0].number):
            if partition.topic not in by_topic:
                raise ConfigurationError(
                    f"the lake has readings of {partition.topic}, which is not in the input; {REMEDY}"
                )
            state = _unread(by_topic[partition.topic], partition.number)
            state["koff"], state["high"] = offset, high
            states.append(state)
        return {"v": VERSION, "files": states}


class FilesPartition(StatefulSourcePartition[Item, SourceState]):
    """All files, merged by event time.

    Args:
        parts: the files as input partitions.
        files: each read ahead.
        states: one of each, brought up to date by every snapshot; None for standard input.
        rows: at most so many rows an item.
        stop: whether to end early.
        now: microseconds since 1970 UTC.
    """

    def __init__(
        self,
        parts: list[InputPartition],
        files: list[ReadAhead],
        states: list[FileState] | None,
        rows: int,
        stop: Callable[[], bool],
        now: Callable[[], int],
    ) -> None:
        self._parts, self._files, self._states = parts, files, states
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
        batch = SourceBatch(self._parts, self._now(), merged.readings, merged.rejects, merged.offsets)
        return [("files", batch)]

    def snapshot(self) -> SourceState:
        """Return where to go on, as plain data."""
        if self._states is None:
            return {"v": VERSION, "stdin": self._files[0].buffer.offset}
        for state, file in zip(self._states, self._files, strict=True):
            place = file.place
            state["done"] = place is None
            state["koff"], state["high"] = file.buffer.offset, file.buffer.emitted_high
            if place is not None:
                state["place"] = place
                if state["plain"]:
                    state["size"] = max(state["size"], place["offset"])
        return {"v": VERSION, "files": [state.copy() for state in self._states]}


def _resume(
    files: list[InputFile], snapshot: list[FileState], decoder: Decoder
) -> tuple[list[FileState], list[ReadAhead]]:
    """Match the files with those that a snapshot knows; new ones come after them."""
    states = [state.copy() for state in snapshot]
    unmatched = {file.topic: file for file in files}
    resumed = []
    for part, state in enumerate(states):
        file = unmatched.pop(state["path"], None)
        reader = None
        if file is not None:
            grown = _has_grown(file, state)
            reader = None if state["done"] and not grown else file.reader(part, decoder, state["place"])
        elif not state["done"]:
            raise ConfigurationError(f"{state['path']} vanished before it was read to its end; {REMEDY}")
        resumed.append(ReadAhead(reader, PartitionBuffer(part, state["koff"], state["high"])))
    for part, file in enumerate(unmatched.values(), len(states)):
        states.append(_unread(file, part))
        resumed.append(ReadAhead(file.reader(part, decoder, START), PartitionBuffer(part)))
    return states, resumed


def _unread(file: InputFile, kpart: int) -> FileState:
    """The state of a file of which nothing was read."""
    size, head_size, digest = _head(file.path, HEAD_BYTES)
    return {
        "path": file.topic,
        "kpart": kpart,
        "size": size,
        "head_size": head_size,
        "head": digest,
        "plain": file.seekable,
        "koff": 0,
        "high": BEFORE_ALL_US,
        "place": START,
        "done": False,
    }


def _has_grown(file: InputFile, state: FileState) -> bool:
    """Check that a file is the one of a snapshot, note its size there, and say whether it has grown.

    Raises:
        ConfigurationError: it is another, or has grown and its format may not.
    """
    size, _, digest = _head(file.path, state["head_size"])
    before = state["size"]
    if digest != state["head"]:
        raise ConfigurationError(f"{file.path} changed under this recovery store: its head differs; {REMEDY}")
    if size < before:
        raise ConfigurationError(
            f"{file.path} changed under this recovery store: {size:,} bytes, it had {before:,}; {REMEDY}"
        )
    if size > before and not file.may_grow:
        raise ConfigurationError(
            f"{file.path} grew under this recovery store from {before:,} to {size:,} bytes, "
            f"which only NDJSON and tables in wide form may; {REMEDY}"
        )
    state["size"] = size
    return size > before


def _head(path: Path, size: int) -> tuple[int, int, str]:
    """Return a file's size, the bytes read of its head (at most ``size``), and their SHA-256."""
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
    column_map = load_map(map_name, decoder.measured) if map_name is not None else None
    return FileSource("-" if path_text == "-" else [Path(path_text)], decoder, column_map, stop=stop, now=now)
