"""Snapshots of Kafka inputs: up to where each partition was read, as plain data."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from flows.broker.read_back import Offsets
from flows.decode.batch import InputPartition
from schemas.errors import ConfigurationError
from schemas.snapshots import VERSION, check_version

Snapshot = dict[str, Any]


class PartitionPosition(NamedTuple):
    """Progress of one partition."""

    partition: InputPartition
    offset: int
    """First offset that was not emitted."""
    high: int
    """Largest ``observed`` that was emitted, microseconds since 1970 UTC."""


class KafkaPosition(NamedTuple):
    """Progress of a Kafka input, and which topics it was made on.

    >>> part = {"topic": "env.air.reading.v1", "kpart": 0, "koff": 7, "high": 60_000_000}
    >>> position = KafkaPosition.restore({"v": 1, "topics": {"env.air.reading.v1": "UTQNWn"}, "parts": [part]})
    >>> position.partitions[0].offset
    7
    >>> position.snapshot()["parts"] == [part]
    True
    """

    ids: Mapping[str, str]
    """The broker's own ids of the topics, by contract name."""
    partitions: tuple[PartitionPosition, ...]
    """In the order of their index among the partitions of the input, which holds for ever."""

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> Self:
        """Read a snapshot.

        Raises:
            ConfigurationError: it is of files, or of a version that this code does not read.
        """
        if "files" in snapshot or "stdin" in snapshot:
            raise ConfigurationError("this recovery store has read files; start a new lake and store for topics")
        check_version(snapshot, "input")
        parts = snapshot["parts"]
        return cls(
            dict(snapshot["topics"]),
            tuple(
                PartitionPosition(InputPartition(part["topic"], part["kpart"]), part["koff"], part["high"])
                for part in parts
            ),
        )

    def snapshot(self) -> Snapshot:
        """The snapshot that `restore` reads."""
        parts = [
            {"topic": of.partition.topic, "kpart": of.partition.number, "koff": of.offset, "high": of.high}
            for of in self.partitions
        ]
        return {"v": VERSION, "topics": dict(self.ids), "parts": parts}


class SideInputPosition(NamedTuple):
    """Progress of a side input.

    >>> SideInputPosition.restore({"v": 1, "next": {0: 7}}, "words").snapshot()
    {'v': 1, 'next': {0: 7}}
    """

    offsets: Offsets
    """Offset after the last message read of each partition."""

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], name: str) -> Self:
        """Read a snapshot of the side input ``name``.

        Raises:
            ConfigurationError: it is of a version that this code does not read.
        """
        check_version(snapshot, f"side input {name}")
        return cls(dict(snapshot["next"]))

    def snapshot(self) -> Snapshot:
        """The snapshot that `restore` reads."""
        return {"v": VERSION, "next": dict(self.offsets)}
