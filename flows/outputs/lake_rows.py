"""Rows for the lake: what was decided, as Arrow batches of its tables, and receipts for its books."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from flows import arrays as arrow
from flows.analyses import indices
from flows.analyses.evaluate import Findings
from flows.analyses.windows import Means
from flows.decode.batch import InputPartition, OffsetRange, SourceBatch
from flows.kernels import rolling
from flows.kernels.bands import NO_GRADE, NONE
from flows.kernels.cells import SECONDS
from flows.signals.lights import Said
from flows.zone.result import Accepted, ZoneResult
from schemas.city import City
from schemas.measured import AIR
from schemas.quality import TEST_NAMES, Flag
from schemas.rejected import MAX_KEPT_BYTES, REASONS, Reject
from schemas.tables import NAME, TABLES, TIME

VALID = 0.75
"""Coverage from which a window is valid: three quarters, as regulators ask of hours and days."""
SLOT_US = SECONDS * 1_000_000
OWN_COLUMN = ("duplicate", "too_late")
"""Reasons that the ledger counts by themselves; the others are ``rejected``."""


@dataclass(slots=True)
class LakeBatch:
    """Rows of lake tables, and the accounting of the messages behind them.

    Attributes:
        received: when the newest of the messages reached the pipeline, microseconds since 1970 UTC.
        rows: table and batch.
        offsets: offsets read from each partition, counted at the source.
        dispositions: how many messages of a partition became what: stored, rejected, duplicate or too_late.
        waiting: zone and, by partition, how many of its readings are in the early buffer now.
    """

    received: int
    rows: list[tuple[str, pa.RecordBatch]] = field(default_factory=list)
    offsets: list[tuple[InputPartition, OffsetRange]] = field(default_factory=list)
    dispositions: Counter[tuple[InputPartition, str]] = field(default_factory=Counter)
    waiting: tuple[str, Counter[InputPartition]] | None = None


class DeferredRows(NamedTuple):
    """Lake rows not built yet.

    Building costs processor time that outgoing messages need first. So the sink builds them when the input is idle,
    when ``MAX_DEFERRED_ROWS`` is reached, or at the epoch's end.
    """

    build: Callable[[], LakeBatch]
    rows: int = 0
    """Estimated number of rows; bounds the memory of what is deferred."""
    idle: bool = False
    """The input brought nothing: there is time to build."""


class Rows:
    """Makes rows of one city's tables."""

    def __init__(self, city: City) -> None:
        self._stations = arrow.texts([s.id for s in city.stations])
        zones = sorted({s.zone for s in city.stations})
        self._zones = arrow.texts(zones)
        self._zone_of = np.array([zones.index(s.zone) for s in city.stations], np.int32)
        self._indices = indices.names()

    def arrived(self, arrivals: SourceBatch) -> LakeBatch:
        """Land what was refused before it reached a zone, and the receipts."""
        landing = LakeBatch(
            arrivals.received, offsets=[(arrivals.parts[taken.part], taken) for taken in arrivals.offsets]
        )
        self._rejects(arrivals.rejects, arrivals.parts, landing)
        return landing

    def refused(self, rejects: list[Reject], parts: Sequence[InputPartition], received: int) -> LakeBatch:
        """Land refusals alone."""
        landing = LakeBatch(received)
        self._rejects(rejects, parts, landing)
        return landing

    def outcome(
        self, zone: str, columns: NDArray[np.int32], outcome: ZoneResult, parts: Sequence[InputPartition], received: int
    ) -> LakeBatch:
        """Land what a zone decided; ``columns`` are the city's indices of the zone's stations."""
        landing = LakeBatch(received, waiting=(zone, Counter(parts[part] for part in outcome.waiting.tolist())))
        for stored in outcome.stored:
            self._stored(stored, parts, landing)
        self._rejects(outcome.rejects, parts, landing)
        landing.rows += [("flags", self._findings(found, columns)) for found in outcome.evaluated.findings]
        landing.rows += [
            ("rolling", self._means(means, columns)) for means in outcome.evaluated.means if means.ended.size
        ]
        landing.rows += [(found.table, self._indexed(found, columns)) for found in outcome.evaluated.indexed]
        landing.rows += told(outcome.said)
        return landing

    def _stored(self, stored: Accepted, parts: Sequence[InputPartition], landing: LakeBatch) -> None:
        readings = stored.readings
        if not len(readings):
            return
        for part, count in enumerate(np.bincount(readings.part).tolist()):
            if count:
                landing.dispositions[parts[part], "stored"] += count
        missing = np.isnan(readings.values)
        values = [arrow.numbers(readings.values[:, i], pa.float64(), missing[:, i]) for i in range(len(AIR.values))]
        flags = [arrow.numbers(stored.flags[:, p], pa.int8()) for p in range(len(AIR.gridded))]
        received = np.full(len(readings), landing.received)
        columns = [
            arrow.named(self._zones, self._zone_of[readings.station]),
            arrow.named(self._stations, readings.station),
            arrow.numbers(readings.observed, TIME),
            arrow.numbers(received, TIME),
            *values,
            *flags,
            *_origin(readings.part, readings.offset, parts),
        ]
        landing.rows.append(("air_readings", _batch("air_readings", columns)))

    def _rejects(self, rejects: list[Reject], parts: Sequence[InputPartition], landing: LakeBatch) -> None:
        if not rejects:
            return
        for reject in rejects:
            reason = reject.reason if reject.reason in OWN_COLUMN else "rejected"
            landing.dispositions[parts[reject.part], reason] += 1
        columns = [
            *_origin(np.array([r.part for r in rejects], np.int32), np.array([r.offset for r in rejects]), parts),
            arrow.numbers(np.full(len(rejects), landing.received), TIME),
            arrow.named(arrow.texts(REASONS), np.array([REASONS.index(r.reason) for r in rejects], np.int32)),
            arrow.texts([r.detail.encode("utf-8", "replace") for r in rejects]),
            arrow.texts([r.payload[:MAX_KEPT_BYTES] for r in rejects], pa.binary()),
        ]
        landing.rows.append(("rejects", _batch("rejects", columns)))

    def _means(self, means: Means, columns: NDArray[np.int32]) -> pa.RecordBatch:
        group, station = means.group, columns[means.station]
        covered = coverage(means)
        return _batch(
            "rolling",
            [
                arrow.named(self._zones, self._zone_of[station]),
                arrow.named(self._stations, station),
                arrow.named(arrow.texts(AIR.gridded), means.parameter),
                arrow.named(arrow.texts(group.names), means.window),
                arrow.numbers(means.ended * SLOT_US, TIME),
                arrow.numbers(rolling.mean(means.total, means.count), pa.float64()),
                arrow.numbers(means.count, pa.int32()),
                arrow.numbers(group.expected[means.window].astype(np.int32), pa.int32()),
                arrow.numbers(covered, pa.float64()),
                arrow.numbers(means.suspect, pa.int32()),
                arrow.flags(covered >= VALID),
                arrow.numbers(means.revision, pa.int32()),
            ],
        )

    def _indexed(self, found: indices.Rows, columns: NDArray[np.int32]) -> pa.RecordBatch:
        station = columns[found.station]
        made = {
            "zone": arrow.named(self._zones, self._zone_of[station]),
            "station_id": arrow.named(self._stations, station),
            "ended_at": arrow.numbers(found.ended * SLOT_US, TIME),
            "revision": arrow.numbers(found.revision, pa.int32()),
        }
        for column in TABLES[found.table].schema:
            if column.name not in made:
                made[column.name] = self._index_column(column, found.columns[column.name])
        return _batch(found.table, [made[column.name] for column in TABLES[found.table].schema])

    def _index_column(self, column: pa.Field, values: NDArray[Any]) -> pa.Array:
        """Make a column; what does not exist is NaN, ``NONE`` or, of grades, ``NO_GRADE``."""
        if column.type == NAME:
            names = self._indices if column.name == "index_name" else AIR.gridded
            return arrow.named(arrow.texts(names), values.astype(np.int32), values < 0)
        if column.type == pa.bool_():
            return arrow.flags(values)
        missing = np.isnan(values) if values.dtype.kind == "f" else values <= NO_GRADE
        if values.dtype.kind != "f" and column.name != "grade":
            missing = values == NONE
        return arrow.numbers(values, column.type, missing)

    def _findings(self, found: Findings, columns: NDArray[np.int32]) -> pa.RecordBatch:
        station = columns[found.station]
        return _batch(
            "flags",
            [
                arrow.named(self._zones, self._zone_of[station]),
                arrow.named(self._stations, station),
                arrow.named(arrow.texts(AIR.gridded), found.parameter),
                arrow.numbers(found.ended * SLOT_US, TIME),
                arrow.numbers(np.where(found.tests, Flag.SUSPECT, Flag.GOOD).astype(np.int8), pa.int8()),
                arrow.named(arrow.texts(TEST_NAMES), found.tests.astype(np.int32)),
                arrow.numbers(found.revision, pa.int32()),
            ],
        )


