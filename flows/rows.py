"""Rows for the lake: what was decided, as Arrow batches of its tables, and receipts for its books."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrivals import Arrivals, Partition, Taken
from flows.evaluate import Findings, Means
from flows.grid import SECONDS
from flows.kernels import rolling
from flows.zone import Outcome, Stored
from schemas.city import City
from schemas.quality import TEST_NAMES, Flag
from schemas.reading import PARAMETERS, VALUES
from schemas.rejected import REASONS, Reject
from schemas.tables import TABLES, TIME

VALID = 0.75
"""Coverage from which a window is valid: three quarters, as regulators ask of hours and days."""
SLOT_US = SECONDS * 1_000_000
OWN_COLUMN = ("duplicate", "too_late")
"""Reasons that the ledger counts by themselves; the others are ``rejected``."""


@dataclass(slots=True)
class Landing:
    """One item for the lake: rows of its tables, and what its books are to say of them.

    Attributes:
        rows: table and batch.
        taken: messages taken, by partition, counted at the source.
        judged: how many messages of a partition became what: stored, rejected, duplicate or too_late.
        waiting: zone and, by partition, how many of its readings wait now.
        received: when the newest of them reached the pipeline, in microseconds.
    """

    received: int
    rows: list[tuple[str, pa.RecordBatch]] = field(default_factory=list)
    taken: list[tuple[Partition, Taken]] = field(default_factory=list)
    judged: Counter[tuple[Partition, str]] = field(default_factory=Counter)
    waiting: tuple[str, Counter[Partition]] | None = None


class Rows:
    """Makes rows of one city's tables."""

    def __init__(self, city: City) -> None:
        self._stations = pa.array([s.id for s in city.stations], pa.string())
        zones = sorted({s.zone for s in city.stations})
        self._zones = pa.array(zones, pa.string())
        self._zone_of = np.array([zones.index(s.zone) for s in city.stations], np.int32)

    def arrived(self, arrivals: Arrivals) -> Landing:
        """Land what was refused before it reached a zone, and the receipts."""
        landing = Landing(arrivals.received, taken=[(arrivals.parts[taken.part], taken) for taken in arrivals.taken])
        self._rejects(arrivals.rejects, arrivals.parts, landing)
        return landing

    def refused(self, rejects: list[Reject], parts: Sequence[Partition], received: int) -> Landing:
        """Land refusals alone."""
        landing = Landing(received)
        self._rejects(rejects, parts, landing)
        return landing

    def outcome(
        self, zone: str, columns: NDArray[np.int32], outcome: Outcome, parts: Sequence[Partition], received: int
    ) -> Landing:
        """Land what a zone decided; ``columns`` are the city's indices of the zone's stations."""
        landing = Landing(received, waiting=(zone, Counter(parts[part] for part in outcome.waiting.tolist())))
        for stored in outcome.stored:
            self._stored(stored, parts, landing)
        self._rejects(outcome.rejects, parts, landing)
        landing.rows += [("flags", self._findings(found, columns)) for found in outcome.evaluated.findings]
        landing.rows += [
            ("rolling", self._means(means, columns)) for means in outcome.evaluated.means if means.ended.size
        ]
        return landing

    def _stored(self, stored: Stored, parts: Sequence[Partition], landing: Landing) -> None:
        readings = stored.readings
        if not len(readings):
            return
        for part, count in enumerate(np.bincount(readings.part).tolist()):
            if count:
                landing.judged[parts[part], "stored"] += count
        values = [pa.array(readings.values[:, i], from_pandas=True) for i in range(len(VALUES))]
        flags = [pa.array(stored.flags[:, p].astype(np.int8)) for p in range(len(PARAMETERS))]
        received = np.full(len(readings), landing.received)
        columns = [
            self._named(self._zones, self._zone_of[readings.station]),
            self._named(self._stations, readings.station),
            pa.array(readings.observed).cast(TIME),
            pa.array(received).cast(TIME),
            *values,
            *flags,
            *_origin(readings.part, readings.koff, parts),
        ]
        landing.rows.append(("air_readings", _batch("air_readings", columns)))

    def _rejects(self, rejects: list[Reject], parts: Sequence[Partition], landing: Landing) -> None:
        if not rejects:
            return
        for reject in rejects:
            reason = reject.reason if reject.reason in OWN_COLUMN else "rejected"
            landing.judged[parts[reject.part], reason] += 1
        columns = [
            *_origin(np.array([r.part for r in rejects], np.int32), np.array([r.koff for r in rejects]), parts),
            pa.array(np.full(len(rejects), landing.received)).cast(TIME),
            self._named(pa.array(REASONS), np.array([REASONS.index(r.reason) for r in rejects], np.int32)),
            pa.array([r.detail.encode("utf-8", "replace").decode() for r in rejects]),
            pa.array([r.payload for r in rejects], pa.binary()),
        ]
        landing.rows.append(("rejects", _batch("rejects", columns)))

    def _means(self, means: Means, columns: NDArray[np.int32]) -> pa.RecordBatch:
        group, station = means.group, columns[means.station]
        covered = coverage(means)
        return _batch(
            "rolling",
            [
                self._named(self._zones, self._zone_of[station]),
                self._named(self._stations, station),
                self._named(pa.array(PARAMETERS), means.parameter),
                self._named(pa.array(group.names), means.window),
                pa.array(means.ended * SLOT_US).cast(TIME),
                pa.array(rolling.mean(means.total, means.count)),
                pa.array(means.count),
                pa.array(group.expected[means.window].astype(np.int32)),
                pa.array(covered),
                pa.array(means.suspect),
                pa.array(covered >= VALID),
                pa.array(means.revision),
            ],
        )

    def _findings(self, found: Findings, columns: NDArray[np.int32]) -> pa.RecordBatch:
        station = columns[found.station]
        return _batch(
            "flags",
            [
                self._named(self._zones, self._zone_of[station]),
                self._named(self._stations, station),
                self._named(pa.array(PARAMETERS), found.parameter),
                pa.array(found.ended * SLOT_US).cast(TIME),
                pa.array(np.where(found.tests, Flag.SUSPECT, Flag.GOOD).astype(np.int8)),
                self._named(pa.array(TEST_NAMES), found.tests.astype(np.int32)),
                pa.array(found.revision),
            ],
        )

    @staticmethod
    def _named(names: pa.Array, index: NDArray[np.int32]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(index), names)


