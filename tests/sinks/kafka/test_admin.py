"""Topics compared with those that a city needs, without a broker: only what hurts is a difference."""

import msgspec
import pytest

from schemas.errors import ConfigurationError
from schemas.topics import dead_letter_topic, topic_specs
from sinks.kafka.admin import PlanReport, TopicState, differences, replication_factor

READINGS, STATES, WORDS = "env.air.reading.v1", "env.light.state.v1", "env.light.message.v1"


def plan(name, replication=1):
    return next(topic for topic in topic_specs(86_400, replication=replication) if topic.name == name)


@pytest.mark.parametrize(
    ("topic", "partitions", "replication", "changed", "faults"),
    [
        (READINGS, 4, 1, {}, set()),
        (READINGS, 12, 3, {"retention.ms": "-1", "min.insync.replicas": "2"}, set()),
        (READINGS, 4, 1, {"message.timestamp.type": "CreateTime"}, {"message.timestamp.type"}),
        (READINGS, 4, 1, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}, set()),
        (READINGS, 4, 1, {"retention.ms": "604800000"}, {"retention.ms"}),
        (READINGS, 4, 1, {"retention.bytes": "1000000"}, {"retention.bytes"}),
        (READINGS, 4, 1, {"cleanup.policy": "compact"}, {"cleanup.policy"}),
        (READINGS, 4, 1, {"min.insync.replicas": "2"}, {"min.insync.replicas"}),
        (READINGS, 4, 1, {"compression.type": "producer"}, {"compression.type"}),
        (WORDS, 1, 1, {"compression.type": "zstd"}, {"compression.type"}),
        (STATES, 1, 1, {"compression.type": "producer"}, set()),
        (dead_letter_topic(READINGS), 1, 1, {"max.message.bytes": "1048588"}, {"max.message.bytes"}),
        (STATES, 1, 1, {"cleanup.policy": "delete"}, {"cleanup.policy"}),
        (STATES, 1, 1, {"segment.ms": "604800000"}, {"segment.ms"}),
        (STATES, 1, 1, {"min.cleanable.dirty.ratio": "0.5"}, {"min.cleanable.dirty.ratio"}),
        (STATES, 1, 1, {"max.compaction.lag.ms": "9223372036854775807"}, {"max.compaction.lag.ms"}),
    ],
)
def test_only_what_hurts_is_a_difference(topic, partitions, replication, changed, faults):
    need = plan(topic)
    found = TopicState(partitions, replication, need.settings | changed)
    assert {one.setting for one in differences(need, found)} == faults


def test_three_brokers_want_two_in_sync():
    need = plan(READINGS, replication=3)
    found = TopicState(4, 1, need.settings | {"min.insync.replicas": "1"})
    assert {one.setting for one in differences(need, found)} == {"replication", "min.insync.replicas"}
    assert need.settings["min.insync.replicas"] == "2"


def test_a_missing_topic_is_one_difference():
    [difference] = differences(plan(READINGS), None)
    assert (difference.setting, difference.actual, difference.remedy) == ("topic", "missing", "cityair topics create")


def test_a_difference_has_the_names_that_scripts_know():
    [difference] = differences(plan(READINGS), None)
    told = msgspec.json.decode(msgspec.json.encode(difference))
    assert list(told) == ["topic", "setting", "found", "wanted", "why", "cure"]


def test_a_report_with_a_difference_ends_with_status_3():
    report = PlanReport("kafka:9092", 1, [plan(READINGS)])
    report.require()
    report.differences = differences(plan(READINGS), None)
    with pytest.raises(ConfigurationError, match="1 of 1 topics at kafka:9092 are not as needed"):
        report.require()


def test_more_copies_than_brokers_are_refused():
    with pytest.raises(ConfigurationError, match="--replication 4 needs 4 brokers, 3 answer"):
        replication_factor(4, brokers=3)
    assert replication_factor(2, brokers=3) == 2
    assert replication_factor(None, brokers=1) == 1
    assert replication_factor(None, brokers=5) == 3
