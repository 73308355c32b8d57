"""Numbers as files write them: a column of texts at once."""

from collections.abc import Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.arrays import B1, F64


def to_floats(texts: list[str], missing: Set[str] = frozenset()) -> tuple[F64, B1]:
    """Read texts as numbers.

    Args:
        texts: n of them.
        missing: those that mean *no number*.

    Returns:
        The numbers, NaN where missing or unreadable, and which texts cannot be read; both of shape (n,).

    >>> to_floats(["1e3", "NA", "abc"], {"NA"})
    (array([1000.,   nan,   nan]), array([False, False,  True]))
    """
    absent = np.fromiter((text in missing for text in texts), bool, len(texts))
    try:
        array = pc.cast(pa.array(texts, pa.string(), mask=absent), pa.float64())
        values = np.array(array.to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowInvalid:  # a single bad text fails the whole cast
        values = np.fromiter(map(_number, texts), np.float64, len(texts))
    unreadable = ~np.isfinite(values) & ~absent
    values[unreadable | absent] = np.nan
    return values, unreadable


def _number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan
