"""Lines of an invented city: as columns, as text on the wire, as a table, and as garbage."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import B1, F64, I64
from schemas.measured import AIR
from schemas.rejected import Reason
from schemas.slots import EPOCH

READING, DUPLICATE, FUTURE, BROKEN = range(4)
"""What a line is: a reading that counts, a second copy, one from a clock that runs ahead, or garbage."""

TABLE = pa.schema(
    [
        ("station_id", pa.dictionary(pa.int32(), pa.string())),
        ("observed_at", pa.timestamp("us", tz="UTC")),
        *((name, pa.float64()) for name in AIR.values),
        ("status", pa.int64()),
    ]
)
"""Readings as columns, with the wire's field names."""


class _WireReading(msgspec.Struct):
    """A message of ``env.air.reading.v1`` in the wire's field order, its time as text; NaN is written as null."""

    station_id: str
    observed_at: str
    pm10: float
    pm25: float
    o3: float
    no2: float
    co: float
    so2: float
    temperature: float
    humidity: float
    status: int = 0


@dataclass(slots=True)
class SimulatedLines:
    """Lines in the order they arrive: columns of n rows.

    Attributes:
        station: index into the city's stations, shape (n,).
        observed: end of the interval by the instrument's clock, microseconds since 1970 UTC, shape (n,).
        arrival: when the line reaches the pipeline, microseconds since 1970 UTC, shape (n,).
        values: in the order of ``AIR.values``, shape (n, 8); NaN where not measured.
        role: ``READING``, ``DUPLICATE``, ``FUTURE`` or ``BROKEN``, shape (n,).
        late: whether an outage delayed the line, shape (n,).
        broken: (reason of refusal, bytes) of a line of garbage, else None; shape (n,).

    """

    station: I64
    observed: I64
    arrival: I64
    values: F64
    role: NDArray[np.int8]
    late: B1
    broken: NDArray[np.object_]

    def take(self, rows: I64 | B1) -> "SimulatedLines":
        """Return these rows."""
        return SimulatedLines(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def joined(cls, runs: "Sequence[SimulatedLines]") -> "SimulatedLines":
        """Return runs of lines one after another."""
        return cls(*(np.concatenate([getattr(run, column.name) for run in runs]) for column in fields(cls)))


def utc_time(microseconds: int) -> datetime:
    """Time so many microseconds after 1970, in UTC.

    >>> utc_time(1_500_000).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return EPOCH + timedelta(microseconds=microseconds)


def encode(lines: SimulatedLines, ids: Sequence[str], zone: tzinfo) -> list[bytes]:
    """Encode lines as JSON of the wire, times in ``zone``, without line ends."""
    moments, which = np.unique(lines.observed, return_inverse=True)
    times = [utc_time(int(at)).astimezone(zone).isoformat() for at in moments]
    names = map(ids.__getitem__, lines.station.tolist())
    records = map(_WireReading, names, map(times.__getitem__, which.tolist()), *(v.tolist() for v in lines.values.T))
    texts = list(map(msgspec.json.Encoder().encode, records))
    for row in np.flatnonzero(lines.role == BROKEN):
        texts[row] = lines.broken[row][1]
    return texts


def to_table(lines: SimulatedLines, ids: Sequence[str]) -> pa.Table:
    """Return readings as an Arrow table of the schema ``TABLE``; nulls where not measured."""
    station = pa.DictionaryArray.from_arrays(pa.array(lines.station, pa.int32()), pa.array(ids))
    values = [pa.array(column, from_pandas=True) for column in lines.values.T]
    status = pa.array(np.zeros(lines.role.size, np.int64))
    observed = pa.array(lines.observed, TABLE.field("observed_at").type)
    return pa.Table.from_arrays([station, observed, *values, status], schema=TABLE)


def corrupt(text: bytes, draw: np.random.Generator) -> tuple[Reason, bytes]:
    """Turn a valid line into one that a pipeline must refuse; return the reason of refusal and the bytes.

    >>> corrupt(b'{"station_id":"a","pm10":12.5}', np.random.default_rng(1))
    ('contract', b'{"station_id":"a","pm10":1.0}')
    """
    match int(draw.integers(7)):
        case 0:
            noise = draw.integers(0, 256, int(draw.integers(8, 200)), dtype=np.uint8).tobytes()
            return "undecodable", b"\xff" + noise.replace(b"\n", b"?").replace(b"\r", b"?")
        case 1:
            return "undecodable", text[: int(draw.integers(1, len(text) - 1))]
        case 2:
            return "unknown_station", msgspec.json.encode(
                msgspec.json.decode(text) | {"station_id": f"nobody-{int(draw.integers(100)):02d}"}
            )
        case 3:
            return "contract", msgspec.json.encode({"station_id": msgspec.json.decode(text)["station_id"], "pm10": 1.0})
        case kind:
            wrong = [("observed_at", "yesterday"), ("observed_at", "2026-11-22T09:31:00"), ("station_id", 7)]
            return "contract", msgspec.json.encode(msgspec.json.decode(text) | dict([wrong[kind - 4]]))
