"""Rolling means: the windows of each cadence that end with a step, as rows of a lake table and as messages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from flows.analyses.base import Analysis, Column, Event, Names, Results, Rows, Span, ZoneView
from flows.arrays import B1, F64, I32, I64, Whole
from flows.kernels import rolling
from flows.kernels.rolling import VALID_COVERAGE
from flows.state.cadence import Cadence
from schemas.durations import minutes, seconds
from schemas.measured import Measured
from schemas.rolling import Mean
from schemas.slots import SLOT_S, SLOT_US

WHY_INVALID = tuple(
    ",".join(reason for bit, reason in enumerate(("coverage", "failed_below", "failed_above")) if code >> bit & 1)
    for code in range(8)
)
"""Why a window is no valid one, by the sum of 1: little coverage, 2: values fail below their range, 4: above it."""


def why_invalid(coverage: F64, count: Whole, below: Whole, above: Whole) -> I32:
    """Codes of why windows are invalid, shape (n,): 0 where they are valid.

    >>> why_invalid(np.array([1.0, 0.5]), np.array([60, 5]), np.array([0, 5]), np.array([0, 0])).tolist()
    [0, 3]
    """
    too_low, too_high = rolling.one_sided(count, below, above)
    codes: I32 = ((coverage < VALID_COVERAGE) + 2 * too_low + 4 * too_high).astype(np.int32)
    return codes


class Lengths(NamedTuple):
    """Windows of one cadence: W lengths that it can fill."""

    names: tuple[str, ...]
    """As the city file spells them."""
    slots: I64
    """Shape (W,)."""
    expected: I64
    """Values that a complete window holds, shape (W,)."""


def lengths_of(cadence: Cadence, spelled: Sequence[str]) -> Lengths:
    """Choose the windows that a cadence can fill: not shorter than its interval, and whole steps.

    >>> hourly = Cadence(3600, np.array([0]), 10, ZoneInfo("UTC"))
    >>> lengths_of(hourly, ("10m", "1h", "24h")).names
    ('1h', '24h')
    """
    fit = [name for name in spelled if seconds(name) >= cadence.every and minutes(name) % cadence.step == 0]
    return Lengths(
        tuple(fit),
        np.array([minutes(name) for name in fit], np.int64),
        np.array([seconds(name) // cadence.every for name in fit], np.int64),
    )


class RollingMeans(Analysis):
    """Rolling means of every gridded value over the city file's window lengths.

    Args:
        measured: what is averaged.
        lengths: of windows, as the city file spells them.
        table: lake table of the rows.
        topic: of the messages.
        timezone: of times in messages.
    """

    name = "rolling_means"

    def __init__(self, measured: Measured, lengths: Sequence[str], table: str, topic: str, timezone: ZoneInfo) -> None:
        self.tables, self.topics = (table,), (topic,)
        self.lookback = max((minutes(length) for length in lengths), default=0)
        self._measured, self._lengths, self._timezone = measured, lengths, timezone
        self._by_cadence: dict[int, Lengths] = {}

    def close(self, view: ZoneView, cadence: Cadence, first: int, last: int, revision: int) -> Results:
        """Total the windows that end with the steps in (first, last]."""
        lengths, ends = self._of(cadence), self.steps(cadence, first, last)
        results = Results()
        if not (ends.size and lengths.names):
            return results
        totals = view.grid.windows(ends, lengths.slots, cadence.columns)
        firing = cadence.firing_of(ends)
        for day in cadence.by_day(ends):
            of_day = totals.ending(day)
            windows = _Windows(cadence, lengths, cadence.columns, ends[day], of_day)
            results.rows.append(WindowRows(self.tables[0], self._measured, windows, of_day.count > 0, 0))
            results.messages.append(
                WindowMessages(self.topics[0], self._measured, windows, firing[day], self._timezone)
            )
        return results

    def measure(self, view: ZoneView, span: Span) -> rolling.Windows | None:
        """Total the windows that the span touches, as they stand."""
        ends = self._touched(span)
        if span.records or not ends.size:
            return None
        return view.grid.windows(ends, self._of(span.cadence).slots, span.columns)

    def revise(self, view: ZoneView, span: Span, before: Any) -> Results:
        """Give rows of the windows that differ; messages carry only what closes for the first time."""
        if before is None:
            return Results()
        lengths, ends = self._of(span.cadence), self._touched(span)
        now = view.grid.windows(ends, lengths.slots, span.columns)
        differs = _differ(before, now)
        if not differs.any():
            return Results()
        revision = np.where(before.count > 0, span.revision, 0)
        windows = _Windows(span.cadence, lengths, span.columns, ends, now)
        return Results(rows=[WindowRows(self.tables[0], self._measured, windows, differs, revision)])

    def _touched(self, span: Span) -> I64:
        """Ends of the steps from the cell that holds the span's first slot on; a spike is judged one cell back."""
        cadence = span.cadence
        start = (span.first - 1) // cadence.slots * cadence.slots - cadence.slots
        ends = self.steps(cadence, start, cadence.evaluated_until)
        return ends if self._of(cadence).names else ends[:0]

    def _of(self, cadence: Cadence) -> Lengths:
        if cadence.every not in self._by_cadence:
            self._by_cadence[cadence.every] = lengths_of(cadence, self._lengths)
        return self._by_cadence[cadence.every]


