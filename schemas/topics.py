"""Every topic on the wire: its key, its contract, and how the broker must keep it."""

from typing import Literal, NamedTuple

from msgspec import Struct

from schemas.alert import Alert
from schemas.anomaly import Anomaly
from schemas.episode import OdorEpisode
from schemas.light import LightMessage, LightState
from schemas.odor import OdorReading, OdorReport
from schemas.patrol import PatrolAck, PatrolTask
from schemas.reading import AirReading
from schemas.rolling import Rolling
from schemas.slots import DAY_S

PARTITIONS = 4
"""Partitions of a topic that is spread: what two cores read at once, with room to grow."""
MAX_STANDSTILL_S = 14 * DAY_S
"""Seconds that a flow may stand still and still find its input: two weeks of holidays."""
DEAD_LETTER_AGE_S = 90 * DAY_S
"""Seconds that dead letters wait for their cause to be mended."""
MAX_BATCH_BYTES = 1_048_588
"""Bytes of a batch on the wire, Kafka's own default: a message of 1 MiB with its head."""


class Topic(NamedTuple):
    """A topic: the field that is its messages' key, what a message is, which way it goes."""

    key: str
    contract: type[Struct]
    direction: Literal["in", "out"]
    compacted: bool = False
    """The broker keeps the newest message of each key for ever."""
    spread: bool = False
    """Enough comes for several partitions; the others keep one, and with it one order."""


TOPICS: dict[str, Topic] = {
    "env.air.reading.v1": Topic("station_id", AirReading, "in", spread=True),
    "env.odor.reading.v1": Topic("sensor_id", OdorReading, "in", spread=True),
    "env.odor.report.v1": Topic("report_id", OdorReport, "in"),
    "env.light.message.v1": Topic("light_id", LightMessage, "in"),
    "env.patrol.ack.v1": Topic("task_id", PatrolAck, "in"),
    "env.air.rolling.v1": Topic("station_id", Rolling, "out", spread=True),
    "env.light.state.v1": Topic("light_id", LightState, "out", compacted=True),
    "env.air.alert.v1": Topic("zone", Alert, "out"),
    "env.air.anomaly.v1": Topic("station_id", Anomaly, "out"),
    "env.odor.episode.v1": Topic("complex", OdorEpisode, "out"),
    "env.patrol.task.v1": Topic("task_id", PatrolTask, "out"),
}


KIND_FIELDS = ("station_id", "sensor_id", "report_id", "task_id")
"""Fields that tell the kind of a message in an input of several flows: each flow takes its own, and passes over those
of the others."""


def is_compacted(topic: str) -> bool:
    """Whether the broker keeps only the newest message of each key of a topic.

    >>> is_compacted("env.light.state.v1"), is_compacted("env.light.message.v1.dlq")
    (True, False)
    """
    return topic in TOPICS and TOPICS[topic].compacted


def dead_letter_topic(topic: str) -> str:
    """Name of the topic that takes the refused messages of an input topic, with their key and bytes as they came.

    >>> dead_letter_topic("env.air.reading.v1")
    'env.air.reading.v1.dlq'
    """
    return f"{topic}.dlq"


class TopicSpec(Struct, frozen=True):
    """How the broker must keep a topic: ``settings`` are its own, by their names."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


def topic_specs(horizon: int, partitions: int = PARTITIONS, replication: int = 1) -> list[TopicSpec]:
    """Specify the topics that a city needs, dead letters among them.

    Args:
        horizon: seconds that a reading may be late.
        partitions: of the topics that are spread.
        replication: copies of each; from three on, a write counts once two have it.

    >>> [topic.name for topic in topic_specs(86_400)][:2]
    ['env.air.reading.v1', 'env.air.reading.v1.dlq']
    """
    copies = {"min.insync.replicas": "2" if replication >= 3 else "1"}
    specs = []
    for name, topic in TOPICS.items():
        settings = _compacted() if topic.compacted else _kept_for(MAX_STANDSTILL_S + 2 * horizon)
        if topic.direction == "in":
            # Strangers write here. The broker unpacks each batch, and measures what it holds and not what it weighs.
            settings |= {"compression.type": "uncompressed"}
        specs.append(TopicSpec(name, partitions if topic.spread else 1, replication, settings | copies))
        if topic.direction == "in":
            # A dead letter is its message and headers that say why: it must fit where its message did.
            settings = _kept_for(DEAD_LETTER_AGE_S) | {"max.message.bytes": str(2 * MAX_BATCH_BYTES)}
            specs.append(TopicSpec(dead_letter_topic(name), 1, replication, settings | copies))
    return specs


def _kept_for(age_s: int) -> dict[str, str]:
    """Settings of a topic whose messages are deleted at an age in seconds.

    It counts from their arrival, not from the time that their producer wrote: a replay is old.
    """
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(age_s * 1000),
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MAX_BATCH_BYTES),
    }


def _compacted() -> dict[str, str]:
    """Settings of a topic that keeps the newest message of each key: a reader of the whole reads about two hours of it.

    The newest segment is never compacted, so it must end soon; by default it would after a week.
    """
    return {
        "cleanup.policy": "compact",
        "segment.ms": "3600000",
        "max.compaction.lag.ms": "3600000",
        "min.cleanable.dirty.ratio": "0.1",
        "max.message.bytes": str(MAX_BATCH_BYTES),
    }
