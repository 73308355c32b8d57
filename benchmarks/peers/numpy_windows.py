"""One process: rolling means by a plain numpy kernel, the limit of doing it in Python; see ``windows.py``.

The one way: values onto a grid, sums of whole steps, cumulated sums, differences, and Parquet as our own writer sets
it. No duplicates, no quality, no late readings; one station is assumed to send one reading a minute.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.peers.windows import PARAMETERS, WINDOWS, ZSTD_LEVEL, main

MINUTE = 60_000_000
DAY = 1440
NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("station_id", NAME),
        ("parameter", NAME),
        ("window_length", NAME),
        ("ended_at", pa.timestamp("us", tz="UTC")),
        ("mean", pa.float64()),
        ("count", pa.int32()),
        ("coverage", pa.float64()),
    ]
)


def kernel(table: Path, step: int, out: Path) -> None:
    """Read, sum, cumulate, write a day at a time."""
    readings = pq.read_table(table, columns=["station_id", "observed_at", *PARAMETERS], read_dictionary=["station_id"])
    station = readings["station_id"].unify_dictionaries().combine_chunks()
    names = station.dictionary
    index = station.indices.to_numpy()
    slot = -(-readings["observed_at"].cast(pa.int64()).to_numpy() // MINUTE)
    first = (int(slot.min()) - 1) // step * step
    length = -(-(int(slot.max()) - first) // step)
    shape = (len(PARAMETERS), len(names), length * step)
    values = np.full(shape, np.nan)
    for p, parameter in enumerate(PARAMETERS):
        values[p, index, slot - first - 1] = readings[parameter].to_numpy()
    have = ~np.isnan(values)
    values[~have] = 0
    stepped = (*shape[:2], length, step)
    sums = _cumulated(values.reshape(stepped).sum(axis=3))
    counts = _cumulated(have.reshape(stepped).sum(axis=3, dtype=np.int32))
    ends = first + step * np.arange(1, length + 1)
    dictionary = [column for column in SCHEMA.names if column != "mean"]
    with pq.ParquetWriter(
        out,
        SCHEMA,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=dictionary,
        column_encoding={"mean": "BYTE_STREAM_SPLIT"},
    ) as writer:
        a_day = DAY // step
        for start in range(0, length, a_day):
            writer.write_table(_rows(sums, counts, ends, range(start, min(start + a_day, length)), step, names))


def _cumulated(steps: NDArray[Any]) -> NDArray[Any]:
    total = np.zeros((*steps.shape[:2], steps.shape[2] + 1), steps.dtype)
    np.cumsum(steps, axis=2, out=total[:, :, 1:])
    return total


def _rows(
    sums: NDArray[Any],
    counts: NDArray[Any],
    ends: NDArray[np.int64],
    span: range,
    step: int,
    names: pa.Array,
) -> pa.Table:
    """Rows of some ends, shape (parameter, window, station, end) laid flat."""
    upper = np.arange(span.start + 1, span.stop + 1)
    lower = np.stack([np.maximum(upper - minutes // step, 0) for minutes in WINDOWS.values()])
    total = (sums[:, :, None, upper] - sums[:, :, lower]).transpose(0, 2, 1, 3)
    count = (counts[:, :, None, upper] - counts[:, :, lower]).transpose(0, 2, 1, 3)
    index: list[NDArray[Any]] = [axis.ravel() for axis in np.indices(count.shape, np.int32)]
    total, count = total.ravel(), count.ravel()
    if not count.all():
        some = np.flatnonzero(count)
        total, count, index = total[some], count[some], [axis[some] for axis in index]
    p, w, s, e = index
    lengths = np.array(list(WINDOWS.values()))
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(s), names.cast(pa.string())),
        pa.DictionaryArray.from_arrays(pa.array(p), pa.array(PARAMETERS)),
        pa.DictionaryArray.from_arrays(pa.array(w), pa.array(list(WINDOWS))),
        pa.array(ends[span.start : span.stop][e] * MINUTE).cast(SCHEMA.field("ended_at").type),
        pa.array(total / count),
        pa.array(count),
        pa.array(np.minimum(1.0, count / lengths[w])),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


if __name__ == "__main__":
    main({"kernel": kernel})
