"""``cityair run``: play an input through a dataflow into a lake."""

import contextlib
import gc
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows import air, settings
from flows.broker.read_back import read_messages
from flows.decode.decoder import Decoder
from flows.outputs.events import LIGHT_TOPIC
from flows.outputs.lake_rows import LakeBatch
from flows.sources.files import source as files
from flows.sources.kafka.records import RecordDecoder
from flows.sources.kafka.side_input import SideInputDecoder, SideInputSource
from flows.sources.kafka.source import KafkaInput, KafkaSource
from schemas.city import City
from schemas.durations import seconds
from schemas.errors import DataQualityError, UsageError
from schemas.light import LightMessage, LightState
from schemas.slots import SECOND_US
from schemas.topics import dead_letter_topic
from sinks import recovery_store as store
from sinks.kafka.sink import TopicSink
from sinks.lake.sink import HOME, LakeSink, exclusive
from sinks.ndjson import NdjsonSink

KNOWN = (air.FLOW,)
KAFKA = "kafka"
SHOWN_EVERY = 0.2
"""Seconds between two looks at the progress."""

EXAMPLES = """
Examples:

  cityair run air --input readings.ndjson --lake lake

  cityair run air --city seoul.toml --input readings_2017.tsv.gz --map seoul --lake lake

  zcat yesterday.ndjson.gz | cityair run air --input - --output out --lake lake --recovery store

  CITYAIR_KAFKA=broker:9092 cityair run air --input kafka --output kafka --lake lake
"""


def run(
    flow: Annotated[list[str] | None, typer.Argument(help="Which flows: air.", show_default="air")] = None,
    city: Annotated[
        Path | None, typer.Option(envvar="CITYAIR_CITY", help="City file.", show_default="the shipped Gimhae")
    ] = None,
    input: Annotated[
        str,
        typer.Option(
            "--input",
            envvar="CITYAIR_INPUT",
            help="NDJSON, Parquet, CSV or TSV file, a folder of them, - for standard input, or kafka.",
        ),
    ] = "",
    lake: Annotated[Path | None, typer.Option(envvar="CITYAIR_LAKE", help="Folder of the Delta tables.")] = None,
    output: Annotated[
        str | None, typer.Option(envvar="CITYAIR_OUTPUT", help="Folder for one NDJSON file a topic, or kafka.")
    ] = None,
    recovery: Annotated[
        Path | None,
        typer.Option(envvar="CITYAIR_RECOVERY", help="Folder of the recovery store.", show_default="inside the lake"),
    ] = None,
    map: Annotated[
        str | None,
        typer.Option(
            "--map", envvar="CITYAIR_MAP", help="Column map for CSV and TSV: a TOML file, or a shipped one's name."
        ),
    ] = None,
    stop_at_end: Annotated[
        bool, typer.Option("--stop-at-end", help="Stop where the topic's partitions end now; files always do.")
    ] = False,
    accept_gaps: Annotated[
        bool, typer.Option("--accept-gaps", help="Go on where the broker deleted messages before they were read.")
    ] = False,
    max_rejects: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 6 if a larger share is refused.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of the input as JSON.")] = False,
) -> None:
    """Play an input through a dataflow into a lake; a second start goes on where the first stopped."""
    for name in flow or KNOWN:
        if name not in KNOWN:
            raise UsageError(f"no flow named {name!r}; known: {', '.join(KNOWN)}")
    if not input:
        raise UsageError("no input; give --input PATH, or - for standard input")
    if lake is None:
        raise UsageError("no lake; give --lake DIR, a folder that is made if it is not there")
    tally = Tally(shown=sys.stderr.isatty())
    began = time.monotonic()
    if map and input == KAFKA:
        raise UsageError("--map is for CSV and TSV files; a topic holds JSON")
    wanted = Wanted(input, map, output, stop_at_end=stop_at_end, accept_gaps=accept_gaps)
    stopped = play(settings.load_city(city), wanted, lake, recovery or lake / HOME / "recovery", tally)
    tally.report(time.monotonic() - began, as_json=as_json, stopped=stopped)
    if stopped:
        raise KeyboardInterrupt
    share = 1 - tally.became["stored"] / max(1, tally.became.total())
    if max_rejects is not None and share > max_rejects:
        raise DataQualityError(
            f"{share:.2%} of {tally.became.total():,} readings were refused, more than {max_rejects:.2%}"
        )


run.__doc__ = f"{run.__doc__}\n{EXAMPLES}".replace("\n  ", "\n\n  ")


