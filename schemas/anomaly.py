"""What ``env.air.anomaly.v1`` carries: something unlikely that began at a station, and may have ended."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Time
from schemas.rolling import Pollutant

Label = Literal["sensor_fault", "local_event", "regional_episode", "undetermined"]


class Anomaly(Struct, frozen=True, kw_only=True):
    """A message of ``env.air.anomaly.v1``: a row of the lake's ``anomalies``. The highest revision holds."""

    anomaly_id: Id
    station_id: Id
    parameter: Pollutant
    kind: Annotated[str, Meta(min_length=1, max_length=40, description="the test that found it: spike, drift, …")]
    label: Label
    started_at: Time
    ended_at: Time | None
    """Null while it goes on."""
    score: Annotated[float, Meta(ge=0, description="highest ratio of the statistic to its limit so far")]
    evidence: Annotated[str, Meta(description="what was compared with what, in words")]
    revision: Annotated[int, Meta(ge=0)]
