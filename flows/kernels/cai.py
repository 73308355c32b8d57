"""The Korean comprehensive air-quality index (CAI) of every station and hour, and the 24-hour mean of PM it rests on.

Sources: AirKorea's calculator page (C24E, the four required pollutants, the highest sub-index); air.incheon.go.kr (what
is added). Where they are silent, the constants say so: own-hour C12, hours that must be there, ties, and the end of the
scale are choices of this project. Whole µg/m³ of PM and unrounded gases: see ``config/indices/korea.toml``.
"""

from dataclasses import dataclass

import numpy as np

from flows.arrays import B1, F64
from flows.kernels import bands
from flows.kernels.bands import I8, I16, NO_GRADE, NONE, Bands
from schemas.indices import IndexTable
from schemas.measured import AIR

HOURS = 12
"""Hours of the mean, the newest among them."""
RECENT = 4
"""Hours of the adjusted mean, likewise."""
LOOKBACK = HOURS + RECENT - 1
"""Hours, the newest among them, that a predicted mean rests on: each recent hour is held against its own mean."""
NEED_HOURS, NEED_RECENT = 9, 3
"""Hours that must be there of each: three quarters, as no rule is published."""
TURN = {"pm10": 70.0, "pm25": 30.0}
"""From here on, in µg/m³, an hour near its mean counts as on its way down."""
NEAR_LOW, NEAR_HIGH = 0.9, 1.7
"""Near: an hour over its mean, both ends inside."""
SHARE = 0.75
"""What such an hour counts."""

