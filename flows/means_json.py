"""The means of a step as JSON, station by station: what ``env.air.rolling.v1`` says of each.

A slot's means are a thousand numbers that somebody waits for. Their texts are made all at once, and joined.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np

from flows.arrivals import F64, I64
from flows.kernels import rolling
from flows.means import Means
from flows.rows import VALID
from schemas.reading import PARAMETERS

_encode = msgspec.json.Encoder().encode
MOST_SHARES = 100_000


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
    share = one.group.coverage(filled, cell % len(one.group.names))
    steps = np.flatnonzero(there.any(axis=1)).tolist()
    openings = [_openings(one.group.names, there[step].tobytes()) for step in steps]
    texts = [b""] * (3 * cell.size)
    texts[0::3] = chain.from_iterable(openings)
    texts[1::3] = _numbers(rolling.mean(total, count))
    texts[2::3] = map(_AFTER.__getitem__, share.tolist())
    _AFTER.forget()
    begin = 0
    for step, opening in zip(steps, openings, strict=True):
        means = msgspec.Raw(b"".join(texts[begin : begin + 3 * len(opening)]) + b"}}")
        begin += 3 * len(opening)
        end, station = divmod(step, stations)
        yield Step(int(closings[end]), int(one.ends[end]), int(one.columns[station]), means)


@lru_cache(1024)
def _openings(names: tuple[str, ...], there: bytes) -> list[bytes]:
    """What stands before each mean of a station.

    Args:
        names: of the windows.
        there: for each pollutant, and for each window of it, a byte that says whether its mean is there.
    """
    texts: list[bytes] = []
    for p, parameter in enumerate(PARAMETERS):
        some = [name for name, is_there in zip(names, there[p * len(names) :], strict=False) if is_there]
        for i, name in enumerate(some):
            opening = "," if i else f'{"}," if texts else "{"}"{parameter}":{{'
            texts.append(f'{opening}"{name}":{{"mean":'.encode())
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
