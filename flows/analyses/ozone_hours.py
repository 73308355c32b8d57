"""Ozone's hours of two weeks, which its NowCast rests on and the minute grid does not hold.

Where a city file asks for ``indices.ozone = "regression"``. The hours are state; the NowCasts made of them are only
remembered, so that an hour is not made twice because something else of it changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from flows.analyses.base import Analysis, Results, Span, ZoneView
from flows.analyses.hours import hours_between, valid_hours
from flows.arrays import F64, I64, Whole
from flows.kernels.nowcast import Averaged, missing
from flows.kernels.nowcast_o3 import LOOKBACK, nowcast_o3
from flows.state.cadence import Cadence
from schemas.measured import AIR
from schemas.slots import HOUR_SLOTS

O3 = AIR.gridded.index("o3")


class OzoneHours(Analysis):
    """Valid hourly means of ozone, up to the newest hour that was evaluated; of two weeks and the hours of the grid."""

    name = "ozone_hours"
    history = (LOOKBACK + 1) * HOUR_SLOTS  # of the oldest hour of all only a part is replayed

    def __init__(self) -> None:
        self._stations: list[str] = []
        self._newest: int | None = None
        self._means = self._casts = np.empty((0, 0))
        self._made = np.empty((0, 0), bool)
        """Which NowCasts are those of the hours as they are."""
        self._packed: bytes | None = None

    def attach(self, view: ZoneView) -> None:
        """Make room for the zone's stations; every hour of the grid may be evaluated again."""
        self._stations = list(view.instruments)
        shape = (len(self._stations), LOOKBACK - 1 + view.grid.length // HOUR_SLOTS)
        self._means, self._casts = np.full(shape, np.nan), np.full(shape, np.nan)
        self._made = np.zeros(shape, bool)

    def close(self, view: ZoneView, cadence: Cadence, first: int, last: int, revision: int) -> Results:
        """Take in the hours in (first, last]."""
        self._take(view, cadence, cadence.columns, hours_between(first, last))
        return Results()

    def revise(self, view: ZoneView, span: Span, before: Any) -> Results:
        """Take in again the hours that the span touches."""
        if not span.records:
            hours = hours_between(span.first - 1, span.cadence.evaluated_until)
            self._take(view, span.cadence, span.columns, hours)
        return Results()

    def _take(self, view: ZoneView, cadence: Cadence, columns: Whole, hours: I64) -> None:
        if hours.size:
            self.put(columns, hours, valid_hours(view.grid, columns, cadence.slots, hours)[:, :, O3].T)

    def put(self, columns: Whole, ended: I64, means: F64) -> None:
        """Put the means of consecutive hours in place of what was known of them.

        Args:
            columns: of the stations concerned.
            ended: slots at which the hours end, shape (n,); each hour that holds air must come, gaps may be left out.
            means: in ppm, shape (stations, n); NaN is missing.
        """
        self._move(int(ended[-1]) // HOUR_SLOTS)
        begin, end = self._range(ended)
        known = self._means[columns, begin:end]
        changed = (known != means) & ~(np.isnan(known) & np.isnan(means))
        if changed.any():
            self._means[columns, begin:end] = means
            self._packed = None
            since = np.where(changed.any(axis=1), begin + changed.argmax(axis=1), self._means.shape[1])
            self._made[columns] &= np.arange(self._means.shape[1]) < since[:, None]

    def nowcast(self, columns: Whole, ended: I64) -> Averaged:
        """Return the NowCasts of consecutive hours that were put in."""
        begin, end = self._range(ended)
        stale = ~self._made[columns, begin:end]
        if stale.any():
            rows = columns[stale.any(axis=1)]
            start = begin + int(stale.any(axis=0).argmax())
            self._casts[rows, start:end] = nowcast_o3(self._means[rows, start - LOOKBACK + 1 : end], LOOKBACK - 1)
            self._made[rows, start:end] = True
        before = begin - LOOKBACK + 1
        return Averaged(
            self._casts[columns, begin:end], missing(self._means[columns, before:end], begin - before, "nowcast_o3")
        )

    def _range(self, ended: I64) -> tuple[int, int]:
        end = self._line(int(ended[-1]) // HOUR_SLOTS) + 1
        begin = end - ended.size
        assert begin >= LOOKBACK - 1, "the hours before these are forgotten"
        return begin, end

    def _line(self, hour: int) -> int:
        assert self._newest is not None
        return self._means.shape[1] - 1 - (self._newest - hour)

    def _move(self, hour: int) -> None:
        """Make an hour the newest, if it is."""
        shift = 0 if self._newest is None else min(hour - self._newest, self._means.shape[1])
        if self._newest is not None and shift <= 0:
            return
        for values, nothing in ((self._means, np.nan), (self._casts, np.nan), (self._made, False)):
            values[:, : values.shape[1] - shift] = values[:, shift:].copy()
            values[:, values.shape[1] - shift :] = nothing
        self._newest, self._packed = hour, None

    def snapshot(self) -> dict[str, bytes]:
        """Pages of the hours; packed anew only after an hour changed."""
        if self._newest is None:
            return {}
        self._packed = self._packed or pa.compress(self._means.tobytes(), "zstd", asbytes=True)
        meta = {"stations": self._stations, "newest": self._newest, "hours": self._means.shape[1]}
        return {"meta": msgspec.json.encode(meta), "means": self._packed}

    def restore(self, version: int, pages: Mapping[str, bytes], columns: Mapping[str, int]) -> None:
        """Go on from a snapshot. Stations are matched by id: a new one starts empty, one gone goes."""
        if pages:
            meta = msgspec.json.decode(pages["meta"])
            self.adopt([{**meta, "means": pages["means"]}])

    def adopt(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Take over hours that were kept apart, as version 1 kept those of each cadence."""
        for part in parts:
            if part["newest"] is not None:
                self._newest = max(self._newest or part["newest"], part["newest"])
        for part in parts:
            old = {station: i for i, station in enumerate(part["stations"])}
            ours = [i for i, station in enumerate(self._stations) if station in old]
            if not ours or part["newest"] is None:
                continue
            size = len(old) * part["hours"] * self._means.itemsize
            means = np.frombuffer(pa.decompress(part["means"], size, "zstd")).reshape(len(old), -1)
            means = means[[old[self._stations[i]] for i in ours]]
            end = max(0, self._line(part["newest"]) + 1)
            n = min(end, part["hours"])
            self._means[ours, end - n : end] = means[:, part["hours"] - n :]
