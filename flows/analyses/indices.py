"""Air-quality indices of the hours that closed: rows of ``cai`` and ``aqi``, from the hourly means on the grid."""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.analyses.ozone_hours import OzoneHours
from flows.arrays import F64, I32, I64
from flows.kernels import cai, nowcast, rolling
from flows.resources import every_index, index
from flows.state.grid import Grid
from schemas.indices import Table
from schemas.measured import AIR

HOUR = 60
LOOKBACK = max(cai.LOOKBACK, nowcast.LOOKBACK) - 1
"""Hours before one that its indices rest on."""
REACH = (LOOKBACK + 1) * HOUR
"""Slots that an hour's indices rest on."""
VALID = 0.75
"""Share of an hour that values must cover for its mean to count."""
KOREA = "korea"
O3 = AIR.gridded.index("o3")

Columns = dict[str, NDArray[np.generic]]


@dataclass(slots=True)
class Rows:
    """Rows of ``cai`` or ``aqi``: n station-hours.

    Attributes:
        table: the lake's.
        station: column in the zone's grid, shape (n,).
        ended: slot, shape (n,).
        revision: shape (n,).
        columns: of the table, by name, shape (n,); texts as indices of what ``names`` of the column says.
    """

    table: str
    station: I32
    ended: I64
    revision: I32
    columns: Columns


@dataclass(slots=True)
class Hours:
    """Indices of some stations over a range of hours: each column of shape (stations, hours), and which rows exist."""

    ended: I64
    cai: Columns
    aqi: dict[tuple[str, str], Columns]
    """By index and parameter."""


class Scales:
    """The indices that are computed: Korea's, and every other that ships with numbers or grades.

    Args:
        version: of Korea's index; empty: its default.
        ozone: ``indices.ozone`` of the city file.
    """

    def __init__(self, version: str = "", ozone: str = "surrogate") -> None:
        self.korea: Table = index(KOREA).table(version)
        self.others = {name: one.table() for name, one in every_index().items() if name != KOREA}
        if ozone == "surrogate":
            self.others = {name: _with_surrogate(table) for name, table in self.others.items()}
        self.regression = any(
            scale.average == "nowcast_o3" for table in self.others.values() for scale in table.parameters.values()
        )
        """An index takes ozone's NowCast by its regression."""


def _with_surrogate(table: Table) -> Table:
    """Let the surrogate stand for ozone's NowCast."""
    scales = {
        name: msgspec.structs.replace(scale, average="surrogate_o3") if scale.average == "nowcast_o3" else scale
        for name, scale in table.parameters.items()
    }
    return msgspec.structs.replace(table, parameters=scales)


def names() -> list[str]:
    """Every index beside Korea's, in the order that rows count them."""
    return [name for name in every_index() if name != KOREA]


def hours_between(first: int, last: int) -> I64:
    """Ends of the hours in (first, last], as slots."""
    return np.arange(first // HOUR * HOUR + HOUR, last + 1, HOUR, dtype=np.int64)


def evaluate(
    grid: Grid,
    scales: Scales,
    columns: NDArray[np.integer],
    cadence: int,
    ended: I64,
    ozone: OzoneHours | None,
) -> Hours:
    """Evaluate consecutive hours of stations that share a cadence; the grid reaches back ``LOOKBACK`` hours.

    Args:
        grid: the zone's.
        scales: indices to compute.
        columns: the stations, in the grid.
        cadence: theirs, in slots.
        ended: the hours, as slots.
        ozone: hours of these stations that the grid no longer holds, for ``scales.regression``; takes these hours in.
    """
    means = _hourly(grid, columns, cadence, int(ended[0]) - (LOOKBACK + 1) * HOUR, int(ended[-1]))
    nowcast_o3 = ozone.nowcast(columns, ended, means[:, LOOKBACK:, O3]) if ozone else None
    korea = cai.rows(means, LOOKBACK, scales.korea)
    result = korea.result
    of_cai: Columns = {
        "exists": korea.exists,
        "cai": result.cai,
        "grade": result.grade,
        "main_parameter": result.main,
        "added": result.added,
        "over_range": result.over_range,
    }
    for i, name in enumerate(AIR.gridded):
        of_cai[f"{name}_24h" if name in cai.TURN else name] = korea.inputs[:, :, i]
        of_cai[f"index_{name}"] = result.index[:, :, i]
    for i, name in enumerate(cai.TURN):
        of_cai[f"missing_{name}"] = korea.missing[:, :, i]
    of_aqi = {}
    for name, table in scales.others.items():
        for parameter, rows in nowcast.rows(means, LOOKBACK, table, nowcast_o3).items():
            of_aqi[name, parameter] = {
                "exists": rows.exists,
                "concentration": rows.concentration,
                "aqi": rows.index,
                "grade": rows.grade,
                "missing": rows.missing,
                "over_range": rows.over_range,
            }
    return Hours(ended, of_cai, of_aqi)


def rows(columns: NDArray[np.integer], now: Hours, before: Hours | None, revision: int) -> list[Rows]:
    """Make rows of what exists; with ``before``, of what differs from it, as ``revision`` where it was there."""
    found = [_rows("cai", columns, now.ended, now.cai, before.cai if before else None, revision)]
    indices_by_name = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in now.aqi))}
    for (name, parameter), of in now.aqi.items():
        some = _rows("aqi", columns, now.ended, of, before.aqi[name, parameter] if before else None, revision)
        n = some.station.size
        some.columns["index_name"] = np.full(n, indices_by_name[name], np.int32)
        some.columns["parameter"] = np.full(n, AIR.gridded.index(parameter), np.int32)
        found.append(some)
    return [one for one in found if one.station.size]


def _rows(
    table: str, columns: NDArray[np.integer], ended: I64, now: Columns, before: Columns | None, revision: int
) -> Rows:
    wanted = now["exists"].astype(bool)
    if before is not None:
        wanted &= np.logical_or.reduce([_differ(now[name], before[name]) for name in now])
    station, hour = np.nonzero(wanted)
    known = before["exists"][station, hour].astype(bool) if before is not None else np.zeros(station.size, bool)
    return Rows(
        table,
        columns[station].astype(np.int32),
        ended[hour],
        np.where(known, revision, 0).astype(np.int32),
        {name: column[station, hour] for name, column in now.items() if name != "exists"},
    )


def _differ(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.bool_]:
    both_missing = (one != one) & (other != other)  # noqa: PLR0124, NaN alone differs from itself
    differs: NDArray[np.bool_] = (one != other) & ~both_missing
    return differs


def _hourly(grid: Grid, columns: NDArray[np.integer], cadence: int, first: int, last: int) -> F64:
    """Valid means of the hours in (first, last], shape (stations, hours, 6); NaN where too little is there."""
    assert grid.base is not None
    begin = max(first, -(-(grid.base - 1) // HOUR) * HOUR)
    means = valid_hours(grid, columns, cadence, begin, last)
    before = np.full(((begin - first) // HOUR, *means.shape[1:]), np.nan)
    return np.ascontiguousarray(np.concatenate([before, means]).transpose(1, 0, 2))


def valid_hours(grid: Grid, columns: NDArray[np.integer], cadence: int, first: int, last: int) -> F64:
    """Means of the hours in (first, last], shape (hours, stations, 6); NaN where values cover too little of one."""
    hours = grid.windows(hours_between(first, last), np.array([HOUR]), columns)
    covered = rolling.coverage(hours.filled[:, 0], cadence, HOUR)
    means = np.where(covered >= VALID, rolling.mean(hours.sum[:, 0], hours.count[:, 0]), np.nan)
    return means.transpose(2, 1, 0)