def _differ(before: rolling.Windows, now: rolling.Windows) -> B1:
    """Windows that hold a value and whose rows differ, shape (P, W, S, E)."""
    differs: B1 = (before.sum != now.sum) | (before.count != now.count)
    differs |= (before.filled != now.filled) | (before.suspect != now.suspect)
    for side_before, side in zip(_one_sided(before), _one_sided(now), strict=True):
        differs |= side_before != side
    differs &= now.count > 0
    return differs


def _one_sided(totals: rolling.Windows) -> tuple[B1, B1]:
    return rolling.one_sided(totals.count, totals.below, totals.above)


class _Windows(NamedTuple):
    """Totals of the windows of some instruments: W lengths, S columns of the grid, E ends."""

    cadence: Cadence
    lengths: Lengths
    columns: Whole
    ends: I64
    totals: rolling.Windows

    def coverage(self, filled: Whole, window: Whole) -> F64:
        """Return the share of each window that its filled slots stand for; both of shape (n,)."""
        return rolling.coverage(filled, self.cadence.slots, self.lengths.slots.astype(np.float64).take(window))


class WindowRows:
    """Rows of windows, by (parameter, window, instrument, end): so sorted, like values stand together and pack well.

    Args:
        table: lake table.
        measured: names of the parameters.
        windows: their totals, of shape (P, W, S, E).
        exists: which of them become rows, likewise.
        revision: of all rows, or of each window.
    """

    def __init__(
        self, table: str, measured: Measured, windows: _Windows, exists: B1, revision: int | NDArray[np.integer]
    ) -> None:
        self.table, self.size = table, int(exists.size)
        self._measured, self._windows, self._exists = measured, windows, exists
        self._revision = np.asarray(revision, np.int32)

    def columns(self) -> Mapping[str, Column]:
        """Make the columns of n rows."""
        windows, totals = self._windows, self._windows.totals
        filled, window, count = self._flat(totals.filled), self.window, self._flat(totals.count)
        if not count.size:
            return {}
        coverage = windows.coverage(filled, window)
        why = why_invalid(coverage, count, self._flat(totals.below), self._flat(totals.above))
        return {
            "instrument": self.instrument,
            "parameter": Names(self._measured.gridded, self.parameter),
            "window_length": Names(windows.lengths.names, window),
            "ended_at": self.ended * SLOT_US,
            "mean": rolling.mean(self._flat(totals.sum), filled),
            "count": count,
            "expected": windows.lengths.expected[window].astype(np.int32),
            "coverage": coverage,
            "suspect": self._flat(totals.suspect),
            "valid": why == 0,
            "why_invalid": Names(WHY_INVALID, why, why == 0),
            "revision": self._flat(self._revision),
        }

    @property
    def instrument(self) -> I32:
        """Column in the zone's grid, shape (n,)."""
        return self._flat(self._windows.columns.astype(np.int32)[:, None])

    @property
    def parameter(self) -> I32:
        """Index among the gridded values, shape (n,)."""
        return self._flat(np.arange(self._exists.shape[0], dtype=np.int32)[:, None, None, None])

    @property
    def window(self) -> I32:
        """Index among the cadence's window lengths, shape (n,)."""
        return self._flat(np.arange(self._exists.shape[1], dtype=np.int32)[:, None, None])

    @property
    def ended(self) -> I64:
        """Slot at which the window ends, shape (n,)."""
        return self._flat(self._windows.ends)

    @property
    def totals(self) -> rolling.Windows:
        """Totals of the rows, each of shape (n,)."""
        totals = self._windows.totals
        return rolling.Windows(*(self._flat(values) for values in totals))

    @property
    def revision(self) -> I32:
        """0 where a window closes for the first time, shape (n,)."""
        return self._flat(self._revision)

    def _flat(self, values: NDArray[Any]) -> NDArray[Any]:
        flat = np.broadcast_to(values, self._exists.shape).reshape(-1)
        return flat if self._chosen is None else flat[self._chosen]

    @cached_property
    def _chosen(self) -> I64 | None:
        return None if self._exists.all() else np.flatnonzero(self._exists)


