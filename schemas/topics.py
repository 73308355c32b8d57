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

PARTITIONS = 4
"""Partitions of a topic that is spread: what two cores read at once, with room to grow."""
DAY = 86_400
STANDSTILL = 14 * DAY
"""So long (seconds) a flow may stand still and still find its input: two weeks of holidays."""
MENDING = 90 * DAY
"""So long (seconds) dead letters wait for their cause to be mended."""
LARGEST_MESSAGE = 1_048_588
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


def dead_letter_topic(topic: str) -> str:
    """Name the topic that takes the refused messages of an input topic; key and bytes stay as they came.

    >>> dead_letter_topic("env.air.reading.v1")
    'env.air.reading.v1.dlq'
    """
    return f"{topic}.dlq"


class Wanted(Struct, frozen=True):
    """How a topic must be kept: ``settings`` are the broker's own, by their names."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


def wanted(horizon: int, partitions: int = PARTITIONS, replication: int = 1) -> list[Wanted]:
    """List the topics that a city needs, dead letters among them.

    Args:
        horizon: seconds that a reading may be late.
        partitions: of the topics that are spread.
        replication: copies of each; from three on, a write counts once two have it.

    >>> [topic.name for topic in wanted(86_400)][:2]
    ['env.air.reading.v1', 'env.air.reading.v1.dlq']
    """
    copies = {"min.insync.replicas": "2" if replication >= 3 else "1"}
    topics = []
    for name, topic in TOPICS.items():
        settings = _compacted() if topic.compacted else _kept(STANDSTILL + 2 * horizon)
        topics.append(Wanted(name, partitions if topic.spread else 1, replication, settings | copies))
        if topic.direction == "in":
            # A dead letter is its message and headers that say why: it must fit where its message did.
            letters = _kept(MENDING) | {"max.message.bytes": str(2 * LARGEST_MESSAGE)}
            topics.append(Wanted(dead_letter_topic(name), 1, replication, letters | copies))
    return topics


def _kept(age: int) -> dict[str, str]:
    """Delete after ``age`` seconds in the broker, not after the age that a producer wrote: a replay is old."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(age * 1000),
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(LARGEST_MESSAGE),
    }


def _compacted() -> dict[str, str]:
    """Keep the newest of each key, and little else: whoever reads the topic whole reads about two hours of it.

    The newest segment is never compacted, so it must end soon; by default it would after a week.
    """
    return {
        "cleanup.policy": "compact",
        "segment.ms": "3600000",
        "max.compaction.lag.ms": "3600000",
        "min.cleanable.dirty.ratio": "0.1",
        "max.message.bytes": str(LARGEST_MESSAGE),
    }
