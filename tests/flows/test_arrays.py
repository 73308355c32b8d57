"""Arrow arrays against what pyarrow itself makes of the same values."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from flows import arrays

NAME = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")
TEXT = st.text(max_size=5)
VALUES = {
    pa.string(): TEXT,
    NAME: st.sampled_from(["pm10", "pm25", "µ"]),
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    TIME: st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
}


@given(st.data(), st.sampled_from(list(VALUES)))
def test_columns_of_plain_values_are_those_of_pyarrow(data, kind):
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=20))
    made = arrays.anything(values, kind)
    made.validate(full=True)
    assert made.type == kind
    assert made.to_pylist() == pa.array(values, kind).to_pylist() == values
    assert made.null_count == values.count(None)


@given(st.lists(st.lists(TEXT, max_size=3), max_size=6))
def test_lists_of_texts(values):
    made = arrays.anything(values, pa.list_(pa.string()))
    made.validate(full=True)
    assert made.to_pylist() == values


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.booleans()), max_size=20), st.sampled_from("idqh"))
def test_numbers_with_nulls(cells, letter):
    """Of every width, in memory of any stride."""
    values = np.zeros((len(cells), 2), letter)
    values[:, 1] = [number % 1000 for number, _ in cells]
    missing = np.array([null for _, null in cells], bool)
    kind = pa.from_numpy_dtype(values.dtype)
    made = arrays.numbers(values[:, 1], kind, missing)
    made.validate(full=True)
    assert made.to_pylist() == [
        None if null else value for value, null in zip(values[:, 1].tolist(), missing, strict=True)
    ]
    assert arrays.numbers(values[:, 1], kind).null_count == 0


@given(st.lists(st.booleans(), max_size=20))
def test_truth_values(values):
    assert arrays.flags(np.array(values, bool)).to_pylist() == values


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=10), st.data())
def test_names_by_their_code(codes, data):
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=len(codes), max_size=len(codes))), bool)
    made = arrays.named(arrays.texts(["a", "b", "µ"]), np.array(codes, np.int32), missing)
    made.validate(full=True)
    assert made.type == NAME
    expected = [None if null else "abµ"[code] for code, null in zip(codes, missing.tolist(), strict=True)]
    assert made.to_pylist() == expected


def test_bytes_stay_bytes():
    made = arrays.texts([b"\xff\x00", b""], pa.binary())
    made.validate(full=True)
    assert (made.type, made.to_pylist()) == (pa.binary(), [b"\xff\x00", b""])


@given(st.lists(st.none() | st.integers(-1000, 1000), max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_numbers_come_back_as_numpy_sees_them(values, offset, length):
    column = pa.array(values, pa.int64())[offset : offset + length]
    expected = values[offset : offset + length]
    if values:  # an empty array may come without memory
        assert arrays.plain(column, np.int64, -7).tolist() == [-7 if value is None else value for value in expected]
    assert arrays.valid(column).tolist() == [value is not None for value in expected]


def test_what_holds_no_null_is_not_copied():
    column = pa.array([1.5, 2.5])
    assert np.shares_memory(arrays.plain(column, np.float64), np.frombuffer(column.buffers()[1], np.float64))


def test_a_microsecond_before_1970():
    before = datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)
    [back] = arrays.anything([before], TIME).to_pylist()
    assert back == before
