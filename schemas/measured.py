"""What instruments send: the columns of each kind of reading, and where they go.

A reading's values are gridded or carried. Gridded values are flagged, averaged and kept in the state of a zone;
carried ones are stored with the reading and nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct


class Measured(NamedTuple):
    """A record whose values go on the minute grid.

    >>> AIR.values
    ('pm10', 'pm25', 'o3', 'no2', 'co', 'so2', 'temperature', 'humidity')
    """

    topic: str
    """Contract name of its topic."""
    table: str
    """Lake table of the readings accepted."""
    id_field: str
    """Field that names the instrument, and tells the kind of a record in a file."""
    gridded: tuple[str, ...]
    """Flagged, averaged, kept on the grid; in the order of the grid's parameters."""
    carried: tuple[str, ...] = ()
    """Stored with the reading only."""

    @property
    def values(self) -> tuple[str, ...]:
        """Every measured value, in the order of its columns everywhere."""
        return self.gridded + self.carried


class Instrument(NamedTuple):
    """What sends readings of a flow: a station, a sensor, a mast."""

    id: str
    lat: float
    lon: float
    every: int
    """Seconds between two readings."""
    zone: str


def as_sent(record: Struct) -> Struct:
    """Keep a record in the state as it was sent."""
    return record


class Recorded(NamedTuple):
    """A record with a time and no cell: a citizen's report, a patrol's answer.

    It is booked and refused as readings are, takes effect at the slot in which its time lies, and is stored once by its
    id. Its lake table's time column is the contract's field that holds its time.
    """

    topic: str
    table: str
    id_field: str
    time_field: str
    contract: type[Struct]
    retained: Callable[[Struct], Struct] = as_sent
    """What of it may stay in the state of a zone, and so in a recovery store."""


AIR = Measured(
    topic="env.air.reading.v1",
    table="air_readings",
    id_field="station_id",
    gridded=("pm10", "pm25", "o3", "no2", "co", "so2"),
    carried=("temperature", "humidity"),
)
"""PM in µg/m³, gases in ppm, °C, %."""
