"""What a flow is: which records it takes, how its zones are made, and what it gives out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from flows.analyses.base import Analysis
from flows.decode.decoder import Decoder
from flows.signals.base import SignalBatch, Signals
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from flows.zone.plan import Lateness, ZonePlan, ZoneSettings
from flows.zone.zone import DEFAULT, Zone
from schemas.city import DEFAULT_SENTINELS, City, Parameter, WindowSettings
from schemas.durations import minutes
from schemas.measured import Instrument, Measured, Recorded
from schemas.topics import KIND_FIELDS


class SideInput(NamedTuple):
    """A topic of few messages that is read beside the input and not booked: texts for lights.

    Attributes:
        name: of its engine partition and step; never changed once deployed.
        topic: contract name.
        contract: of its messages.
        refuse: says why a message of the contract is refused; empty where it is not.
        apply: lets messages take effect in a zone.
    """

    name: str
    topic: str
    contract: type[Struct]
    refuse: Callable[[City, Any], str]
    apply: Callable[[Zone, Sequence[Any]], None]


class Published(NamedTuple):
    """A compacted out-topic that a flow reads whole at its start, because it is the truth of what was said.

    Attributes:
        topic: contract name.
        parse: reads a message, given the time of this machine; raises ValueError where it cannot.
        load: gives them to a zone, and returns what of them the lake lacks.
        reset: has a zone go on from the newest of each key, after a rebuild.
    """

    topic: str
    parse: Callable[[bytes, datetime], Struct]
    load: Callable[[Zone, Sequence[Any]], SignalBatch]
    reset: Callable[[Zone, Sequence[Any]], None]


@dataclass(frozen=True, slots=True)
class Flow:
    """A dataflow from its input to lake and topics, as far as it differs from others.

    Attributes:
        name: of the dataflow, and of the writer; never changed once deployed.
        measured: the kind of reading it takes.
        recorded: kinds of records it takes.
        outputs: out-topics it writes.
        instruments: of the city file, in the order of their indices.
        limits: of each gridded value.
        windows: how often windows land, and how long they are.
        analyses: makes the analyses of a zone, in the order of their evaluation.
        signals: makes the signals of a zone; none where the flow has none.
        side_input: read beside the input, with Kafka only.
        published: read at the start, with Kafka only.
    """

    name: str
    measured: Measured
    outputs: tuple[str, ...]
    instruments: Callable[[City], Sequence[Instrument]]
    limits: Callable[[City], Sequence[Parameter]]
    windows: Callable[[City], WindowSettings]
    analyses: Callable[[City], Sequence[Analysis]]
    recorded: tuple[Recorded, ...] = ()
    signals: Callable[[City, str, Grid, Sequence[Cadence]], Signals] | None = None
    side_input: SideInput | None = None
    published: Published | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Topics that are booked: of readings, and of each kind of record."""
        return (self.measured.topic, *(kind.topic for kind in self.recorded))

    def zones(self, city: City) -> list[str]:
        """Zones that have an instrument of this flow."""
        return sorted({instrument.zone for instrument in self.instruments(city)})

    def decoder(self, city: City, *, shared_input: bool = False) -> Decoder:
        """Make the decoder of what the flow takes.

        Args:
            city: for the instruments and their limits.
            shared_input: what is of another flow's kind is passed over; on a topic it is refused.
        """
        ids = [instrument.id for instrument in self.instruments(city)]
        sentinels = [limit.sentinels for limit in self.limits(city)]
        sentinels += [DEFAULT_SENTINELS] * len(self.measured.carried)
        return Decoder(self.measured, ids, sentinels, self.recorded, KIND_FIELDS if shared_input else ())

    def zone(self, city: City, name: str, settings: ZoneSettings = DEFAULT) -> Zone:
        """Make the state of a zone."""
        return Zone(self.plan(city, name), settings)

    def plan(self, city: City, name: str) -> ZonePlan:
        """Say what a zone is made of."""
        late, signals = city.late, self.signals
        return ZonePlan(
            name=name,
            timezone=ZoneInfo(city.city.timezone),
            measured=self.measured,
            recorded=self.recorded,
            instruments=self.instruments(city),
            limits=self.limits(city),
            windows=self.windows(city),
            lateness=Lateness(minutes(late.horizon), minutes(late.wait), late.waiting_room, late.snap),
            analyses=lambda: self.analyses(city),
            averages_second_values=city.averages_second_values,
            books_records=name == self.zones(city)[0],
            signals=None if signals is None else lambda grid, cadences: signals(city, name, grid, cadences),
        )