REQUIRED = ("pm10", "pm25", "o3", "no2")
"""Without one of these there is no CAI."""
ORDER = ("pm25", "pm10", "o3", "no2", "co", "so2")
"""Which is the main pollutant of several with the same index; no rule is published."""
BAD = 3
"""Grade (나쁨) from which a pollutant counts for what is added."""
ADDED = (0, 0, 50, 75)
"""Added to the highest sub-index where that many pollutants are bad; the last holds for more."""
HIGHEST = 500
"""The scale ends here."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """24-hour predicted means and what they lack; each of shape (S, hours asked).

    Attributes:
        mean: µg/m³, unrounded; NaN where too many hours are missing.
        missing: hours missing of the last 12.
    """

    mean: F64
    missing: I8


@dataclass(frozen=True, slots=True)
class Cai:
    """Indices of stations and hours; shape (…), with a last axis of the six ``AIR.gridded`` where it says so.

    Attributes:
        cai: 0 to 500; ``NONE`` where a required pollutant is missing, and then so are the next three.
        grade: of ``cai``, 1 to 4; ``NO_GRADE``.
        main: the pollutant with the highest index, its place in ``AIR.gridded``; ``NONE``.
        added: 0, 50 or 75; ``NONE``.
        index: of each pollutant, shape (…, 6), 0 to 500; ``NONE``.
        over_range: a pollutant lies above its table, or the sum above 500; the index stays at 500.
    """

    cai: I16
    grade: I8
    main: I8
    added: I16
    index: I16
    over_range: B1


@dataclass(frozen=True, slots=True)
class CaiRows:
    """What the table ``cai`` holds, of S stations and the hours asked: the inputs, the result, what it lacks.

    Attributes:
        inputs: what was looked up, unrounded, shape (S, hours, 6): C24E of PM, hourly means of gases; NaN.
        missing: hours missing of the last 12 behind C24E of pm10 and of pm25, shape (S, hours, 2).
        result: shapes (S, hours) and (S, hours, 6).
        exists: a pollutant has an index: a row is worth keeping, shape (S, hours).
    """

    inputs: F64
    missing: I8
    result: Cai
    exists: B1


def rows(hours: F64, first: int, table: IndexTable) -> CaiRows:
    """Evaluate the hours from ``first`` on.

    Causal, final for the hours given, and the same to the last bit however hours are cut into calls, as long as
    ``hours`` reaches back ``LOOKBACK - 1`` hours before ``first``. Hours before it count as missing.

    Args:
        hours: valid hourly means, oldest first, shape (S, hours, 6), the six ``AIR.gridded`` last; NaN is missing.
        first: the first hour to evaluate.
        table: a version of the Korean index.
    """
    inputs = hours[:, first:].copy()
    missing = np.empty((*inputs.shape[:2], 2), np.int8)
    for i, parameter in enumerate(TURN):
        predicted = c24e(hours[:, :, AIR.gridded.index(parameter)], first, parameter)
        inputs[:, :, AIR.gridded.index(parameter)] = predicted.mean
        missing[:, :, i] = predicted.missing
    result = combine(inputs, bands.bands_of(table))
    return CaiRows(inputs, missing, result, (result.index != NONE).any(axis=-1))


def c24e(hours: F64, first: int, parameter: str) -> Predicted:
    """Predict the 24-hour mean of PM from twelve hours: ``(C12 + C4) / 2``.

    C12 is the mean of the last 12 hours; C4 that of the last 4, in which an hour at or above ``TURN`` and near its own
    C12 counts three quarters. Both are means of what is there, with at least 9 and 3 hours. Hours below 0 count as 0.

    Sums are taken hour by hour from the newest back, so that a result depends on its own 15 hours and on nothing else.

    Args:
        hours: hourly means in µg/m³, oldest first, shape (S, hours); NaN is missing.
        first: the first hour to predict.
        parameter: ``pm10`` or ``pm25``.

    >>> c24e(np.full((1, 15), 60.0), 14, "pm25").mean
    array([[52.5]])
    """
    asked = hours.shape[1] - first
    reach = min(first, LOOKBACK - 1)
    before = np.full((hours.shape[0], LOOKBACK - 1 - reach), np.nan)
    values = np.concatenate([before, bands.clean(hours[:, first - reach :])], axis=1)
    there = ~np.isnan(values)
    amounts = np.where(there, values, 0.0)

    wide = asked + RECENT - 1  # the recent hours of the first one asked, too
    total, count = np.zeros((hours.shape[0], wide)), np.zeros((hours.shape[0], wide), np.int8)
    for back in range(HOURS):
        stretch = slice(HOURS - 1 - back, HOURS - 1 - back + wide)
        total += amounts[:, stretch]
        count += there[:, stretch]
    own = amounts[:, HOURS - 1 :]
    # One division, so that a ratio of exactly 0.9 is told as such.
    ratio = np.divide(own * count, total, out=np.zeros_like(total), where=total > 0)
    near = (own >= TURN[parameter]) & (ratio >= NEAR_LOW) & (ratio <= NEAR_HIGH)
    adjusted = np.where(near, SHARE * own, own)

    recent, recents = np.zeros((hours.shape[0], asked)), np.zeros((hours.shape[0], asked), np.int8)
    for back in range(RECENT):
        stretch = slice(RECENT - 1 - back, RECENT - 1 - back + asked)
        recent += adjusted[:, stretch]
        recents += there[:, HOURS - 1 :][:, stretch]
    total, count = total[:, RECENT - 1 :], count[:, RECENT - 1 :]
    mean = np.full((hours.shape[0], asked), np.nan)
    enough = (count >= NEED_HOURS) & (recents >= NEED_RECENT)
    mean[enough] = (total[enough] / count[enough] + recent[enough] / recents[enough]) / 2
    return Predicted(mean, (HOURS - count).astype(np.int8))


def combine(inputs: F64, scales: dict[str, Bands]) -> Cai:
    """Make the index of its six inputs: the highest sub-index, and more where several pollutants are bad.

    Args:
        inputs: C24E of PM in µg/m³, hourly means of gases in ppm, shape (…, 6), ``AIR.gridded`` last; NaN is missing.
        scales: of each pollutant, from ``flows.kernels.bands.bands_of`` a Korean table.

    The worked example of 2020-10-28 10:00, 복정동, whose NO2 and PM2.5 are bad, is in ``tests/flows/kernels``.
    """
    tops = scales[AIR.gridded[0]].top
    index = np.empty(inputs.shape, np.int16)
    over = np.zeros(inputs.shape[:-1], bool)
    for i, parameter in enumerate(AIR.gridded):
        index[..., i] = bands.index(inputs[..., i], scales[parameter])
        over |= bands.beyond(inputs[..., i], scales[parameter])
    bad = (bands.grade_of(index, tops) >= BAD).sum(axis=-1)
    added = np.array(ADDED, np.int16)[np.minimum(bad, len(ADDED) - 1)]
    total = (index.max(axis=-1) + added).astype(np.int16)
    exists = (index[..., [AIR.gridded.index(parameter) for parameter in REQUIRED]] != NONE).all(axis=-1)
    order = np.array([AIR.gridded.index(parameter) for parameter in ORDER], np.int8)
    cai = np.where(exists, np.minimum(total, HIGHEST), NONE).astype(np.int16)
    return Cai(
        cai=cai,
        grade=np.where(exists, bands.grade_of(cai, tops), NO_GRADE).astype(np.int8),
        main=np.where(exists, order[index[..., order].argmax(axis=-1)], NONE).astype(np.int8),
        added=np.where(exists, added, NONE).astype(np.int16),
        index=index,
        over_range=over | (exists & (total > HIGHEST)),
    )
