"""Ozone's hours of two weeks, which its NowCast rests on and the minute grid does not hold.

Where a city file asks for ``indices.ozone = "regression"``. The hours are state; the NowCasts made of them are only
remembered, so that an hour is not made twice because something else of it changed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import F64, I64
from flows.kernels.nowcast import Averaged, missing
from flows.kernels.nowcast_o3 import LOOKBACK, nowcast_o3

HOUR = 60


class OzoneHours:
    """Valid hourly means of some stations, up to the newest hour they were evaluated for.

    Args:
        stations: ids. Hours are kept by id.
        columns: their columns in the zone's grid, rising.
        back: hours, the newest among them, that may be evaluated again.
    """

    def __init__(self, stations: Sequence[str], columns: NDArray[np.integer], back: int) -> None:
        self._stations = list(stations)
        self._columns = columns
        self._newest: int | None = None
        shape = (len(self._stations), LOOKBACK - 1 + back)
        self._means = np.full(shape, np.nan)
        self._casts = np.full(shape, np.nan)
        self._made = np.zeros(shape, bool)
        """Which NowCasts are those of the hours as they are."""
        self._packed: bytes | None = None

    def nowcast(self, columns: NDArray[np.integer], ended: I64, means: F64) -> Averaged:
        """Take the means of consecutive hours in, in place of what was known of them, and return their NowCasts.

        Args:
            columns: of the stations concerned.
            ended: slots at which the hours end, shape (n,); each hour that holds air must come, gaps may be left out.
            means: in ppm, shape (stations, n); NaN is missing.
        """
        self._move(int(ended[-1]) // HOUR)
        end = self._line(int(ended[-1]) // HOUR) + 1
        begin = end - ended.size
        assert begin >= LOOKBACK - 1, "the hours before these are forgotten"
        rows = np.searchsorted(self._columns, columns)
        known = self._means[rows, begin:end]
        changed = (known != means) & ~(np.isnan(known) & np.isnan(means))
        if changed.any():
            self._means[rows, begin:end] = means
            self._packed = None
            since = np.where(changed.any(axis=1), begin + changed.argmax(axis=1), self._means.shape[1])
            self._made[rows] &= np.arange(self._means.shape[1]) < since[:, None]
        stale = ~self._made[rows, begin:end]
        if stale.any():
            some = rows[stale.any(axis=1)]
            start = begin + int(stale.any(axis=0).argmax())
            self._casts[some, start:end] = nowcast_o3(self._means[some, start - LOOKBACK + 1 : end], LOOKBACK - 1)
            self._made[some, start:end] = True
        before = begin - LOOKBACK + 1
        return Averaged(
            self._casts[rows, begin:end], missing(self._means[rows, before:end], begin - before, "nowcast_o3")
        )

    def _line(self, hour: int) -> int:
        assert self._newest is not None
        return self._means.shape[1] - 1 - (self._newest - hour)

    def _move(self, hour: int) -> None:
        """Make an hour the newest, if it is."""
        shift = 0 if self._newest is None else min(hour - self._newest, self._means.shape[1])
        if self._newest is not None and shift <= 0:
            return
        for kept, nothing in ((self._means, np.nan), (self._casts, np.nan), (self._made, False)):
            kept[:, : kept.shape[1] - shift] = kept[:, shift:].copy()
            kept[:, kept.shape[1] - shift :] = nothing
        self._newest, self._packed = hour, None

    def snapshot(self) -> dict[str, Any]:
        """Plain data; packed anew only after an hour changed."""
        self._packed = self._packed or pa.compress(self._means.tobytes(), "zstd", asbytes=True)
        return {
            "stations": list(self._stations),
            "newest": self._newest,
            "hours": self._means.shape[1],
            "means": self._packed,
        }

    def restore(self, kept: Sequence[dict[str, Any]]) -> None:
        """Go on from snapshots of any cadence. Stations are matched by id: a new one starts empty, one gone goes."""
        for part in kept:
            if part["newest"] is not None:
                self._newest = max(self._newest or part["newest"], part["newest"])
        for part in kept:
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
