"""Air-quality indices of the hours that closed: rows of ``cai`` and ``aqi``, from the hourly means on the grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.analyses.base import Analysis, Column, Names, Nullable, Results, Rows, Span, ZoneView
from flows.analyses.hours import hours_between, valid_hours
from flows.analyses.ozone_hours import OzoneHours
from flows.arrays import B1, F64, I32, I64, Whole
from flows.kernels import cai, nowcast
from flows.kernels.bands import NO_GRADE, NONE
from flows.resources import every_index, index
from flows.state.cadence import Cadence
from schemas.indices import IndexTable
from schemas.measured import AIR
from schemas.slots import HOUR_SLOTS, SLOT_US

LOOKBACK_HOURS = max(cai.LOOKBACK, nowcast.LOOKBACK) - 1
"""Hours before one that its indices rest on."""
KOREA = "korea"

Values = dict[str, NDArray[np.generic]]


class Scales:
    """The indices that are computed: Korea's, and every other that ships with numbers or grades.

    Args:
        version: of Korea's index; empty: its default.
        ozone: ``indices.ozone`` of the city file.
    """

    def __init__(self, version: str = "", ozone: str = "surrogate") -> None:
        self.korea: IndexTable = index(KOREA).table(version)
        self.others = {name: other.table() for name, other in every_index().items() if name != KOREA}
        if ozone == "surrogate":
            self.others = {name: _with_surrogate(table) for name, table in self.others.items()}
        self.regression = any(
            scale.average == "nowcast_o3" for table in self.others.values() for scale in table.parameters.values()
        )
        """An index takes ozone's NowCast by its regression."""
        self.names = [name for name in every_index() if name != KOREA]
        """Every index beside Korea's."""


def _with_surrogate(table: IndexTable) -> IndexTable:
    """Let the surrogate stand for ozone's NowCast."""
    scales = {
        name: msgspec.structs.replace(scale, average="surrogate_o3") if scale.average == "nowcast_o3" else scale
        for name, scale in table.parameters.items()
    }
    return msgspec.structs.replace(table, parameters=scales)


@dataclass(slots=True)
class IndexHours:
    """Indices of S instruments over H hours: each column of shape (S, H); ``exists`` says which rows there are."""

    ended: I64
    failing: B1
    """Instruments of which a row may have been withdrawn, because values of theirs fail by their range, shape (S,)."""
    cai: Values
    aqi: dict[tuple[str, str], Values]
    """By index and parameter."""


class Indices(Analysis):
    """Indices of every station and hour.

    Args:
        scales: indices to compute.
        ozone: hours behind ozone's NowCast, where an index takes its regression; evaluated before this.
    """

    name = "indices"
    tables = ("cai", "aqi")
    lookback = (LOOKBACK_HOURS + 1) * HOUR_SLOTS

    def __init__(self, scales: Scales, ozone: OzoneHours | None = None) -> None:
        self._scales, self._ozone = scales, ozone

    def close(self, view: ZoneView, cadence: Cadence, first: int, last: int, revision: int) -> Results:
        """Evaluate the hours in (first, last]."""
        hours = hours_between(first, last)
        if not hours.size:
            return Results()
        return Results(rows=self._rows(cadence.columns, self._evaluate(view, cadence, cadence.columns, hours), None, 0))

    def measure(self, view: ZoneView, span: Span) -> IndexHours | None:
        """Evaluate the hours that the span touches, as they stand."""
        hours = hours_between(span.first - 1, span.cadence.evaluated_until)
        if span.records or not hours.size:
            return None
        return self._evaluate(view, span.cadence, span.columns, hours)

    def revise(self, view: ZoneView, span: Span, before: Any) -> Results:
        """Give rows of the hours that differ."""
        if before is None:
            return Results()
        now = self._evaluate(view, span.cadence, span.columns, before.ended)
        return Results(rows=self._rows(span.columns, now, before, span.revision))

    def _evaluate(self, view: ZoneView, cadence: Cadence, columns: Whole, ended: I64) -> IndexHours:
        """Evaluate consecutive hours; the grid reaches back ``LOOKBACK_HOURS``, and what it lacks is missing."""
        begin = int(ended[0]) - LOOKBACK_HOURS * HOUR_SLOTS
        hours = hours_between(begin - 1, int(ended[-1]))
        means = np.ascontiguousarray(valid_hours(view.grid, columns, cadence.slots, hours).transpose(1, 0, 2))
        nowcast_o3 = self._ozone.nowcast(columns, ended) if self._ozone else None
        return IndexHours(ended, view.grid.failing(columns), self._korea(means), self._others(means, nowcast_o3))

    def _korea(self, means: F64) -> Values:
        korea = cai.rows(means, LOOKBACK_HOURS, self._scales.korea)
        result = korea.result
        values: Values = {
            "exists": korea.exists,
            "cai": result.cai,
            "grade": result.grade,
            "main_parameter": result.main,
            "added": result.added,
            "over_range": result.over_range,
        }
        for i, name in enumerate(AIR.gridded):
            values[f"{name}_24h" if name in cai.TURN else name] = korea.inputs[:, :, i]
            values[f"index_{name}"] = result.index[:, :, i]
        for i, name in enumerate(cai.TURN):
            values[f"missing_{name}"] = korea.missing[:, :, i]
        return values

    def _others(self, means: F64, nowcast_o3: nowcast.Averaged | None) -> dict[tuple[str, str], Values]:
        values: dict[tuple[str, str], Values] = {}
        for name, table in self._scales.others.items():
            for parameter, rows in nowcast.rows(means, LOOKBACK_HOURS, table, nowcast_o3).items():
                values[name, parameter] = {
                    "exists": rows.exists,
                    "concentration": rows.concentration,
                    "aqi": rows.index,
                    "grade": rows.grade,
                    "missing": rows.missing,
                    "over_range": rows.over_range,
                }
        return values

    def _rows(self, columns: Whole, now: IndexHours, before: IndexHours | None, revision: int) -> list[Rows]:
        """Make rows of what exists; with ``before``, of what differs from it, as ``revision`` where it was there."""
        revised = Revised(columns, now.ended, before.failing if before else None, revision)
        rows = [index_rows("cai", revised, now.cai, before.cai if before else None)]
        for (name, parameter), values in now.aqi.items():
            old = before.aqi[name, parameter] if before else None
            of_index = index_rows("aqi", revised, values, old)
            n = of_index.size
            of_index.texts = {
                "index_name": Names(self._scales.names, np.full(n, self._scales.names.index(name), np.int32)),
                "parameter": Names(AIR.gridded, np.full(n, AIR.gridded.index(parameter), np.int32)),
            }
            rows.append(of_index)
        return [each for each in rows if each.size]


