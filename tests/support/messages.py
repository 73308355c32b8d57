"""What the tests of decoding share: a good message, ways to spoil it, and rows as plain data."""

import math
from datetime import UTC, datetime, timedelta

GOOD = b'{"station_id":"a","observed_at":"2026-03-01T09:00:00+09:00","pm10":41.0}'
MICROSECOND = timedelta(microseconds=1)
MARCH = (datetime(2026, 3, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def with_pm10(text):
    return GOOD.replace(b"41.0", text)


def with_time(text):
    return GOOD.replace(b"2026-03-01T09:00:00+09:00", text)


def with_status(text):
    return GOOD[:-1] + b',"status":' + text + b"}"


def with_unknown(text):
    return GOOD[:-1] + b',"firmware":' + text + b"}"


def rows_of(readings):
    """Rows as plain data, NaN as None, with the bytes each came from."""
    texts = readings.payloads.take(range(len(readings)))
    values = [[None if math.isnan(v) else v for v in row] for row in readings.values.tolist()]
    columns = (readings.station, readings.observed, readings.part, readings.offset)
    return list(zip(*(column.tolist() for column in columns), values, readings.status.tolist(), texts, strict=True))