def messages(
    means: Iterable[Means], stations: Sequence[str], columns: NDArray[np.int32], zone: tzinfo
) -> list[dict[str, object]]:
    """Make the messages of ``env.air.rolling.v1``: at each step the newest means of a station, in time order.

    Only windows that close for the first time are sent; what late readings change is in the lake.
    """
    out: dict[tuple[int, int], dict[str, dict[str, dict[str, object]]]] = {}
    for one in means:
        if not one.first:
            continue
        covered = coverage(one)
        rows = zip(
            one.ended.tolist(),
            columns[one.station].tolist(),
            one.parameter.tolist(),
            one.window.tolist(),
            rolling.mean(one.total, one.count).tolist(),
            covered.tolist(),
            strict=True,
        )
        for ended, station, parameter, window, mean, share in rows:
            of_station = out.setdefault((ended, station), {})
            of_parameter = of_station.setdefault(PARAMETERS[parameter], {})
            of_parameter[one.group.names[window]] = {"mean": mean, "coverage": share, "valid": share >= VALID}
    return [
        {
            "station_id": stations[station],
            "ended_at": datetime.fromtimestamp(ended * SECONDS, zone),
            "means": out[ended, station],
        }
        for ended, station in sorted(out)
    ]


def coverage(means: Means) -> NDArray[np.float64]:
    """Share of each window that values cover, shape (n,)."""
    return rolling.coverage(means.filled, means.group.cadence, means.group.lengths[means.window])


def _origin(part: NDArray[np.int32], koff: NDArray[np.int64], parts: Sequence[Partition]) -> list[pa.Array]:
    topics = sorted({p.topic for p in parts})
    topic_of = np.array([topics.index(p.topic) for p in parts], np.int32)
    kpart_of = np.array([p.kpart for p in parts], np.int32)
    return [
        pa.DictionaryArray.from_arrays(pa.array(topic_of[part]), pa.array(topics, pa.string())),
        pa.array(kpart_of[part]),
        pa.array(koff),
    ]


def _batch(table: str, columns: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, schema=TABLES[table].schema.remove_metadata())
