"""What instruments send: the columns of each kind of reading, and where they go.

A reading's values are gridded or carried. Gridded values are flagged, averaged and kept in the state of a zone;
carried ones are stored with the reading and nothing else.
"""

from typing import NamedTuple


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


AIR = Measured(
    topic="env.air.reading.v1",
    table="air_readings",
    id_field="station_id",
    gridded=("pm10", "pm25", "o3", "no2", "co", "so2"),
    carried=("temperature", "humidity"),
)
"""PM in µg/m³, gases in ppm, °C, %."""
