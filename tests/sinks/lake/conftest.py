"""A lake, and partitions of its sink as a start of a flow makes them."""

import pytest

from sinks.lake.sink import LakeSink
from sinks.lake.tables import create_tables


@pytest.fixture
def root(tmp_path):
    """A lake with empty tables."""
    create_tables(tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def start(root, make_city):
    """Start the sink with a snapshot, or none; the threads of all that were started are stopped."""
    partitions, city = [], make_city()

    def make(kept=None, writer="air", settings=None):
        sink = LakeSink(root, writer, city, settings=settings)
        partition = sink.build_part("lake", "lake", kept)
        partitions.append(partition)
        return partition

    yield make
    for partition in partitions:
        partition.abandon()
