"""Every topic on the wire: its key, its contract, and whether it is compacted."""

from typing import Literal, NamedTuple

from msgspec import Struct

from schemas.alert import Alert
from schemas.anomaly import Anomaly
from schemas.episode import OdorEpisode
from schemas.light import LightMessage, LightState
from schemas.patrol import PatrolAck, PatrolTask
from schemas.reading import AirReading, OdorReading, OdorReport
from schemas.rolling import Rolling


class Topic(NamedTuple):
    """A topic: the field that is its messages' key, what a message is, which way it goes."""

    key: str
    contract: type[Struct]
    direction: Literal["in", "out"]
    compacted: bool = False
    """The broker keeps the newest message of each key for ever."""


TOPICS: dict[str, Topic] = {
    "env.air.reading.v1": Topic("station_id", AirReading, "in"),
    "env.odor.reading.v1": Topic("sensor_id", OdorReading, "in"),
    "env.odor.report.v1": Topic("report_id", OdorReport, "in"),
    "env.light.message.v1": Topic("light_id", LightMessage, "in"),
    "env.patrol.ack.v1": Topic("task_id", PatrolAck, "in"),
    "env.air.rolling.v1": Topic("station_id", Rolling, "out"),
    "env.light.state.v1": Topic("light_id", LightState, "out", compacted=True),
    "env.air.alert.v1": Topic("zone", Alert, "out"),
    "env.air.anomaly.v1": Topic("station_id", Anomaly, "out"),
    "env.odor.episode.v1": Topic("complex", OdorEpisode, "out"),
    "env.patrol.task.v1": Topic("task_id", PatrolTask, "out"),
}


def dead_letters(topic: str) -> str:
    """Name the topic that takes the refused messages of an input topic; key and bytes stay as they came.

    >>> dead_letters("env.air.reading.v1")
    'env.air.reading.v1.dlq'
    """
    return f"{topic}.dlq"