class Tally:
    """Counts what lands, and shows it while it goes on."""

    def __init__(self, *, shown: bool = False) -> None:
        self.became: Counter[str] = Counter()
        self.newest = ""
        self._status = _status() if shown else None
        self._looked = 0.0
        if self._status:
            self._status.start()

    def land(self, landing: LakeBatch) -> None:
        """Count one item."""
        for (partition, what), count in landing.dispositions.items():
            self.became[what] += count
            self.newest = partition.topic
        if self._status and time.monotonic() - self._looked > SHOWN_EVERY:
            self._looked = time.monotonic()
            self._status.update(f"{self.became.total():,} readings, {self.newest}")

    def report(self, seconds: float, *, as_json: bool, stopped: bool) -> None:
        """Say what became of the input: JSON on stdout, else a line on stderr."""
        if self._status:
            self._status.stop()
        names = ("stored", "rejected", "duplicate", "too_late")
        counts = {name: self.became[name] for name in names}
        if as_json:
            print(
                json.dumps(
                    {"received": self.became.total(), **counts, "seconds": round(seconds, 3), "stopped": stopped}
                )
            )
            return
        became = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names)
        print(f"{self.became.total():,} readings in {seconds:.1f} s: {became}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where a run begins and ends, as the command line says."""

    input: str
    map: str | None = None
    output: str | None = None
    _: KW_ONLY
    stop_at_end: bool = False
    accept_gaps: bool = False


def play(city: City, wanted: Wanted, lake: Path, recovery: Path, tally: Tally) -> bool:
    """Run the air flow; true if a signal stopped it.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: input, lake and recovery store do not fit together, or are in use.
        BytewaxRuntimeError: a step failed; its cause says why.
    """
    stop = _StopFlag()
    with contextlib.ExitStack() as held:
        held.enter_context(exclusive(lake, recovery, air.FLOW))
        source = open_input(city, wanted, stop.is_set)
        identity = store.open_recovery(recovery / air.FLOW)
        sink = LakeSink(lake, air.FLOW, city, tally.land)
        live = wanted.input == KAFKA and not wanted.stop_at_end
        edges = air.Edges(source, sink, dead_letters=wanted.input == wanted.output == KAFKA, live=live)
        if wanted.input == KAFKA and city.lights:
            group = f"cityair-{air.FLOW}"
            edges.said = read_messages(air.WORDS, LightMessage)
            decoder = SideInputDecoder(LightMessage, air.light_check(city))
            edges.words = SideInputSource(
                "words", air.WORDS, decoder, group=group, bounded=wanted.stop_at_end, stop=stop.is_set
            )
        if wanted.output == KAFKA:
            edges.told = read_messages(LIGHT_TOPIC, LightState)
            letters = [dead_letter_topic(topic) for topic in (*air.INPUT, air.WORDS)] if edges.dead_letters else []
            edges.topics = TopicSink([*air.TOPICS, *letters], recovery / air.FLOW, stop.is_set)
        elif wanted.output:
            edges.topics = NdjsonSink(Path(wanted.output), air.TOPICS, identity)
        held.enter_context(stop.on_signals())
        gc.freeze()  # what imports made stays; to walk it again and again would make slots wait
        try:
            cli_main(
                air.build(city, edges),
                epoch_interval=settings.epoch(),
                recovery_config=RecoveryConfig(recovery / air.FLOW),
            )
            sink.finish()
            source.finish()
        except BaseException:
            sink.abandon()
            raise
    return stop.is_set()


def open_input(city: City, wanted: Wanted, stop: Callable[[], bool]) -> files.FileSource | KafkaSource:
    """Open what ``--input`` names.

    Raises:
        ConfigurationError: it cannot be read, or does not fit.
    """
    decoder = Decoder(city)
    if wanted.input != KAFKA:
        return files.open_input(wanted.input, wanted.map, decoder, stop, _now)
    reads = KafkaInput(air.INPUT, f"cityair-{air.FLOW}", bounded=wanted.stop_at_end, accept_gaps=wanted.accept_gaps)
    return KafkaSource(reads, RecordDecoder(decoder, seconds(city.late.future) * SECOND_US), stop=stop, now=_now)


def _status() -> Any:
    """Make a line at the foot of the terminal; without one its import is spared."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True).status("starting")


class _StopFlag:
    """Set by SIGTERM and SIGINT: the source then ends, the engine drains and keeps its place."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
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


def _now() -> int:
    return time.time_ns() // 1000
