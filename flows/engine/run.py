"""The runner: a flow from an input to a lake and to topics, under locks, until its end or a signal."""

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows import settings
from flows.broker.read_back import read_messages
from flows.engine.dataflow import Edges, build
from flows.engine.flow import Flow
from flows.engine.observe import RunObserver
from flows.sources.files.source import FileSource, open_input
from flows.sources.kafka.records import RecordDecoder
from flows.sources.kafka.side_input import SideInputDecoder, SideInputSource
from flows.sources.kafka.source import KafkaInput, KafkaSource
from flows.sources.tables.column_map import load_map
from schemas.city import City
from schemas.durations import seconds
from schemas.slots import SECOND_US
from schemas.topics import dead_letter_topic
from sinks import recovery_store
from sinks.kafka.sink import TopicSink
from sinks.lake.sink import LakeSink
from sinks.lake.tables import exclusive
from sinks.ndjson import NdjsonSink

KAFKA = "kafka"
"""In place of a path: the input, or the output, is topics."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run begins and ends, as the command line says.

    Attributes:
        input: a file, a folder, "-" for standard input, or "kafka".
        map: a column map's path, or the name of one that ships.
        output: a folder for one NDJSON file a topic, or "kafka"; none where no topics are wanted.
        stop_at_end: stop where the topic's partitions end now; files always do.
        accept_gaps: go on where the broker deleted messages before they were read.
    """

    input: str
    map: str | None = None
    output: str | None = None
    _: KW_ONLY
    stop_at_end: bool = False
    accept_gaps: bool = False


def run(flow: Flow, city: City, options: RunOptions, lake: Path, recovery: Path, observer: RunObserver) -> bool:
    """Run a flow; true if a signal stopped it.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: input, lake and recovery store do not fit together, or are in use.
        BytewaxRuntimeError: a step failed; its cause says why.
    """
    stop, began = StopFlag(), time.monotonic()
    city = with_map(flow, city, options)
    with contextlib.ExitStack() as held:
        held.callback(observer.close)
        held.enter_context(observer.logging())
        held.enter_context(exclusive(lake, recovery, flow.name))
        source = open_source(flow, city, options, stop.is_set)
        identity = recovery_store.open_recovery(recovery / flow.name)
        sink = LakeSink(lake, flow.name, city, observer.landed)
        edges = Edges(source, sink)
        _add_topics(edges, flow, city, options, recovery / flow.name, identity, stop.is_set)
        held.enter_context(stop.on_signals())
        gc.freeze()  # what imports made stays; to walk it again and again would make slots wait
        try:
            cli_main(
                build(flow, city, edges),
                epoch_interval=settings.epoch(),
                recovery_config=RecoveryConfig(recovery / flow.name),
            )
            sink.finish()
            source.finish()
        except BaseException:
            sink.abandon()
            raise
    observer.ended(time.monotonic() - began, stopped=stop.is_set())
    return stop.is_set()


def _add_topics(
    edges: Edges,
    flow: Flow,
    city: City,
    options: RunOptions,
    store: Path,
    identity: str,
    stop: Callable[[], bool],
) -> None:
    """Add what reads and writes topics beside the input."""
    from_kafka, to_kafka = options.input == KAFKA, options.output == KAFKA
    side = flow.side_input if from_kafka and city.lights else None
    edges.live = from_kafka and not options.stop_at_end
    edges.dead_letters = from_kafka and to_kafka
    if side is not None:
        edges.side_start = read_messages(side.topic, msgspec.json.Decoder(side.contract).decode)
        refuse = partial(side.refuse, city)
        decoder = SideInputDecoder(side.contract, refuse)
        edges.side = SideInputSource(
            side.name, side.topic, decoder, group=group_of(flow), bounded=options.stop_at_end, stop=stop
        )
    if to_kafka:
        if flow.published is not None:
            parse, at = flow.published.parse, datetime.now(UTC)
            edges.published = read_messages(flow.published.topic, lambda value: parse(value, at))
        booked = [*flow.inputs, *([flow.side_input.topic] if flow.side_input else [])]
        dead = [dead_letter_topic(topic) for topic in booked] if edges.dead_letters else []
        edges.topics = TopicSink([*flow.outputs, *dead], store, stop)
    elif options.output:
        edges.topics = NdjsonSink(Path(options.output), list(flow.outputs), identity, flow.name)


def with_map(flow: Flow, city: City, options: RunOptions) -> City:
    """Return the city with the limits of a run's column map, where it names any: it knows the source's instruments.

    Raises:
        ConfigurationError: the map cannot be read, or does not fit.
    """
    if options.map is None:
        return city
    return city.with_parameters(load_map(options.map, flow.measured).parameters)


def group_of(flow: Flow) -> str:
    """Name the consumer group that shows a flow's lag."""
    return f"cityair-{flow.name}"


def open_source(flow: Flow, city: City, options: RunOptions, stop: Callable[[], bool]) -> FileSource | KafkaSource:
    """Open what ``--input`` names.

    Raises:
        ConfigurationError: it cannot be read, or does not fit.
    """
    if options.input != KAFKA:
        return open_input(options.input, options.map, flow.decoder(city, shared_input=True), stop, now_us)
    reads = KafkaInput(list(flow.inputs), group_of(flow), bounded=options.stop_at_end, accept_gaps=options.accept_gaps)
    records = RecordDecoder(flow.decoder(city), seconds(city.late.future) * SECOND_US)
    return KafkaSource(reads, records, stop=stop, now=now_us)


class StopFlag:
    """Set by SIGTERM and SIGINT: the source then ends, the engine drains and keeps its place; twice, at once."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether a signal has come."""
        return self._set

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to signals within this context."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, *_: Any) -> None:
        if self._set:
            raise KeyboardInterrupt
        self._set = True


def now_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000
