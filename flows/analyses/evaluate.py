"""Evaluation: what the kernels say of a range of the grid.

One evaluation for live air, for late readings and for backfill: the same functions of the same cells, and so the
same numbers to the last bit, however the input was cut or ordered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.analyses import indices, quality
from flows.analyses.windows import Means
from flows.arrays import I32, I64, U8
from flows.kernels import rolling
from flows.kernels.temporal_tests import LOOKAHEAD
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.measured import AIR


@dataclass(slots=True)
class Findings:
    """Rows of ``flags``: n cells of one cadence each; ``tests`` is 0 where an earlier finding is withdrawn."""

    station: I32
    parameter: I32
    ended: I64
    tests: U8
    revision: I32


@dataclass(slots=True)
class Results:
    """What an evaluation says that was not said before."""

    means: list[Means] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    indexed: list[indices.Rows] = field(default_factory=list)


def close(grid: Grid, group: Cadence, last: int, revision: int, out: Results) -> None:
    """Evaluate slots after ``group.closed`` to ``last`` for the first time.

    A spike in the newest cell closed before shows only in the light of the cell after it: there, what was said of
    the cell is said again, with ``revision``.
    """
    first = group.closed
    before, after, ended = _judge(grid, group, group.columns, first - group.cadence, last, last)
    if before.any() or after.any():
        fresh = ended > first
        again = (before[~fresh] != after[~fresh]).any(axis=(0, 2))
        if again.any():
            revise(grid, group, group.columns[again], first, last, revision, lambda: None, out)
        _store(grid, group, group.columns, ended[fresh], after[fresh])
        _say(group.columns, ended[fresh], after[fresh], after[fresh] > 0, 0, out)
    hours = indices.hours_between(first, last)
    if hours.size:
        found = _indices(grid, group, group.columns, hours)
        out.indexed += indices.rows(group.columns, found, None, 0)
    totals, ends = _windows(grid, group, group.columns, first, last)
    group.closed = last
    closing = group.closing_of(ends)
    for day in group.days(ends):
        some = totals.ending(day)
        out.means.append(Means(group, group.columns, some, ends[day], some.count > 0, 0, closing[day]))


def revise(
    grid: Grid,
    group: Cadence,
    columns: NDArray[np.integer],
    first: int,
    until: int,
    revision: int,
    add_late: Callable[[], None],
    out: Results,
) -> None:
    """Evaluate slots from ``first`` to ``group.closed`` once more, and say what differs.

    Args:
        grid: the zone's.
        group: the cadence concerned.
        columns: its stations concerned.
        first: oldest slot that changes.
        until: newest slot that may be looked at.
        revision: of the rows that differ.
        add_late: puts late readings into the grid.
        out: takes what differs.
    """
    closed = group.closed
    start = (first - 1) // group.cadence * group.cadence - group.cadence  # a spike is judged one cell back
    old, ends = _windows(grid, group, columns, start, closed)
    hours = indices.hours_between(first - 1, closed)
    known = _indices(grid, group, columns, hours) if hours.size else None
    add_late()
    if known:
        now = _indices(grid, group, columns, hours)
        out.indexed += indices.rows(columns, now, known, revision)
    before, after, ended = _judge(grid, group, columns, start, closed, until)
    _store(grid, group, columns, ended, after)
    _say(columns, ended, after, before != after, revision, out)
    if not ends.size:
        return
    new, _ = _windows(grid, group, columns, start, closed)
    differs = (
        (old.sum != new.sum) | (old.count != new.count) | (old.filled != new.filled) | (old.suspect != new.suspect)
    )
    differs &= new.count > 0
    if differs.any():
        revisions = np.where(old.count > 0, revision, 0)
        out.means.append(Means(group, columns, new, ends, differs, revisions, None))


def _indices(grid: Grid, group: Cadence, columns: NDArray[np.integer], hours: I64) -> indices.Hours:
    return indices.evaluate(grid, group.scales, columns, group.cadence, hours, group.ozone)


def _judge(
    grid: Grid, group: Cadence, columns: NDArray[np.integer], first: int, last: int, until: int
) -> tuple[U8, U8, I64]:
    """Test the surroundings of the cells that end in (first, last], looking no further than ``until``.

    Returns:
        What was found before and what is found now, shape (cells, columns, 6), and the slots where cells end.
    """
    cadence = group.cadence
    start, stop = -(-first // cadence) * cadence, last // cadence * cadence
    seen = min(stop + LOOKAHEAD * cadence, until // cadence * cadence)
    ended: I64 = np.arange(start + cadence, stop + 1, cadence, dtype=np.int64)
    if not ended.size:
        none = np.zeros((0, columns.size, len(AIR.gridded)), np.uint8)
        return none, none, ended

    before_them = group.lookback // cadence
    low = start - before_them * cadence + 1
    sums, counts = (
        _cells(_columns(grid.layer(name, low, seen), columns), cadence, np.int64) for name in ("sums", "counts")
    )
    after = quality.cell_tests(sums, counts, before_them, group.limits, group.pm25_over_pm10)[: ended.size]
    before: U8 = _columns(grid.layer("found", start + 1, stop), columns)[cadence - 1 :: cadence].copy()
    return before, after, ended


def _store(grid: Grid, group: Cadence, columns: NDArray[np.integer], ended: I64, found: U8) -> None:
    """Keep what was found on every slot of its cell."""
    if not ended.size:
        return
    first, last = int(ended[0]) - group.cadence + 1, int(ended[-1])
    kept = grid.layer("found", first, last)
    if found.any() or kept.any():
        kept[:, columns] = np.repeat(found, group.cadence, axis=0)
        grid.touch(np.arange(first, last + 1))


def _windows(
    grid: Grid, group: Cadence, columns: NDArray[np.integer], first: int, last: int
) -> tuple[rolling.Windows, I64]:
    """Totals of the windows that end in (first, last], shape (6, windows, columns, ends), and their ends."""
    start, stop = group.floor(first), group.floor(last) if group.names else group.floor(first)
    ends: I64 = np.arange(start + group.step, stop + 1, group.step, dtype=np.int64)
    return grid.windows(ends, group.lengths, columns), ends


def _columns(layer: NDArray[Any], columns: NDArray[np.integer]) -> NDArray[Any]:
    """Select stations in rising order, as a view where they lie side by side."""
    if columns.size and columns[-1] - columns[0] == columns.size - 1:
        return layer[:, columns[0] : columns[-1] + 1]
    return layer.take(columns, 1)


def _cells(layer: NDArray[Any], slots: int, kind: type[np.integer]) -> NDArray[Any]:
    """Sum runs of ``slots`` slots, shape (slots / run, columns, 6)."""
    if slots == 1:
        return layer
    cells: NDArray[Any] = layer.reshape(-1, slots, *layer.shape[1:]).sum(axis=1, dtype=kind)
    return cells


def _say(
    columns: NDArray[np.integer], ended: I64, tests: U8, new: NDArray[np.bool_], revision: int, out: Results
) -> None:
    """Say what was found in cells, shape (cells, columns, 6), where it is new."""
    cell, station, parameter = np.nonzero(new)
    if cell.size:
        out.findings.append(
            Findings(
                columns[station].astype(np.int32),
                parameter.astype(np.int32),
                ended[cell],
                tests[new],
                np.full(cell.size, revision, np.int32),
            )
        )
