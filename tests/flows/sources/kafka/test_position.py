"""Snapshots of Kafka inputs: those that 0.1.0 left are understood, those of another version are refused."""

import pytest

from flows.decode.batch import InputPartition
from flows.kernels.merge_keys import BEFORE_ALL_US
from flows.sources.kafka.position import KafkaPosition, SideInputPosition
from schemas.errors import ConfigurationError
from tests.support.golden import kafka_snapshots

READINGS = "env.air.reading.v1"


@pytest.fixture(scope="module")
def golden():
    return kafka_snapshots()


def test_the_input_of_an_earlier_version_is_understood(golden):
    position = KafkaPosition.restore(golden["air.input/input"])
    assert position.ids == {READINGS: "UTQNWnM7Tc2s52lkNGVTjg"}
    assert [of.partition for of in position.partitions] == [InputPartition(READINGS, number) for number in range(4)]
    assert [of.offset for of in position.partitions] == [0, 147, 0, 301]
    assert [of.high for of in position.partitions] == [BEFORE_ALL_US, 1795109040000000] * 2


def test_the_side_input_of_an_earlier_version_is_understood(golden):
    assert SideInputPosition.restore(golden["air.words/words"], "words").offsets == {0: 1}


def test_what_is_written_is_what_was_read(golden):
    for restore, name in (
        (KafkaPosition.restore, "air.input/input"),
        (lambda snapshot: SideInputPosition.restore(snapshot, "words"), "air.words/words"),
    ):
        assert restore(golden[name]).snapshot() == golden[name]


@pytest.mark.parametrize("version", [2, 0, None])
def test_another_version_is_refused(golden, version):
    with pytest.raises(ConfigurationError, match=f"snapshot of input has version {version!r}"):
        KafkaPosition.restore(golden["air.input/input"] | {"v": version})
    with pytest.raises(ConfigurationError, match=f"snapshot of side input words has version {version!r}"):
        SideInputPosition.restore(golden["air.words/words"] | {"v": version}, "words")


def test_a_snapshot_without_a_version_is_refused(golden):
    snapshot = dict(golden["air.input/input"])
    del snapshot["v"]
    with pytest.raises(ConfigurationError, match="snapshot of input has version None"):
        KafkaPosition.restore(snapshot)


@pytest.mark.parametrize("snapshot", [{"v": 1, "files": []}, {"v": 1, "stdin": 7}, {"v": 9, "files": []}])
def test_a_store_that_has_read_files_is_named_as_such(snapshot):
    with pytest.raises(ConfigurationError, match="has read files"):
        KafkaPosition.restore(snapshot)
