"""The means of a step as JSON, station by station: what ``env.air.rolling.v1`` says of each.

A slot's means are a thousand numbers that somebody waits for. Their texts are made all at once, and joined.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from flows.analyses.windows import Means
from flows.arrays import F64, I64
from flows.kernels import rolling
from flows.outputs.lake_rows import VALID
from schemas.measured import AIR

_encode = msgspec.json.Encoder().encode


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
    order = (3, 2, 0, 1)  # by end, station, pollutant and window
    ends, stations = one.there.transpose(order).shape[:2]
    there = np.ascontiguousarray(one.there.transpose(order)).reshape(ends * stations, -1)
    cell = np.flatnonzero(there)
    if not cell.size:
        return
    total = one.totals.sum.transpose(order).reshape(-1)[cell]
    count, filled = (part.transpose(order).reshape(-1)[cell] for part in (one.totals.count, one.totals.filled))
    names = one.group.names
    shares = one.group.coverage(filled, cell % len(names))
    numbers = _numbers(rolling.mean(total, count))
    here, of_mean = there.tobytes(), shares.tobytes()
    columns, closing_of, ended_of = one.columns.tolist(), closings.tolist(), one.ends.tolist()
    cuts = np.cumsum(np.count_nonzero(there, axis=1)).tolist()
    width = there.shape[1]
    for step, (begin, until) in enumerate(pairwise([0, *cuts])):
        if begin < until:
            frame = _frame(names, here[step * width : step * width + width], of_mean[8 * begin : 8 * until])
            end, station = divmod(step, stations)
            means = msgspec.Raw(frame % tuple(numbers[begin:until]))
            yield Step(closing_of[end], ended_of[end], columns[station], means)


@lru_cache(4096)
def _frame(names: tuple[str, ...], there: bytes, shares: bytes) -> bytes:
    """A station's means without the numbers, for which it has a ``%b`` each; most are like the step's before.

    Args:
        names: of the windows.
        there: for each pollutant, and for each window of it, a byte that says whether its mean is there.
        shares: the coverage of those, as 64-bit floats.
    """
    afters = map(_after, np.frombuffer(shares).tolist())
    return b"".join(chain.from_iterable(zip(_openings(names, there), afters, strict=True))) + b"}}"


@lru_cache(1024)
def _openings(names: tuple[str, ...], there: bytes) -> list[bytes]:
    """Each mean and what stands before it."""
    texts: list[bytes] = []
    for p, parameter in enumerate(AIR.gridded):
        some = [name for name, is_there in zip(names, there[p * len(names) :], strict=False) if is_there]
        for i, name in enumerate(some):
            opening = "," if i else f'{"}," if texts else "{"}"{parameter}":{{'
            texts.append(f'{opening}"{name}":{{"mean":%b'.encode())
    return texts


@lru_cache(65_536)
def _after(share: float) -> bytes:
    """What stands after a mean, by the coverage of its window."""
    return b',"coverage":%b,"valid":%b}' % (_encode(share), b"true" if share >= VALID else b"false")


def _numbers(values: F64) -> list[bytes]:
    """InMemory of finite numbers, at least one."""
    return _encode(values.tolist())[1:-1].split(b",")
