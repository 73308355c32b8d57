"""What an analysis is: the one place where something new that is computed of the air plugs in.

An analysis is asked as steps close (``close``), again where cells that it saw have changed (``measure`` before the
change, ``revise`` after it), and once a local day that lies past the horizon (``learn``). It answers with ``Results``:
rows of lake tables, messages, and faults. Everything it says is a function of the cells alone, and of what it learnt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from flows.arrays import F64, I32, I64, Whole
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from flows.state.records import Records
from schemas.measured import Measured


class Event(NamedTuple):
    """A message before it is encoded.

    Attributes:
        key: of the message.
        id: names it among all of its topic; a replay gives the same.
        at: the time it speaks of, RFC 3339.
        data: what is encoded as JSON.
        sequence: on a compacted topic, rises with each message of a key.
        order: by which messages of a topic leave together: number of the firing, end of the step, and what tells
            messages of a step apart.
    """

    key: str
    id: str
    at: str
    data: object
    sequence: int | None = None
    order: tuple[int, ...] = ()


class Names(NamedTuple):
    """Texts by their code, an index among ``names``, as a column of a lake table; null where ``missing``."""

    names: Sequence[str]
    code: I32
    missing: Any = None


class Nullable(NamedTuple):
    """Numbers as a column of a lake table, null where ``missing``."""

    values: Any
    missing: Any


Column = Any
"""A column of n rows: ``Names``, ``Nullable``, a numpy array of the table's type, or a sequence of plain values."""


class Rows(Protocol):
    """Rows of one lake table, built when they are asked for."""

    @property
    def table(self) -> str:
        """Name of the table."""

    @property
    def size(self) -> int:
        """About how many rows there are."""

    def columns(self) -> Mapping[str, Column]:
        """Return the table's columns by name.

        ``instrument``, columns of the zone's grid, may stand for the table's ``zone`` and the instrument's id.
        Times are microseconds since 1970. No columns: there is no row.
        """


class Messages(Protocol):
    """Messages of one topic, built when they are asked for."""

    @property
    def topic(self) -> str:
        """Contract name of the topic."""

    def events(self, instruments: Sequence[str]) -> Iterable[Event]:
        """Yield the messages in the air's order; ``instruments`` are the ids of the grid's columns."""


class Fault(NamedTuple):
    """An instrument's value that is not to be trusted from a step on, or can be again."""

    since: int
    """End of the step from which on it holds: decisions of later slots see it."""
    column: int
    parameter: int
    faulty: bool
    firing: int = 0
    """Number of the firing in whose wake it was found; the evaluation fills it in."""


@dataclass(slots=True)
class Results:
    """What an analysis says that was not said before.

    Attributes:
        rows: of lake tables.
        messages: of topics.
        faults: in the air's order.
        reconsider: columns whose cells before the ones just closed look different now: they are evaluated again.
    """

    rows: list[Rows] = field(default_factory=list)
    messages: list[Messages] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    reconsider: Whole = field(default_factory=lambda: np.empty(0, np.int32))

    def add(self, more: "Results") -> None:
        """Take over what another says."""
        self.rows += more.rows
        self.messages += more.messages
        self.faults += more.faults


class ZoneView(NamedTuple):
    """What an analysis sees of its zone: the grid with all cadences, where instruments stand, and records.

    A value of another cadence's slot T may be used at a step that ends at S only if T lies its straggler timeout
    before S: then that slot has fired for certain, and nothing depends on what arrived first.
    """

    zone: str
    measured: Measured
    instruments: Sequence[str]
    """Ids, in the order of the grid's columns."""
    places: F64
    """Latitude and longitude of each, degrees, shape (S, 2)."""
    grid: Grid
    cadences: Sequence[Cadence]
    records: Records


class Span(NamedTuple):
    """Cells that change: of late readings, or because newer cells shed light on them."""

    cadence: Cadence
    columns: Whole
    """Grid columns concerned, rising."""
    first: int
    """Oldest slot that changes; all from it to ``cadence.evaluated_until`` may have to be evaluated again."""
    until: int
    """Newest slot that may be looked at."""
    revision: int
    """Of the rows of windows and cells that differ."""
    firing: int
    """Number of the firing in whose wake they change."""
    records: bool = False
    """Records changed, and no cell: what rests on cells alone stays."""


class LocalDay(NamedTuple):
    """A local day, all of whose slots lie past the horizon: (first, last]."""

    number: int
    """Days since 1970."""
    first: int
    last: int
    boundary: int
    """Newest slot that is evaluated without what the day teaches; later ones know it, whenever they are evaluated."""


class Analysis:
    """Something computed as slots close, and again where late data changes it.

    Attributes:
        name: of its pages in the snapshot; never changed once deployed.
        tables: lake tables it writes.
        topics: out-topics it writes.
        lookback: slots of the grid before the first that is evaluated which it reads.
        history: slots that a rebuild replays until its state is as if it had never stopped.
        learns: whether ``learn`` wants to be called.
    """

    name: str = ""
    tables: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    lookback: int = 0
    history: int = 0
    learns: bool = False

    def attach(self, view: ZoneView) -> None:
        """Prepare for a zone; called once, before anything else."""

    def close(self, view: ZoneView, cadence: Cadence, first: int, last: int, revision: int) -> Results:
        """Evaluate the slots in (first, last] of a cadence for the first time.

        Args:
            view: of the zone.
            cadence: whose slots close.
            first: newest slot that was evaluated before.
            last: newest slot to evaluate; both are ends of steps.
            revision: of rows that had been said before and differ now, such as of an object that grows.
        """
        raise NotImplementedError

    def measure(self, view: ZoneView, span: Span) -> Any:
        """Return what stands before cells change, for ``revise`` to compare with."""
        return None

    def revise(self, view: ZoneView, span: Span, before: Any) -> Results:
        """Evaluate again what changed cells touch, and say what differs; ``before`` is what ``measure`` returned."""
        return Results()

    def learn(self, view: ZoneView, day: LocalDay) -> Results:
        """Learn from a day that no late reading can change any more."""
        return Results()

    def snapshot(self) -> dict[str, bytes]:
        """Return its state as pages; a page that did not change is the same object as before."""
        return {}

    def restore(self, version: int, pages: Mapping[str, bytes], columns: Mapping[str, int]) -> None:
        """Go on from the pages of a snapshot.

        Args:
            version: of the snapshot.
            pages: by name, none where the snapshot had none of this analysis.
            columns: of the zone's grid now, by instrument id.
        """

    @staticmethod
    def steps(cadence: Cadence, first: int, last: int) -> I64:
        """Ends of the cadence's steps in (first, last]."""
        return np.arange(cadence.floor(first) + cadence.step, cadence.floor(last) + 1, cadence.step, dtype=np.int64)
