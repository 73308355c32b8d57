"""Arrow arrays from numpy's memory and from texts, as they stand.

``pyarrow.array`` would do, but it looks for pandas first, and importing that takes longer than a short run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any], kind: pa.DataType, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Wrap numbers of the type's width; null where ``missing``.

    >>> numbers(np.array([1.0, np.nan]), pa.float64(), np.array([False, True])).to_pylist()
    [1.0, None]
    """
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing is not None and missing.any() else None
    return pa.Array.from_buffers(kind, values.size, [valid, pa.py_buffer(np.ascontiguousarray(values))])


def flags(values: NDArray[np.bool_]) -> pa.Array:
    """Wrap truth values."""
    packed = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, packed])


def texts(values: Sequence[str] | Sequence[bytes], kind: pa.DataType | None = None) -> pa.Array:
    """Join texts, or bytes with ``kind`` binary.

    >>> texts(["10m", "µg"]).to_pylist()
    ['10m', 'µg']
    """
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    ends = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(value) for value in encoded], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind or pa.string(), len(encoded), buffers)


def named(names: pa.Array, index: NDArray[np.int32]) -> pa.DictionaryArray:
    """Texts by their index among ``names``."""
    return pa.DictionaryArray.from_arrays(numbers(index, pa.int32()), names)


def plain(column: pa.Array, kind: type[np.generic], null: float = 0) -> NDArray[Any]:
    """Numbers as numpy sees them in Arrow's memory, read only; a copy with ``null`` where some are null.

    >>> plain(pa.array([1, 2, 3])[1:], np.int64)
    array([2, 3])
    >>> plain(pa.array([1.5, None]), np.float64, np.nan)
    array([1.5, nan])
    """
    buffer = column.buffers()[1]
    values = np.frombuffer(buffer, kind)[column.offset : column.offset + len(column)]
    return np.where(valid(column), values, kind(null)) if column.null_count else values


def valid(column: pa.Array) -> NDArray[np.bool_]:
    """Whether each element is there.

    >>> valid(pa.array([1, None, 3])[1:])
    array([False,  True])
    """
    bits = column.buffers()[0]
    if bits is None or not column.null_count:
        return np.ones(len(column), bool)
    whole = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return whole[column.offset : column.offset + len(column)].astype(bool)