def told(said: Said) -> list[tuple[str, pa.RecordBatch]]:
    """Make rows of ``light_states`` and ``alerts``: the messages' fields."""
    kept: list[tuple[str, Sequence[Struct]]] = [("light_states", said.states), ("alerts", said.alerts)]
    return [(table, _fields(table, messages)) for table, messages in kept if messages]


def _fields(table: str, messages: Sequence[Struct]) -> pa.RecordBatch:
    """Make rows of messages; each column of the table is a field of theirs."""
    columns = []
    for column in TABLES[table].schema:
        values = [getattr(message, column.name) for message in messages]
        columns.append(arrow.anything(values, column.type))
    return _batch(table, columns)


def ledger(entries: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Make rows of the ledger, at least one."""
    columns = []
    for column in TABLES["ledger"].schema:
        values = [entry[column.name] for entry in entries]
        if column.type == NAME:
            columns.append(arrow.named(arrow.texts(values), np.arange(len(values), dtype=np.int32)))
        else:
            columns.append(arrow.numbers(np.array(values, f"i{column.type.bit_width // 8}"), column.type))
    return _batch("ledger", columns)


def coverage(means: Means) -> NDArray[np.float64]:
    """Share of each window that values cover, shape (n,)."""
    return means.group.coverage(means.filled, means.window)


def _origin(part: NDArray[np.int32], koff: NDArray[np.int64], parts: Sequence[InputPartition]) -> list[pa.Array]:
    topics = sorted({p.topic for p in parts})
    topic_of = np.array([topics.index(p.topic) for p in parts], np.int32)
    kpart_of = np.array([p.number for p in parts], np.int32)
    return [
        arrow.named(arrow.texts(topics), topic_of[part]),
        arrow.numbers(kpart_of[part], pa.int32()),
        arrow.numbers(koff.astype(np.int64, copy=False), pa.int64()),
    ]


def _batch(table: str, columns: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, schema=TABLES[table].schema.remove_metadata())
