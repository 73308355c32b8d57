"""A few readings of two stations, the partitions they come from, and when they came: for tests of what goes out."""

import numpy as np

from flows.decode.batch import InputPartition
from tests.support.zones import START

PARTS = [InputPartition("day-2.ndjson", 1), InputPartition("day-1.ndjson", 0), InputPartition("empty.ndjson", 2)]
RECEIVED = (START + 9999) * 1_000_000 + 7


def few_readings(make_readings):
    """Two stations for twenty minutes, with a duplicate, a partly new, a failing and an empty message; two partitions."""
    rows = [(s, START + 60 * m, {"pm10": 10.0 * m + s, "humidity": 50.0}) for m in range(1, 21) for s in (0, 1)]
    rows += [
        (0, START + 60, {"pm10": 10.0}),
        (0, START + 60, {"pm10": 1.0, "o3": 0.03}),
        (1, START + 59, {"pm25": 5000.0}),
        (1, START + 58, {}),
    ]
    readings = make_readings(rows)
    readings.part[:] = np.arange(len(rows)) % 2
    readings.status[3] = 1
    return readings
