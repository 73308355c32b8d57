"""Input contracts of odor: what sensors of industrial complexes and citizens send."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from schemas.reading import Id, Ppm, Status, Time


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
