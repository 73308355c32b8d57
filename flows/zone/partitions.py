"""Input partitions by name: what the readings of a zone call their origin, however a source numbers it."""

from collections.abc import Sequence

import numpy as np

from flows.arrays import I32
from flows.decode.batch import InputPartition


class Partitions:
    """The partitions that a zone has heard of; an index among them keeps its meaning, also after a resume.

    >>> partitions = Partitions()
    >>> a, b = InputPartition("air", 0), InputPartition("air", 1)
    >>> partitions.translate(np.array([1]), [a, b]).tolist(), partitions.translate(np.array([0]), [b]).tolist()
    ([1], [1])
    """

    def __init__(self) -> None:
        self.known: list[InputPartition] = []

    def translate(self, part: I32, parts: Sequence[InputPartition]) -> I32:
        """Return indices among the known partitions, given indices among ``parts``; shape (n,)."""
        n = len(self.known)
        if list(parts[:n]) == self.known:
            self.known += parts[n:]
            return part
        self.known += [partition for partition in parts if partition not in self.known]
        index = np.array([self.known.index(partition) for partition in parts], np.int32)
        return index[part]

    def snapshot(self) -> list[tuple[str, int]]:
        """Plain data."""
        return [(partition.topic, partition.number) for partition in self.known]

    def restore(self, kept: Sequence[tuple[str, int]]) -> None:
        """Go on from a snapshot."""
        self.known = [InputPartition(*partition) for partition in kept]
