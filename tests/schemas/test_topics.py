"""Topics of the wire and how the broker must keep them."""

from schemas.topics import TOPICS, dead_letter_topic, topic_specs


def spec(name, replication=1):
    return next(topic for topic in topic_specs(86_400, replication=replication) if topic.name == name)


def test_a_dead_letter_finds_room_for_its_message_and_its_reasons():
    for name, topic in TOPICS.items():
        if topic.direction == "in":
            room = {n: int(spec(n).settings["max.message.bytes"]) for n in (name, dead_letter_topic(name))}
            assert room[dead_letter_topic(name)] > room[name] > 1 << 20


def test_a_long_horizon_keeps_input_longer():
    ages = [int(topic_specs(days * 86_400)[0].settings["retention.ms"]) / 86_400_000 for days in (1, 7)]
    assert ages == [16, 28]


def test_every_topic_is_specified_once_and_those_that_come_in_with_dead_letters():
    names = [topic.name for topic in topic_specs(86_400)]
    inputs = [name for name, topic in TOPICS.items() if topic.direction == "in"]
    assert sorted(names) == sorted([*TOPICS, *map(dead_letter_topic, inputs)])


def test_what_much_comes_on_is_spread_and_three_copies_need_two_in_sync():
    assert spec("env.air.reading.v1").partitions == 4
    assert spec("env.light.state.v1").partitions == 1
    assert spec("env.air.reading.v1", replication=3).settings["min.insync.replicas"] == "2"
