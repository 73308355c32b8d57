"""Input contracts: what stations, odor sensors and citizens send.

JSON objects in UTF-8. Unknown fields are ignored, so newer firmware is welcome: add fields at will, each with a
default; never retype one. Times are RFC 3339 with an offset and mark the **end** of the interval a value covers.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

PARAMETERS = ("pm10", "pm25", "o3", "no2", "co", "so2")
"""The six pollutants kept on the grid. PM in µg/m³, gases in ppm."""
WEATHER = ("temperature", "humidity")
VALUES = PARAMETERS + WEATHER
"""Every measured value of an air reading, in the order of its columns everywhere."""

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


class OdorReading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.odor.reading.v1``. ``ou_estimate`` is a device's estimate, never a panel's result."""

    sensor_id: Id
    observed_at: Time
    h2s: Ppm | None = None
    nh3: Ppm | None = None
    tvoc: Ppm | None = None
    ou_estimate: Annotated[float, Meta(description="odor units, estimated by the device")] | None = None
    temperature: Annotated[float, Meta(description="°C")] | None = None
    humidity: Annotated[float, Meta(description="%")] | None = None
    wind_speed: Annotated[float, Meta(ge=0, description="m/s")] | None = None
    wind_direction: Annotated[float, Meta(ge=0, le=360, description="degrees the wind blows from")] | None = None
    status: Status | dict[str, Status] | None = None


class OdorReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.odor.report.v1``: a citizen's report. Personal: its text stays in ``odor_reports``."""

    report_id: Id
    reported_at: Annotated[datetime, Meta(tz=True)]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    intensity: Annotated[int, Meta(ge=1, le=5)] | None = None
    text: str = ""
