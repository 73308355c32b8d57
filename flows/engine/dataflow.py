"""The dataflow of a flow: its steps, joined from a source to the sinks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink
from msgspec import Struct

from flows.decode.batch import SideBatch, SourceBatch
from flows.engine.flow import Flow
from flows.engine.steps import ZoneContext, by_zone, judge, messages, source_rows, to_every_zone, zone_rows
from flows.outputs.events import Events, Message, dead_letters
from flows.outputs.lake_rows import DeferredRows, LakeRows
from schemas.city import City


@dataclass(slots=True)
class Edges:
    """Where the dataflow begins and ends.

    Attributes:
        source: emits ``(name, SourceBatch)``.
        lake: takes ``("lake", DeferredRows)``.
        side: emits what the side input brings.
        topics: takes ``(topic, messages)``; none where no topics are wanted.
        dead_letters: topics take what was refused too.
        live: the input has no end, so that its silence says something.
        published: what the flow's compacted topic holds at the start.
        side_start: what the side input holds at the start.
    """

    source: Source[tuple[str, SourceBatch]]
    lake: Sink[tuple[str, DeferredRows]]
    side: Source[SideBatch[Any]] | None = None
    topics: Sink[tuple[str, list[Message]]] | None = None
    dead_letters: bool = False
    live: bool = False
    published: Sequence[Struct] = ()
    side_start: Sequence[Struct] = ()


def build(flow: Flow, city: City, edges: Edges) -> Dataflow:
    """Join the steps. Their names label what the recovery store keeps: never rename one that was deployed."""
    instruments = flow.instruments(city)
    rows = LakeRows(flow.name, flow.measured, instruments)
    dataflow = Dataflow(flow.name)
    side = op.input("words", dataflow, edges.side) if edges.side is not None else None
    batches = op.map("arrivals", op.input("input", dataflow, edges.source), lambda item: item[1])
    zones: Any = by_zone("by_zone", batches, flow, city, live=edges.live)
    refused: list[Any] = [batches]
    if side is not None:
        zones = op.merge("said_or_measured", zones, to_every_zone("words_by_zone", side, flow, city))
        refused.append(side)
    context = ZoneContext(flow, city, edges.live, edges.published, edges.side_start)
    decisions = judge("grid", zones, context)
    if edges.topics is not None:  # before the lake, because somebody waits for messages
        events = Events(city, flow.name, [instrument.id for instrument in instruments])
        outgoing = messages("messages", decisions, events, rejects=edges.dead_letters)
        if edges.dead_letters:
            everything = op.merge("all_input", *refused)
            dead: Any = op.flat_map("dead_letters", everything, lambda item: dead_letters(item.rejects, item.parts))
            outgoing = op.merge("all_outgoing", outgoing, dead)
        op.output("topics", outgoing, edges.topics)
    landed = op.merge("lake_rows", source_rows("receipts", batches, rows), zone_rows("landings", decisions, rows))
    op.output("lake", op.map("to_lake", landed, lambda deferred: ("lake", deferred)), edges.lake)
    return dataflow
