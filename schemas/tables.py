"""Arrow schema of each lake table, and what its rows are.

A table is partitioned by ``dt``, the local date of (the row's time - 1 µs), so that hour 24 belongs to its day; the
column stands in the folder's name, not in the files. Times are UTC with zone, in microseconds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from schemas.measured import AIR
from schemas.rejected import REASONS

TIME = pa.timestamp("us", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
"""A text with few different values; plain strings in the file."""


DELTA_PACKED = "DELTA_BINARY_PACKED"
"""Parquet encoding of whole numbers that rise, or differ little from row to row."""
BYTE_SPLIT = "BYTE_STREAM_SPLIT"
"""Parquet encoding of numbers that hardly repeat: byte 0 of all rows, then byte 1 …, which packs better."""
RECORD_KEY = ("topic", "kpart", "koff")
"""Key of a table with a row for each message of an input."""
REJECTS_TABLE = "rejects"
"""Table of the messages that were refused."""
LEDGER_TABLE = "ledger"
"""Table of what became of all messages. A flow commits it last, and readers open it first, so none is behind it."""


class Storage(NamedTuple):
    """How the columns of a table are written to Parquet files, where the default would be larger or slower.

    Texts of type ``NAME`` always have a dictionary, the table's time always has statistics and a range. What is not
    named is written plainly: repeats are left to the compression.
    """

    dictionary: tuple[str, ...] = ()
    """Numbers of few different values. Looking each up costs more than writing other numbers does."""
    encodings: Mapping[str, str] = MappingProxyType({})
    """Parquet encoding of other columns."""
    statistics: tuple[str, ...] = ()
    """Columns by whose least and greatest value a reader may skip row groups."""
    ranges: tuple[str, ...] = ()
    """Columns by whose least and greatest value, kept in the Delta log, a reader may skip files; never null."""
    nullable: tuple[str, ...] | None = None
    """Columns that may hold nulls, so that the others are written without marks for them; None: all may."""


class Table(NamedTuple):
    """A lake table: what one row is, the time that dates it, the key its revisions share, its columns, its storage.

    A table of records, whose key is where a message stood, belongs to the one flow that takes this kind.
    """

    doc: str
    time: str
    key: tuple[str, ...]
    schema: pa.Schema
    storage: Storage = Storage()
    flow: str = "air"

    @property
    def revised(self) -> bool:
        """Whether rows may be replaced by a higher ``revision``."""
        return "revision" in self.schema.names


def _schema(*fields: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, kind, doc in fields])


GASES = ("o3", "no2", "co", "so2")
UNITS = {"pm10": "µg/m³", "pm25": "µg/m³", "temperature": "°C", "humidity": "%"}
ORIGIN = (
    ("topic", NAME, "input topic, or the file's path"),
    ("kpart", pa.int32(), "its partition, or the file's order of appearance"),
    ("koff", pa.int64(), "offset in it, or the index of the reading in the file"),
)

TABLES: dict[str, Table] = {
    "air_readings": Table(
        "a reading accepted, its values as sent",
        "observed_at",
        RECORD_KEY,
        _schema(
            ("zone", NAME, "zone of the station"),
            ("station_id", NAME, "station"),
            ("observed_at", TIME, "end of the interval the values cover"),
            ("received_at", TIME, "when it reached the pipeline"),
            *(
                (
                    v,
                    pa.float64(),
                    f"{UNITS.get(v, 'ppm')}; null: not measured, unreadable, a sentinel, or its second already taken",
                )
                for v in AIR.values
            ),
            *(
                (f"flag_{p}", pa.int8(), f"QARTOD flag of {p} from its own range and the instrument's status")
                for p in AIR.gridded
            ),
            ("notes", pa.string(), "how each value that was no plain number was taken; null: every value was one"),
            *ORIGIN,
        ),
        Storage(
            dictionary=AIR.values,
            encodings={"koff": DELTA_PACKED},
            statistics=("station_id", "koff"),
            ranges=("koff", "station_id"),
            nullable=(*AIR.values, "notes"),
        ),
    ),
    "flags": Table(
        "what a test of a value's surroundings found; only where not good",
        "ended_at",
        ("station_id", "parameter", "ended_at"),
        _schema(
            ("zone", NAME, "zone of the station"),
            ("station_id", NAME, "station"),
            ("parameter", NAME, "pollutant"),
            ("ended_at", TIME, "end of the cadence the value stands for"),
            ("flag", pa.int8(), "QARTOD flag: 3 suspect; 1 withdraws an earlier 3"),
            ("tests", NAME, "names of the tests, joined by commas"),
            ("revision", pa.int32(), "grows with each re-evaluation; the highest holds"),
        ),
        Storage(statistics=("station_id", "parameter", "revision"), ranges=("revision", "station_id")),
    ),
    "rolling": Table(
        "a rolling window of one station and parameter",
        "ended_at",
        ("station_id", "parameter", "window_length", "ended_at"),
        _schema(
            ("zone", NAME, "zone of the station"),
            ("station_id", NAME, "station"),
            ("parameter", NAME, "pollutant"),
            ("window_length", NAME, "10m, 1h, 8h, 24h, or as the city file says"),
            ("ended_at", TIME, "end of the window; it holds what ended in (ended_at - window_length, ended_at]"),
            (
                "mean",
                pa.float64(),
                "mean of the slots that hold a value, each by the mean of its values, in their unit",
            ),
            ("count", pa.int32(), "values in the mean"),
            ("expected", pa.int32(), "values a complete window would hold"),
            ("coverage", pa.float64(), "share of the window that values cover, 0 to 1"),
            ("suspect", pa.int32(), "values in the mean that some test suspects"),
            ("valid", pa.bool_(), "coverage of at least 0.75, and at most a tenth of the values failed on one side"),
            ("why_invalid", NAME, "coverage, failed_below, failed_above, joined by commas; null where valid"),
            ("revision", pa.int32(), "0 when first closed; grows with each re-evaluation; the highest holds"),
        ),
        Storage(
            dictionary=("coverage",),
            encodings={"mean": BYTE_SPLIT, "count": DELTA_PACKED},
            statistics=("station_id", "parameter", "revision"),
            ranges=("revision", "station_id"),
            nullable=("why_invalid",),
        ),
    ),
    "cai": Table(
        "an hour of one station: Korea's index and what explains it",
        "ended_at",
        ("station_id", "ended_at"),
        _schema(
            ("zone", NAME, "zone of the station"),
            ("station_id", NAME, "station"),
            ("ended_at", TIME, "end of the hour"),
            ("cai", pa.int16(), "0 to 500; null where PM10, PM2.5, O3 or NO2 is missing, and so are the next three"),
            ("grade", pa.int8(), "of cai: 1 good, 2 moderate, 3 unhealthy, 4 very unhealthy"),
            ("main_parameter", NAME, "pollutant with the highest index"),
            ("added", pa.int16(), "added because two (50), three or more (75) pollutants are unhealthy"),
            ("over_range", pa.bool_(), "a value lies above its table, or the sum above 500"),
            ("pm10_24h", pa.float64(), "C24E, 24-hour predicted mean, µg/m³, unrounded"),
            ("pm25_24h", pa.float64(), "likewise"),
            *((gas, pa.float64(), "mean of the hour, ppm; null below 75 % coverage") for gas in GASES),
            *((f"index_{p}", pa.int16(), f"index of {p}") for p in AIR.gridded),
            ("missing_pm10", pa.int8(), "hours missing of the last 12 behind pm10_24h"),
            ("missing_pm25", pa.int8(), "likewise"),
            ("revision", pa.int32(), "0 when first closed; grows with each re-evaluation; the highest holds"),
        ),
        Storage(dictionary=GASES, statistics=("station_id", "revision"), ranges=("revision", "station_id")),
    ),
    "aqi": Table(
        "an hour of one station and pollutant on another scale, such as the US index of 2024",
        "ended_at",
        ("station_id", "index_name", "parameter", "ended_at"),
        _schema(
            ("zone", NAME, "zone of the station"),
            ("station_id", NAME, "station"),
            ("index_name", NAME, "name of its file in config/indices"),
            ("parameter", NAME, "pollutant"),
            ("ended_at", TIME, "end of the hour"),
            ("concentration", pa.float64(), "what was graded, unrounded: NowCast, or a mean as the index says"),
            ("aqi", pa.int16(), "the index; null where the scale has grades only"),
            ("grade", pa.int8(), "1 the best"),
            (
                "missing",
                pa.int16(),
                "hours missing behind the concentration; of 336 with ozone's regression: above 84 it is the surrogate",
            ),
            ("over_range", pa.bool_(), "above the last band"),
            ("revision", pa.int32(), "0 when first closed; grows with each re-evaluation; the highest holds"),
        ),
        Storage(statistics=("station_id", "parameter", "revision"), ranges=("revision", "station_id")),
    ),
    "alerts": Table(
        "a stage that a zone's alert reached; history, never revised",
        "ended_at",
        ("alert_id",),
        _schema(
            ("alert_id", pa.string(), "names the alert by the hour it began, and the message by the hours since"),
            ("zone", NAME, "zone"),
            ("parameter", NAME, "pm10, pm25 or o3"),
            ("kind", NAME, "official: reference stations by the province's rule; early_sign: low-cost monitors"),
            ("stage", NAME, "none, advisory, warning or serious"),
            ("ended_at", TIME, "end of the hour that decided"),
            ("value", pa.float64(), "what was compared with the levels: PM in µg/m³, ozone in ppm"),
            ("stations", pa.list_(pa.string()), "whose values went into it"),
        ),
        Storage(statistics=("parameter",)),
    ),
    "light_states": Table(
        "what a light was told; history, never revised",
        "as_of",
        ("light_id", "seq"),
        _schema(
            ("light_id", NAME, "light"),
            ("seq", pa.int64(), "rises with every state of this light"),
            ("color", NAME, "blue, green, yellow, red or gray"),
            ("grade", pa.int8(), "1 to 4; null: gray"),
            ("parameter", NAME, "which of PM10 and PM2.5 decided; null: gray"),
            ("pm10", pa.float64(), "shown, µg/m³; null: gray"),
            ("pm25", pa.float64(), "likewise"),
            ("as_of", TIME, "end of the air that was judged"),
            ("valid_until", TIME, "gray from here on, unless a newer state came"),
            ("stations", pa.list_(pa.string()), "whose air it is"),
            ("coverage", pa.float64(), "share of the hour that values cover; null: gray"),
            ("reason", pa.string(), "why"),
            ("text", pa.string(), "beside the color: alerts, words of people; null: none"),
            ("o3", pa.float64(), "one-hour mean of the same station, ppm; null: gray, or not measured"),
            ("temperature", pa.float64(), "likewise, °C"),
            ("humidity", pa.float64(), "likewise, %"),
        ),
        Storage(dictionary=("pm10", "pm25", "coverage", "o3", "temperature", "humidity"), statistics=("parameter",)),
    ),
    REJECTS_TABLE: Table(
        "a message refused, a duplicate, or one too late",
        "received_at",
        RECORD_KEY,
        _schema(
            ("flow", NAME, "which refused it"),
            *ORIGIN,
            ("received_at", TIME, "when it reached the pipeline"),
            ("reason", NAME, f"why: {', '.join(REASONS)}"),
            ("detail", pa.string(), "the field's path and what was expected"),
            ("payload", pa.binary(), "the original bytes, at most 64 KiB of them"),
        ),
        Storage(encodings={"koff": DELTA_PACKED}, statistics=("koff",), ranges=("koff",)),
    ),
    LEDGER_TABLE: Table(
        "an epoch of one flow's input partition",
        "received_at",
        ("flow", "topic", "kpart", "first_offset"),
        _schema(
            ("flow", NAME, "whose epoch it is"),
            ("topic", NAME, "input topic, or the file's path"),
            ("kpart", pa.int32(), "its partition, or the file's order of appearance"),
            ("first_offset", pa.int64(), "first offset taken in the epoch"),
            ("last_offset", pa.int64(), "last offset taken in the epoch"),
            ("received", pa.int64(), "messages judged: stored + rejected + duplicate + too_late"),
            ("stored", pa.int64(), "rows in tables of readings and records"),
            ("rejected", pa.int64(), "rows of rejects but duplicates and those too late; superseded among them"),
            ("duplicate", pa.int64(), "messages whose every value was already taken"),
            ("too_late", pa.int64(), "readings from before the horizon"),
            ("other", pa.int64(), "messages that another flow takes; they are in no other count"),
            ("gap", pa.int64(), "offsets that the broker does not have"),
            ("waiting", pa.int64(), "taken but not yet judged at the epoch's end: readings ahead of the clock"),
            ("received_at", TIME, "when the epoch's last message reached the pipeline"),
        ),
    ),
}


def record_tables() -> dict[str, str]:
    """Tables whose rows are accepted records, with the flow that takes them.

    To each flow, a message is a row of one of its tables or of ``rejects``, or is passed over.

    >>> record_tables()
    {'air_readings': 'air'}
    """
    return {name: table.flow for name, table in TABLES.items() if table.key == RECORD_KEY and name != REJECTS_TABLE}