@dataclass(slots=True)
class WindowMessages:
    """At each step the newest means of an instrument, of windows that close for the first time.

    Attributes:
        topic: contract name.
        measured: names of the parameters.
        windows: their totals.
        firing: number of the firing of each end, shape (E,).
        timezone: of the times.
    """

    topic: str
    measured: Measured
    windows: _Windows
    firing: I64
    timezone: ZoneInfo

    def events(self, instruments: Sequence[str]) -> Iterator[Event]:
        """Yield a message for each instrument and step that has a mean, by step and instrument."""
        windows, totals = self.windows, self.windows.totals
        order = (3, 2, 0, 1)  # by end, instrument, parameter and window
        ends, width = windows.ends.size, windows.columns.size
        exists = np.ascontiguousarray((totals.count > 0).transpose(order)).reshape(ends * width, -1)
        cell = np.flatnonzero(exists)
        counts, filled, below, above = (
            part.transpose(order).reshape(-1)[cell]
            for part in (totals.count, totals.filled, totals.below, totals.above)
        )
        sums: I64 = totals.sum.transpose(order).reshape(-1)[cell]
        shares = windows.coverage(filled, cell % len(windows.lengths.names))
        values, covered = rolling.mean(sums, filled).tolist(), shares.tolist()
        valid = (why_invalid(shares, counts, below, above) == 0).tolist()
        kind = (cell % exists.shape[1]).tolist()
        names = [(p, w) for p in self.measured.gridded for w in windows.lengths.names]
        cuts = np.cumsum(np.count_nonzero(exists, axis=1)).tolist()
        columns, firing, ended = windows.columns.tolist(), self.firing.tolist(), windows.ends.tolist()
        times = [datetime.fromtimestamp(slot * SLOT_S, self.timezone).isoformat() for slot in ended]
        for row, (begin, until) in enumerate(pairwise([0, *cuts])):
            if begin == until:
                continue
            end, column = divmod(row, width)
            means: dict[str, dict[str, Mean]] = {}
            for i in range(begin, until):
                parameter, length = names[kind[i]]
                means.setdefault(parameter, {})[length] = Mean(mean=values[i], coverage=covered[i], valid=valid[i])
            name = instruments[columns[column]]
            data = {self.measured.id_field: name, "ended_at": times[end], "means": means}
            yield Event(
                name,
                f"{name}:{ended[end] * SLOT_S}",
                times[end],
                data,
                order=(firing[end], ended[end], columns[column]),
            )


def window_rows(rows: Iterable[Rows]) -> Iterator[WindowRows]:
    """Yield the rows of windows among rows of all kinds."""
    return (each for each in rows if isinstance(each, WindowRows))
