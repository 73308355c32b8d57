"""Flags of values by what surrounds them: their own series, and PM2.5 against PM10, with the city's limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flows.analyses.base import Analysis, Column, Names, Results, Rows, Span, ZoneView
from flows.arrays import B1, I32, I64, U8, Whole
from flows.kernels.pm_ratio import pm25_above_pm10
from flows.kernels.rolling import slot_means
from flows.kernels.temporal_tests import LOOKAHEAD, SHORTEST, Limits, lookback, temporal_tests
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.city import City
from schemas.durations import minutes
from schemas.measured import AIR, Measured
from schemas.quality import TEST_NAMES, Flag, Test
from schemas.slots import SLOT_US

PM10, PM25 = AIR.gridded.index("pm10"), AIR.gridded.index("pm25")


class CellTests(Protocol):
    """Tests of cells beside others, for one cadence."""

    lookback: int
    """Cells before a cell that its result may depend on."""

    def __call__(self, sums: I64, counts: Whole, first: int) -> U8:
        """Return bits of ``schemas.quality.Test``, shape (T - first, S, P)."""


class Quality(Analysis):
    """Flags of values by what surrounds them; kept on the grid, where means count them as suspect.

    Args:
        measured: what is flagged.
        tests: makes the tests of a cadence, given its slots.
        table: lake table of the flags.
        longest: slots that any test looks back.
    """

    name = "quality"

    def __init__(self, measured: Measured, tests: Callable[[int], CellTests], table: str, longest: int) -> None:
        self.tables, self.lookback = (table,), longest
        self._measured, self._make = measured, tests
        self._by_cadence: dict[int, CellTests] = {}

    def close(self, view: ZoneView, cadence: Cadence, first: int, last: int, revision: int) -> Results:
        """Test the cells in (first, last], and the one before again: a spike shows in the light of the next cell."""
        before, after, ended = self._judge(view.grid, cadence, cadence.columns, first - cadence.slots, last, last)
        if not (before.any() or after.any()):
            return Results()
        fresh = ended > first
        changed = (before[~fresh] != after[~fresh]).any(axis=(0, 2))
        self._store(view.grid, cadence, cadence.columns, ended[fresh], after[fresh])
        rows = self._rows(cadence.columns, ended[fresh], after[fresh], after[fresh] > 0, 0)
        return Results(rows=rows, reconsider=cadence.columns[changed])

    def revise(self, view: ZoneView, span: Span, before: Any) -> Results:
        """Test the cells from the span's first on again, and the one before, and say what differs."""
        if span.records:
            return Results()
        cadence = span.cadence
        start = (span.first - 1) // cadence.slots * cadence.slots - cadence.slots
        old, new, ended = self._judge(view.grid, cadence, span.columns, start, cadence.evaluated_until, span.until)
        self._store(view.grid, cadence, span.columns, ended, new)
        return Results(rows=self._rows(span.columns, ended, new, old != new, span.revision))

    def _judge(
        self, grid: Grid, cadence: Cadence, columns: Whole, first: int, last: int, until: int
    ) -> tuple[U8, U8, I64]:
        """Test the cells that end in (first, last], looking no further than ``until``.

        Returns:
            What the grid holds of them and what is found now, shape (cells, columns, P), and the slots where they end.
        """
        slots = cadence.slots
        start, stop = -(-first // slots) * slots, last // slots * slots
        seen = min(stop + LOOKAHEAD * slots, until // slots * slots)
        ended: I64 = np.arange(start + slots, stop + 1, slots, dtype=np.int64)
        if not ended.size:
            none = np.zeros((0, columns.size, grid.width), np.uint8)
            return none, none, ended
        tests = self._of(cadence)
        low = start - tests.lookback * slots + 1
        sums, counts = (_columns(grid.layer(name, low, seen), columns) for name in ("sums", "counts"))
        means, filled = slot_means(sums, counts), (counts > 0).view(np.uint8)
        found = tests(_cells(means, slots), _cells(filled, slots), tests.lookback)[: ended.size]
        held: U8 = _columns(grid.layer("found", start + 1, stop), columns)[slots - 1 :: slots].copy()
        return held, found, ended

    def _of(self, cadence: Cadence) -> CellTests:
        if cadence.every not in self._by_cadence:
            self._by_cadence[cadence.every] = self._make(cadence.slots)
        return self._by_cadence[cadence.every]

    def _store(self, grid: Grid, cadence: Cadence, columns: Whole, ended: I64, found: U8) -> None:
        """Keep what was found on every slot of its cell."""
        if not ended.size:
            return
        first, last = int(ended[0]) - cadence.slots + 1, int(ended[-1])
        layer = grid.layer("found", first, last)
        if found.any() or layer.any():
            layer[:, columns] = np.repeat(found, cadence.slots, axis=0)
            grid.touch(np.arange(first, last + 1))

    def _rows(self, columns: Whole, ended: I64, tests: U8, new: B1, revision: int) -> list[Rows]:
        """Make rows of cells, shape (cells, columns, P), where they are new."""
        cell, column, parameter = np.nonzero(new)
        if not cell.size:
            return []
        at = columns[column].astype(np.int32), parameter.astype(np.int32), ended[cell]
        return [FlagRows(self.tables[0], self._measured, *at, tests[new], np.full(cell.size, revision, np.int32))]


@dataclass(slots=True)
class FlagRows:
    """Rows of ``flags``: n cells of one cadence each; ``tests`` is 0 where an earlier finding is withdrawn."""

    table: str
    measured: Measured
    column: I32
    parameter: I32
    ended: I64
    tests: U8
    revision: I32

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.column.size

    def columns(self) -> Mapping[str, Column]:
        """Make the table's columns."""
        return {
            "instrument": self.column,
            "parameter": Names(self.measured.gridded, self.parameter),
            "ended_at": self.ended * SLOT_US,
            "flag": np.where(self.tests, Flag.SUSPECT, Flag.GOOD).astype(np.int8),
            "tests": Names(TEST_NAMES, self.tests.astype(np.int32)),
            "revision": self.revision,
        }


def _columns(layer: NDArray[Any], columns: Whole) -> NDArray[Any]:
    return layer if columns.size == layer.shape[1] else layer[:, columns]


def _cells(layer: NDArray[Any], slots: int) -> NDArray[Any]:
    """Sum runs of slots to cells, shape (cells, S, P)."""
    if slots == 1:
        return layer
    cells: NDArray[Any] = layer.reshape(-1, slots, *layer.shape[1:]).sum(axis=1, dtype=np.int64)
    return cells


def limits_of(city: City, cadence: int) -> Limits:
    """Limits of the city file for cells of ``cadence`` minutes.

    Steps between neighbours have the same limit at every cadence. A length that is no multiple of the cadence is cut
    to whole cells, and none is shorter than three.

    >>> from schemas.city import City, Identity
    >>> city = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])
    >>> limits_of(city, 1).flat_line_cells, limits_of(city, 60).flat_line_cells, limits_of(city, 60).zeros_cells
    (360, 6, 3)
    """
    parameters, quality = city.limits(), city.quality

    def cells(duration: str) -> int:
        return max(SHORTEST, minutes(duration) // cadence)

    return Limits(
        spike=np.array([p.spike or np.inf for p in parameters]),
        rate_of_change=np.array([p.rate_of_change or np.inf for p in parameters]),
        flat_line=np.array([p.flat_line or 0.0 for p in parameters]),
        attenuated_signal=np.array([p.attenuated_signal or 0.0 for p in parameters]),
        flat_line_cells=cells(quality.flat_line_length),
        attenuated_signal_cells=cells(quality.attenuated_signal_length),
        zeros_cells=cells(quality.zeros_length),
    )


def cell_tests(sums: I64, counts: Whole, first: int, limits: Limits, pm25_over_pm10: tuple[float, float]) -> U8:
    """Run every test of a cell beside others; parameters in the order of ``AIR.gridded``.

    Args:
        sums: quanta of each cell, shape (T, S, 6).
        counts: values of each cell, likewise, as bytes or 64 bits; 0 for missing.
        first: cells before it are lookback and get no result.
        limits: of these cells, by ``limits_of(city, cadence)``.
        pm25_over_pm10: ``quality.pm25_over_pm10`` of the city file.

    Returns:
        Bits of ``schemas.quality.Test``, shape (T - first, S, 6); PM25_ABOVE_PM10 is set on both.
    """
    bits = temporal_tests(sums, counts, first, limits)
    above = pm25_above_pm10(sums, counts, first, PM10, PM25, *pm25_over_pm10)
    if above.any():
        bits[above, PM10] |= np.uint8(Test.PM25_ABOVE_PM10)
        bits[above, PM25] |= np.uint8(Test.PM25_ABOVE_PM10)
    return bits


class AirTests:
    """Every test of air for one cadence: by the series of a value, and of PM2.5 against PM10.

    Args:
        city: for the limits.
        cadence_slots: slots of a cell.
    """

    def __init__(self, city: City, cadence_slots: int) -> None:
        self._limits, self._pm25_over_pm10 = limits_of(city, cadence_slots), city.quality.pm25_over_pm10
        self.lookback = lookback(self._limits)

    @staticmethod
    def longest(city: City) -> int:
        """Slots that any test looks back."""
        return max(minutes(city.quality.flat_line_length), minutes(city.quality.attenuated_signal_length))

    def __call__(self, sums: I64, counts: Whole, first: int) -> U8:
        """Return bits of ``schemas.quality.Test``, shape (T - first, S, 6); PM25_ABOVE_PM10 is set on both.

        Args:
            sums: quanta of each cell, shape (T, S, 6).
            counts: values of each cell, likewise, as bytes or 64 bits; 0 for missing.
            first: cells before it are lookback and get no result.
        """
        return cell_tests(sums, counts, first, self._limits, self._pm25_over_pm10)
