"""The out-topics as NDJSON files, one a topic, as exactly once as the topics themselves."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.outputs.events import Message
from schemas.errors import ConfigurationError
from schemas.snapshots import VERSION, check_version
from sinks import recovery_store
from sinks.failpoints import failpoint

STORE_FILE = "_cityair-store"
"""File that holds the identity of the air flow's recovery store; those of other flows have their name behind."""


class NdjsonSink(FixedPartitionedSink[list[Message], dict[str, Any]]):
    """Messages as lines of ``folder/<topic>.ndjson``, exactly once: a resume cuts each file to the last snapshot.

    Args:
        folder: made if it is not there.
        topics: names of the out-topics.
        identity: of the recovery store; files of another store are never cut.
        flow: that writes; several may share a folder.

    Raises:
        ConfigurationError: the folder cannot be written, or holds files of another store.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = NdjsonSink(Path(folder), ["a.v1"], "store-1").build_part("topics", "a.v1", None)
    ...     file.write_batch([[Message("id-1", b"key", b'{"pm10":31}', ())]])
    ...     kept = file.snapshot()
    ...     file.write_batch([[Message("id-2", b"key", b'{"pm10":32}', ())]])
    ...     file.close()  # a crash: the second message comes again
    ...     file = NdjsonSink(Path(folder), ["a.v1"], "store-1").build_part("topics", "a.v1", kept)
    ...     again = file.snapshot()
    ...     file.close()
    >>> kept, again
    ({'v': 1, 'length': 12}, {'v': 1, 'length': 12})
    """

    def __init__(self, folder: Path, topics: list[str], identity: str, flow: str = "air") -> None:
        self._folder, self._topics = folder, sorted(topics)
        store_file = folder / (STORE_FILE if flow == "air" else f"{STORE_FILE}-{flow}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if store_file.exists() and store_file.read_text() == identity:
                return
            for path in map(self._path, self._topics):
                if path.exists() and path.stat().st_size:
                    raise ConfigurationError(
                        f"{path} was written with another recovery store; "
                        "give an empty folder, or the store it belongs to"
                    )
            recovery_store.write_durably(store_file, identity.encode())
        except OSError as err:
            raise ConfigurationError(f"output folder {folder} cannot be written: {err}") from err

    def list_parts(self) -> list[str]:
        """One partition a topic."""
        return self._topics

    def part_fn(self, item_key: str) -> int:
        """Items are keyed by their topic."""
        return self._topics.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "NdjsonFile":
        """Go on with a topic's file where the last durable epoch ended.

        Raises:
            ConfigurationError: the file has lost bytes, or the snapshot's version is unknown.
        """
        return NdjsonFile(self._path(for_part), resume_state)

    def _path(self, topic: str) -> Path:
        return self._folder / f"{topic}.ndjson"


class NdjsonFile(StatefulSinkPartition[list[Message], dict[str, Any]]):
    """The file of one topic.

    Args:
        path: of the file.
        resume: snapshot of the last durable epoch; None in a new store.

    Raises:
        ConfigurationError: the file has lost bytes, or the snapshot's version is unknown.
    """

    def __init__(self, path: Path, resume: dict[str, Any] | None) -> None:
        if resume is not None:
            check_version(resume, f"output file {path}")
        length = resume["length"] if resume else 0
        size = path.stat().st_size if path.exists() else 0
        if size < length:
            raise ConfigurationError(
                f"{path} has {size:,} bytes, but {length:,} were written; "
                "put the file back, or start anew with an empty folder, lake and store"
            )
        self._path, self._length = path, length
        self._file: BinaryIO | None = None

    def write_batch(self, values: list[list[Message]]) -> None:
        """Append messages, a line each."""
        for messages in values:
            self._opened().write(b"".join(message.value + b"\n" for message in messages))

    def snapshot(self) -> dict[str, Any]:
        """Make what was written durable, and return how long the file is."""
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        failpoint("files.after_sync")
        return {"v": VERSION, "length": file.tell()}

    def close(self) -> None:
        """Close the file; a resume cuts off what no snapshot covers."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> BinaryIO:
        """Open the file and cut off what no snapshot covers: not before the lake, too, has agreed to go on."""
        if self._file is None:
            self._file = self._path.open("ab")
            self._file.truncate(self._length)
            self._file.seek(self._length)  # else a snapshot would tell the length before the cut
            recovery_store.fsync(self._path.parent)
        return self._file
