"""Arrow arrays from numpy's memory and from texts, as they stand.

``pyarrow.array`` would do, but it looks for pandas first, and importing that takes longer than a short run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.slots import micros

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
B1 = NDArray[np.bool_]
Objects = NDArray[np.object_]
Whole = NDArray[np.integer]
"""Whole numbers of any width."""


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


def named(names: pa.Array, index: NDArray[np.int32], missing: NDArray[np.bool_] | None = None) -> pa.DictionaryArray:
    """Make texts by their index among ``names``; null where ``missing``."""
    return pa.DictionaryArray.from_arrays(numbers(index, pa.int32(), missing), names)


def anything(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Make a short column of plain values, None among them: texts, lists of texts, numbers and times.

    >>> anything(["a", None, "a"], pa.dictionary(pa.int32(), pa.string())).to_pylist()
    ['a', None, 'a']
    >>> anything([["a", "b"], []], pa.list_(pa.string())).to_pylist()
    [['a', 'b'], []]
    """
    missing = np.array([value is None for value in values])
    if pa.types.is_dictionary(kind):
        names = sorted({value for value in values if value is not None})
        index = np.array([names.index(value) if value is not None else 0 for value in values], np.int32)
        return named(texts(names), index, missing)
    if pa.types.is_list(kind):
        ends = np.cumsum([0, *(len(value) for value in values)]).astype(np.int32)
        inside = texts([text for value in values for text in value])
        return pa.ListArray.from_arrays(numbers(ends, pa.int32()), inside)
    if pa.types.is_string(kind):
        return texts_or_null(values, missing)
    if pa.types.is_timestamp(kind):
        shared = {id(value): value for value in values}  # rows of one slot share its time
        since = {key: 0 if value is None else micros(value) for key, value in shared.items()}
        return numbers(np.array([since[id(value)] for value in values], np.int64), kind, missing)
    plain_kind = kind.to_pandas_dtype()
    return numbers(np.array([0 if value is None else value for value in values], plain_kind), kind, missing)


def texts_or_null(values: Sequence[str | None], missing: NDArray[np.bool_]) -> pa.Array:
    """Join texts; null where ``missing``."""
    whole = texts([value or "" for value in values])
    valid_bits = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pa.Array.from_buffers(pa.string(), len(values), [valid_bits, *whole.buffers()[1:]])


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
