"""The air dataflow: readings in, judged, kept on the grid of their zone, averaged, and landed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows.decode.batch import SideBatch, SourceBatch
from flows.engine.steps import Known, by_zone, judge, landings, messages, receipts, to_every_zone
from flows.outputs.events import ALERT_TOPIC, LIGHT_TOPIC, ROLLING_TOPIC, Events, Message, letters
from flows.outputs.lake_rows import DeferredRows, Rows
from schemas.city import City
from schemas.light import LightMessage, LightState

FLOW = "air"
INPUT = ["env.air.reading.v1"]
WORDS = "env.light.message.v1"
TOPICS = [ROLLING_TOPIC, LIGHT_TOPIC, ALERT_TOPIC]


@dataclass(slots=True)
class Edges:
    """Where the dataflow begins and ends.

    Attributes:
        source: emits ``(name, SourceBatch)``.
        words: emits what people have lights say.
        lake: takes ``("lake", DeferredRows)``.
        topics: takes ``(topic, messages)``; none where no topics are wanted.
        dead_letters: topics take what was refused too.
        live: the input has no end, so that its silence says something.
        told: what the topic of lights says they were told.
        said: what people had lights say before the start.
    """

    source: Source[tuple[str, SourceBatch]]
    lake: Sink[tuple[str, DeferredRows]]
    words: Source[SideBatch[LightMessage]] | None = None
    topics: Sink[tuple[str, list[Message]]] | None = None
    dead_letters: bool = False
    live: bool = False
    told: Sequence[LightState] = ()
    said: Sequence[LightMessage] = ()


def light_check(city: City) -> Callable[[LightMessage], str]:
    """Check of operators' messages: says what is wrong with one for a light that the city file does not have."""
    lights = {light.id for light in city.lights}

    def refusal(message: LightMessage) -> str:
        known = message.light_id in lights
        return "" if known else f"{message.light_id[:64]!r} is no light of the city file - at `$.light_id`"

    return refusal


def build(city: City, edges: Edges) -> Dataflow:
    """Join the steps. Their names label what the recovery store keeps: never rename one that was deployed."""
    rows = Rows(city)
    flow = Dataflow(FLOW)
    words = op.input("words", flow, edges.words) if edges.words is not None else None
    arrivals = op.map("arrivals", op.input("input", flow, edges.source), lambda item: item[1])
    zones: Any = by_zone("by_zone", arrivals, city)
    refused: list[Any] = [arrivals]
    if words is not None:
        zones = op.merge("said_or_measured", zones, to_every_zone("words_by_zone", words, city))
        refused.append(words)
    judged = judge("grid", zones, city, Known(edges.live, edges.told, edges.said))
    if edges.topics is not None:  # before the lake, because somebody waits for messages
        outgoing = messages("messages", judged, Events(city, FLOW), dead_letters=edges.dead_letters)
        if edges.dead_letters:
            everything = op.merge("all_input", *refused)
            dead: Any = op.flat_map("dead_letters", everything, lambda item: letters(item.rejects, item.parts))
            outgoing = op.merge("all_outgoing", outgoing, dead)
        op.output("topics", outgoing, edges.topics)
    landed = op.merge("lake_rows", receipts("receipts", arrivals, rows), landings("landings", judged, rows))
    op.output("lake", op.map("to_lake", landed, lambda promise: ("lake", promise)), edges.lake)
    return flow
