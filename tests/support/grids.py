"""Small grids with cells put in by hand, cadences that have fired, and what analyses see of them."""

from zoneinfo import ZoneInfo

import numpy as np

from flows.analyses.base import ZoneView
from flows.analyses.indices import IndexRows
from flows.analyses.quality import FlagRows
from flows.analyses.windows import window_rows
from flows.kernels import rolling
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from flows.state.records import Records
from schemas.measured import AIR
from schemas.quality import Flag

P = len(AIR.gridded)
START = 29_453_760
"""A slot: midnight of 2026 in UTC."""
SEOUL = ZoneInfo("Asia/Seoul")


def new_grid(instruments=2, behind=1000, ahead=2000):
    grid = Grid(AIR, list("abcdef"[:instruments]), behind, ahead)
    grid.move(START)
    return grid


def put(grid, rows, flag=Flag.GOOD):
    """Add rows of (column, minutes since the start, {parameter: value}), one by one."""
    for column, minute, measured in rows:
        quanta, flags = np.zeros((1, P), np.int64), np.full((1, P), Flag.MISSING, np.uint8)
        for name, value in measured.items():
            p = AIR.gridded.index(name)
            quanta[0, p], flags[0, p] = rolling.quantise(np.array([value]))[0], flag
        grid.add(np.array([column], np.int32), np.array([START + minute]), quanta, flags)


def cadence_of(every=60, columns=(0, 1), *, at=0, step=10, timezone=SEOUL):
    """A cadence that has fired and is evaluated up to a minute since the start."""
    cadence = Cadence(every, np.array(columns), step, timezone)
    cadence.restore((START + at, START + at, []))
    return cadence


def view_of(grid, *cadences, recorded=()):
    """What analyses see of the zone ``city``."""
    places = np.tile([35.2, 128.9], (len(grid.instruments), 1))
    return ZoneView("city", AIR, grid.instruments, places, grid, cadences, Records(recorded))


def newest_windows(results, known=None):
    """Newest row of each window by (column, parameter, length, minutes since the start): sum, count, filled, suspect."""
    newest = dict(known or {})
    for rows in window_rows(results.rows):
        if not rows.columns():
            continue
        names, totals = rows.columns()["window_length"].names, rows.totals
        columns = (rows.instrument, rows.parameter, rows.window, rows.ended - START)
        counted = (totals.sum, totals.count, totals.filled, totals.suspect)
        for s, p, w, ended, *row in zip(*(of.tolist() for of in columns + counted), strict=True):
            newest[s, AIR.gridded[p], names[w], ended] = tuple(row)
    return newest


def newest_flags(results, known=None):
    """Newest findings by (column, parameter, minutes since the start); one withdrawn is none."""
    newest = dict(known or {})
    for rows in results.rows:
        if isinstance(rows, FlagRows):
            columns = (rows.column, rows.parameter, rows.ended - START, rows.tests)
            for s, p, ended, tests in zip(*(column.tolist() for column in columns), strict=True):
                newest[s, AIR.gridded[p], ended] = tests
    return {key: tests for key, tests in newest.items() if tests}


def newest_indices(results, known=None):
    """Newest rows of ``cai`` and ``aqi`` by (table, column, minutes since the start, index, parameter)."""
    newest = dict(known or {})
    for rows in results.rows:
        if isinstance(rows, IndexRows):
            n = rows.size
            index, parameter = (
                rows.texts[name].code.tolist() if name in rows.texts else [-1] * n
                for name in ("index_name", "parameter")
            )
            values = {name: column.tolist() for name, column in rows.values.items()}
            for k, (s, ended) in enumerate(zip(rows.station.tolist(), (rows.ended - START).tolist(), strict=True)):
                row = tuple((name, str(column[k])) for name, column in sorted(values.items()))
                newest[rows.table, s, ended, index[k], parameter[k]] = row
    return newest