@dataclass(slots=True)
class IndexRows:
    """Rows of ``cai`` or ``aqi``: n station-hours.

    Attributes:
        table: the lake's.
        station: column in the zone's grid, shape (n,).
        ended: slot, shape (n,).
        revision: shape (n,).
        values: of the table, by name, shape (n,); what does not exist is NaN, ``NONE`` or, of grades, ``NO_GRADE``.
        texts: columns of names.
    """

    table: str
    station: I32
    ended: I64
    revision: I32
    values: Values
    texts: dict[str, Names]

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.station.size

    def columns(self) -> Mapping[str, Column]:
        """Make the table's columns."""
        return {
            "instrument": self.station,
            "ended_at": self.ended * SLOT_US,
            "revision": self.revision,
            **{name: _column(name, values) for name, values in self.values.items()},
            **self.texts,
        }


def _column(name: str, values: NDArray[Any]) -> Column:
    if name == "main_parameter":
        return Names(AIR.gridded, values.astype(np.int32), values < 0)
    if values.dtype == bool:
        return values
    if values.dtype.kind == "f":
        return Nullable(values, np.isnan(values))
    return Nullable(values, values <= NO_GRADE if name == "grade" else values == NONE)


class Revised(NamedTuple):
    """Station-hours that are evaluated again.

    Attributes:
        columns: of the instruments, shape (S,).
        ended: slots, shape (H,).
        failing: instruments of which a row may have been withdrawn before, shape (S,); None: it is the first time.
        revision: of rows that are there already.
    """

    columns: Whole
    ended: I64
    failing: B1 | None
    revision: int


def index_rows(table: str, revised: Revised, now: Values, before: Values | None) -> IndexRows:
    """Choose the station-hours of which there is something to say.

    A row is withdrawn, all of its values missing, where late values fail so often that its hour counts no more.
    """
    chosen = existing = now["exists"].astype(bool)
    known = np.zeros(chosen.shape, bool)
    if before is not None and revised.failing is not None:
        existed = before["exists"].astype(bool)
        chosen = (existing | existed) & np.logical_or.reduce([_differ(now[name], before[name]) for name in now])
        known = existed | revised.failing[:, None]
    station, hour = np.nonzero(chosen)
    return IndexRows(
        table,
        revised.columns[station].astype(np.int32),
        revised.ended[hour],
        np.where(known[station, hour], revised.revision, 0).astype(np.int32),
        {name: column[station, hour] for name, column in now.items() if name != "exists"},
        {},
    )


def _differ(new: NDArray[np.generic], old: NDArray[np.generic]) -> NDArray[np.bool_]:
    both_missing = (new != new) & (old != old)  # noqa: PLR0124, NaN alone differs from itself
    differs: NDArray[np.bool_] = (new != old) & ~both_missing
    return differs
