"""A Parquet file of readings."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.slots import SECOND_US, SLOT_S

BEGIN_S = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def parquet(path, minutes, stations=None, pm10=None, **options):
    """Write a reading of each minute after ``BEGIN_S``, of station a and with the minute as pm10 by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "station_id": pa.array(stations if stations is not None else ["a"] * len(minutes), pa.string()),
        "observed_at": pa.array([int((BEGIN_S + SLOT_S * m) * SECOND_US) for m in minutes], pa.timestamp("us", "UTC")),
        "pm10": pa.array([float(m) for m in minutes] if pm10 is None else pm10, pa.float64()),
    }
    pq.write_table(pa.table(table), path, **options)
    return path
