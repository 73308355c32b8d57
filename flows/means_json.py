"""The means of a step as JSON, station by station: what ``env.air.rolling.v1`` says of each.

A slot's means are a thousand numbers that somebody waits for. Their texts are made all at once, and joined.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.arrivals import F64, I64
from flows.evaluate import Means
from flows.kernels import rolling
from flows.rows import VALID, coverage
from schemas.reading import PARAMETERS

_encode = msgspec.json.Encoder().encode
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
        if one.closing is not None and one.ended.size:
            steps += _steps(one, one.closing)
    return sorted(steps, key=lambda step: step[:3])


def _steps(one: Means, closing: I64) -> Iterator[Step]:
    order = np.lexsort((one.window, one.parameter, one.station, one.ended, closing))
    step = np.stack([closing[order], one.ended[order], one.station[order]])
    parameter, window = one.parameter[order], one.window[order]
    new_step = _differs(step).any(axis=0)
    opening = np.where(new_step, 0, np.where(_differs(parameter), 1, 2))
    share = coverage(one)[order]
    texts = [b""] * (3 * order.size)
    texts[0::3] = _looked_up(
        _before(one.group.names), (opening * len(PARAMETERS) + parameter) * len(one.group.names) + window
    )
    texts[1::3] = _numbers(rolling.mean(one.total[order], one.count[order]))
    distinct, place = np.unique(share, return_inverse=True)
    texts[2::3] = _looked_up(_after(distinct), place)
    means = b"".join(texts).split(OPENED)[1:]
    for (number, ended, station), text in zip(step[:, new_step].T.tolist(), means, strict=True):
        yield Step(number, ended, station, msgspec.Raw(text + b"}}"))


@cache
def _before(windows: tuple[str, ...]) -> list[bytes]:
    """What stands before a mean: that opens a station, a pollutant, or neither; by pollutant; by window."""
    texts = []
    for opening in (OPENED.decode() + '{{"{0}":{{', '}},"{0}":{{', ","):
        for name in PARAMETERS:
            texts += [f'{opening.format(name)}"{window}":{{"mean":'.encode() for window in windows]
    return texts


def _after(shares: F64) -> list[bytes]:
    """What stands after a mean."""
    valid = [b"true" if share >= VALID else b"false" for share in shares.tolist()]
    return [b',"coverage":%b,"valid":%b}' % texts for texts in zip(_numbers(shares), valid, strict=True)]


def _numbers(values: F64) -> list[bytes]:
    """Texts of finite numbers, at least one."""
    return _encode(values.tolist())[1:-1].split(b",")


def _looked_up(texts: Sequence[bytes], places: NDArray[np.integer]) -> list[bytes]:
    return [texts[place] for place in places.tolist()]


def _differs(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where values, along the last axis, differ from those before them; the first does."""
    differs: NDArray[np.bool_] = np.ones(values.shape, bool)
    np.not_equal(values[..., 1:], values[..., :-1], out=differs[..., 1:])
    return differs
