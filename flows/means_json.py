"""The means of a step as JSON, station by station: what ``env.air.rolling.v1`` says of each.

A slot's means are a thousand numbers that somebody waits for. Their texts are made all at once, and joined.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.arrivals import F64, I64
from flows.kernels import rolling
from flows.means import Means
from flows.rows import VALID
from schemas.reading import PARAMETERS

_encode = msgspec.json.Encoder().encode
MOST_SHARES = 100_000
OPENED = b"\n"
"""Stands where a station begins, until all is joined; JSON without spaces has none."""


class Step(NamedTuple):
    """The newest means of a station at one step."""

    closing: int
    """Number of the closing among all of the zone."""
    ended: int
    """Slot that the windows end with."""
    station: int
    """Column in the zone's grid."""
    means: msgspec.Raw
    """By pollutant and window: ``{"pm10": {"1h": {"mean": 41.2, "coverage": 1.0, "valid": true}}}``."""


def newest_means(means: Iterable[Means]) -> list[Step]:
    """At each step the newest means of a station, as the steps closed.

    Only windows that close for the first time are sent; what late readings change is in the lake.
    """
    steps: list[Step] = []
    for one in means:
        if one.closings is not None:
            steps += _steps(one, one.closings)
    return sorted(steps, key=lambda step: step[:3])


def _steps(one: Means, closings: I64) -> Iterator[Step]:
    there = one.there.transpose(3, 2, 0, 1)  # by end, station, pollutant and window
    cell = np.flatnonzero(there)
    if not cell.size:
        return
    number, windows = there[0, 0].size, there.shape[-1]
    step, name = np.divmod(cell, number)
    new_step = _differs(step)
    opening = np.where(new_step, 0, np.where(_differs(cell // windows), 1, 2))
    parts = one.totals.sum, one.totals.count, one.totals.filled
    total, count, filled = (part.transpose(3, 2, 0, 1).reshape(-1)[cell] for part in parts)
    share = rolling.coverage(filled, one.group.cadence, one.group.lengths.astype(np.float64)[name % windows])
    before = _before(one.group.names)
    texts = [b""] * (3 * cell.size)
    texts[0::3] = [before[place] for place in (opening * number + name).tolist()]
    texts[1::3] = _numbers(rolling.mean(total, count))
    texts[2::3] = map(_AFTER.__getitem__, share.tolist())
    _AFTER.forget()
    means = b"".join(texts).split(OPENED)[1:]
    end, station = np.divmod(step[new_step], there.shape[1])
    steps = np.stack([closings[end], one.ends[end], one.columns[station]], axis=1)
    for (closing, ended, column), text in zip(steps.tolist(), means, strict=True):
        yield Step(closing, ended, column, msgspec.Raw(text + b"}}"))


@cache
def _before(windows: tuple[str, ...]) -> list[bytes]:
    """What stands before a mean: that opens a station, a pollutant, or neither; by pollutant; by window."""
    texts = []
    for opening in (OPENED.decode() + '{{"{0}":{{', '}},"{0}":{{', ","):
        for name in PARAMETERS:
            texts += [f'{opening.format(name)}"{window}":{{"mean":'.encode() for window in windows]
    return texts


class _After(dict[float, bytes]):
    """What stands after a mean, by the coverage of its window."""

    def __missing__(self, share: float) -> bytes:
        self[share] = text = b',"coverage":%b,"valid":%b}' % (_encode(share), b"true" if share >= VALID else b"false")
        return text

    def forget(self) -> None:
        """Keep memory bounded."""
        if len(self) > MOST_SHARES:
            self.clear()


_AFTER = _After()


def _numbers(values: F64) -> list[bytes]:
    """Texts of finite numbers, at least one."""
    return _encode(values.tolist())[1:-1].split(b",")


def _differs(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where values, along the last axis, differ from those before them; the first does."""
    differs: NDArray[np.bool_] = np.ones(values.shape, bool)
    np.not_equal(values[..., 1:], values[..., :-1], out=differs[..., 1:])
    return differs
