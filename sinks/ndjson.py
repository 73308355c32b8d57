"""The out-topics as NDJSON files, one a topic, as exactly once as the topics themselves."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.outputs.events import Message
from schemas.errors import ConfigurationError
from sinks import recovery_store as store
from sinks.failpoints import failpoint


class NdjsonSink(FixedPartitionedSink[list[Message], dict[str, Any]]):
    """Messages as lines of ``folder/<topic>.ndjson``.

    Exactly once under recovery: a resume truncates to the last snapshot.

    Args:
        folder: made if it is not there.
        topics: names of the out-topics.
        identity: of the recovery store; files of another store are never cut.
    """

    def __init__(self, folder: Path, topics: list[str], identity: str) -> None:
        self._folder, self._topics = folder, sorted(topics)
        mark = folder / "_cityair-store"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mine = mark.exists() and mark.read_text() == identity
            for topic in self._topics:
                path = self._path(topic)
                if not mine and path.exists() and path.stat().st_size:
                    raise ConfigurationError(
                        f"{path} was written with another recovery store; "
                        "give an empty folder, or the store it belongs to"
                    )
            if not mine:
                store.write_durably(mark, identity.encode())
        except OSError as err:
            raise ConfigurationError(f"output folder {folder} cannot be written: {err}") from err

    def list_parts(self) -> list[str]:
        """One partition a topic."""
        return self._topics

    def part_fn(self, item_key: str) -> int:
        """Items are keyed by their topic."""
        return self._topics.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "_File":
        """Open a topic's file where the last durable epoch left it."""
        return _File(self._path(for_part), resume_state)

    def _path(self, topic: str) -> Path:
        return self._folder / f"{topic}.ndjson"


class _File(StatefulSinkPartition[list[Message], dict[str, Any]]):
    def __init__(self, path: Path, resume: dict[str, Any] | None) -> None:
        length = resume["length"] if resume else 0
        size = path.stat().st_size if path.exists() else 0
        if size < length:
            raise ConfigurationError(
                f"{path} has {size:,} bytes, but {length:,} were written; "
                "put the file back, or start anew with an empty folder, lake and store"
            )
        self._path, self._length = path, length
        self._opened: BinaryIO | None = None

    def _file(self) -> BinaryIO:
        """Open the file and cut off what no snapshot covers: not before the lake, too, has agreed to go on."""
        if self._opened is None:
            self._opened = self._path.open("ab")
            self._opened.truncate(self._length)
            self._opened.seek(self._length)  # else a snapshot would tell the length that was
            store.fsync(self._path.parent)
        return self._opened

    def write_batch(self, values: list[list[Message]]) -> None:
        for messages in values:
            self._file().write(b"".join(message.value + b"\n" for message in messages))

    def snapshot(self) -> dict[str, Any]:
        file = self._file()
        file.flush()
        os.fsync(file.fileno())
        failpoint("files.after_sync")
        return {"v": 1, "length": file.tell()}

    def close(self) -> None:
        """Close the file; a resume cuts off what no snapshot covers."""
        if self._opened is not None:
            self._opened.close()
