"""Input contract of air readings, and the types that every contract is made of.

JSON objects in UTF-8. Unknown fields are ignored, so newer firmware is welcome: add fields at will, each with a
default; never retype one. Times are RFC 3339 with an offset and mark the **end** of the interval a value covers.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset; the end of the interval")]
Micrograms = Annotated[float, Meta(description="µg/m³")]
Ppm = Annotated[float, Meta(description="ppm")]
Status = Annotated[
    int,
    Meta(
        ge=0,
        le=255,
        description="0 normal, 1 needs calibration, 2 abnormal, 4 power cut, 8 under repair, 9 abnormal data",
    ),
]


class AirReading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.air.reading.v1``. A value that is absent or null was not measured."""

    station_id: Id
    observed_at: Time
    pm10: Micrograms | None = None
    pm25: Micrograms | None = None
    o3: Ppm | None = None
    no2: Ppm | None = None
    co: Ppm | None = None
    so2: Ppm | None = None
    temperature: Annotated[float, Meta(description="°C")] | None = None
    humidity: Annotated[float, Meta(description="%")] | None = None
    status: Status | dict[str, Status] | None = None
