"""The shape of a city file (TOML): ids and places, and every limit with a default.

Unknown keys are refused, because in a configuration they are typos. Limits check one another.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from schemas.city_rules import AlertSettings, LightSettings
from schemas.durations import CADENCES, Duration, check_cadence, check_whole_hours, minutes, nearest, seconds
from schemas.errors import ConfigurationError
from schemas.measured import AIR
from schemas.strict import Strict, convert

Id = Annotated[str, Meta(pattern=r"^\w[\w.-]{0,63}$", description="letters, digits, '_', '.', '-'")]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Limit = Annotated[float, Meta(ge=0)]
"""A limit of a test of the surroundings; 0 or none: the test is not made."""

LARGEST = 100_000.0
"""No value that counts may be larger: the sum of a week's slots, in units of 1e-9, must fit 64 bits."""


SecondValuesRule = Literal["first", "average"]
"""What counts of values that differ for one second."""


class CityError(ConfigurationError):
    """A city file that does not hold together; the message names the key and the cure."""


class Identity(Strict, frozen=True, kw_only=True):
    """Whose air this is."""

    id: Id
    name: str
    timezone: str

    def __post_init__(self) -> None:
        try:
            zone = ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as err:
            raise ValueError(f"unknown time zone {self.timezone!r}; use a name such as 'Asia/Seoul'") from err
        check_whole_hours(self.timezone, zone)


class Station(Strict, frozen=True, kw_only=True):
    """An air monitor. ``reference`` stations are certified; the rest is ``low_cost``."""

    id: Id
    lat: Latitude
    lon: Longitude
    name: str = ""
    kind: Literal["low_cost", "reference"] = "low_cost"
    every: Duration = "1m"
    zone: Id = "city"
    synthetic: bool = False
    """The place is a proposal, not a surveyed site."""

    def __post_init__(self) -> None:
        check_cadence(self.every, f"station {self.id!r}")

    @property
    def cadence(self) -> int:
        """Slots (minutes) of a cadence, at least one."""
        return max(1, seconds(self.every) // 60)


class Light(Strict, frozen=True, kw_only=True):
    """A fine-dust signal light; ``stations`` in order of preference, none for nearest first."""

    id: Id
    lat: Latitude
    lon: Longitude
    name: str = ""
    stations: list[str] = field(default_factory=list)
    synthetic: bool = False


class OdorSensor(Strict, frozen=True, kw_only=True):
    """An odor sensor of an industrial complex."""

    id: Id
    lat: Latitude
    lon: Longitude
    complex: Id
    name: str = ""
    every: Duration = "1m"
    synthetic: bool = False

    def __post_init__(self) -> None:
        check_cadence(self.every, f"odor sensor {self.id!r}")


class OdorSource(Strict, frozen=True, kw_only=True):
    """A farm or plant that wind may point at."""

    id: Id
    lat: Latitude
    lon: Longitude
    name: str = ""
    synthetic: bool = False


class WeatherStation(Strict, frozen=True, kw_only=True):
    """A mast whose wind stands for the odor sensors of its complex."""

    id: Id
    lat: Latitude
    lon: Longitude
    complex: Id
    name: str = ""
    synthetic: bool = False


DEFAULT_SENTINELS = (-999.0,)
"""Numbers that mean *not measured*, of pollutants where the city file names no others, and of weather."""


class Parameter(Strict, frozen=True, kw_only=True):
    """Limits of one pollutant, in its unit. A limit left out is a test not made."""

    unit: str
    fail: tuple[float, float]
    """Outside: FAIL (QARTOD gross range). The one test that takes a value out of means."""
    suspect: tuple[float, float]
    """Outside: SUSPECT, but counted."""
    sentinels: tuple[float, ...] = DEFAULT_SENTINELS
    """Numbers that mean *not measured*."""
    spike: Limit | None = None
    """Largest credible distance of a value from the middle of its two neighbours."""
    rate_of_change: Limit | None = None
    """Largest credible step between neighbouring values."""
    flat_line: Limit | None = None
    """A range below this over ``quality.flat_line_length`` is a stuck sensor."""
    attenuated_signal: Limit | None = None
    """A standard deviation below this over ``quality.attenuated_signal_length`` is a damped sensor."""

    def __post_init__(self) -> None:
        (fail_low, fail_high), (low, high) = self.fail, self.suspect
        if not -LARGEST <= fail_low <= low < high <= fail_high <= LARGEST:
            raise ValueError(
                f"fail must enclose suspect and lie within ±{LARGEST:g}; "
                f"got fail = [{fail_low:g}, {fail_high:g}], suspect = [{low:g}, {high:g}]"
            )


# Gross range, spike and step limits start from the proposals gathered for this project; the upper ends of the
# gases without one are the tops of the Korean index table. PM between -5 and 0 is instrument noise and counts;
# gases may swing as far below zero as a low-cost cell's noise at clean air.
# Flat-line and attenuation limits are left out where a clean instrument's resolution already repeats for hours.
DEFAULT_PARAMETERS: dict[str, Parameter] = {
    "pm10": Parameter(
        unit="µg/m³",
        fail=(-5, 2000),
        suspect=(-5, 800),
        spike=150,
        rate_of_change=300,
        flat_line=0.1,
        attenuated_signal=0.5,
    ),
    "pm25": Parameter(
        unit="µg/m³",
        fail=(-5, 1000),
        suspect=(-5, 300),
        spike=50,
        rate_of_change=100,
        flat_line=0.1,
        attenuated_signal=0.5,
    ),
    "o3": Parameter(
        unit="ppm",
        fail=(-0.01, 0.5),
        suspect=(-0.005, 0.2),
        spike=0.05,
        rate_of_change=0.075,
        flat_line=0.0001,
        attenuated_signal=0.0003,
    ),
    "no2": Parameter(
        unit="ppm",
        fail=(-0.01, 2.0),
        suspect=(-0.005, 0.2),
        spike=0.05,
        rate_of_change=0.1,
        flat_line=0.0001,
        attenuated_signal=0.0003,
    ),
    "co": Parameter(unit="ppm", fail=(-0.5, 50.0), suspect=(-0.2, 15.0), spike=3.0, rate_of_change=5.0),
    "so2": Parameter(unit="ppm", fail=(-0.01, 1.0), suspect=(-0.005, 0.15), spike=0.03, rate_of_change=0.05),
}


class WindowSettings(Strict, frozen=True, kw_only=True):
    """Rolling means: how long, and how often they land."""

    lengths: tuple[Duration, ...] = ("10m", "1h", "8h", "24h")
    step: Duration = "10m"
    """Means land for windows ending on multiples of this; of the cadence where that is longer."""

    def __post_init__(self) -> None:
        step = seconds(self.step)
        if step % 60 or 3600 % step:
            raise ValueError(
                f"windows.step = {self.step!r} must be whole minutes that divide the hour, or no mean of a day ends at "
                f"midnight; give {nearest(self.step, (of for of in CADENCES if seconds(of) >= 60))}"
            )
        for length in self.lengths:
            if seconds(length) % step or seconds(length) > 7 * 86400:
                raise ValueError(f"windows.lengths: {length!r} must be a multiple of step {self.step!r}, at most 7d")
        if not self.lengths or len(set(self.lengths)) < len(self.lengths):
            raise ValueError("windows.lengths must name at least one window, each once")


class Late(Strict, frozen=True, kw_only=True):
    """What happens to readings that come out of order."""

    horizon: Duration = "24h"
    """A late reading is put in its slot up to here behind the clock; past it, it is ``too_late``."""
    future: Duration = "5m"
    """A reading stamped further past its Kafka message's time stamp has a wrong clock; files have no such stamp."""
    wait: Duration = "1h"
    """So far the clock may advance while a reading from beyond the horizon ahead waits; then its clock is wild."""
    waiting_room: Annotated[int, Meta(ge=1000, le=1_000_000)] = 100_000
    """Readings that may wait at once in a zone; more, and the oldest is refused as ``future``."""
    snap: Annotated[float, Meta(ge=0, le=0.25)] = 0.05
    """Of a cadence above a minute, a time within this share of it of one of its multiples lies on that: an hourly
    station that reports at 03:00:03 means three, not four. ``observed_at`` stays as sent."""
    second_values: SecondValuesRule = "first"
    """What counts of values that differ for one second: the first that came, or their average."""

    def __post_init__(self) -> None:
        if not 3600 <= seconds(self.horizon) <= 7 * 86400:
            raise ValueError(f"late.horizon = {self.horizon!r} must lie between 1h and 7d")


class QualitySettings(Strict, frozen=True, kw_only=True):
    """Lengths shared by the tests of the surroundings."""

    flat_line_length: Duration = "6h"
    attenuated_signal_length: Duration = "12h"
    zeros_length: Duration = "3h"
    """Zeros without a break for so long (at least three values) are suspect."""
    pm25_over_pm10: tuple[float, float] = (1.1, 5.0)
    """PM2.5 above ratio × PM10 + offset is suspect: it cannot be larger, but for noise."""

    def __post_init__(self) -> None:
        longest = max(
            seconds(self.flat_line_length), seconds(self.attenuated_signal_length), seconds(self.zeros_length)
        )
        if longest > 86400:
            raise ValueError("quality: no length may exceed 24h")


class IndexSettings(Strict, frozen=True, kw_only=True):
    """Which versions of indices are computed, and how."""

    korea: Literal["", "three-decimal", "four-decimal"] = ""
    """Breakpoints of the gases; the default is the file's own: all official rows at hand fit the three-decimal ones."""
    ozone: Literal["surrogate", "regression"] = "surrogate"
    """How the US index takes ozone's NowCast. EPA's regression rests on two weeks of hours of each station, which are
    then kept, and takes a processor half a millisecond or so a station and hour; the surrogate follows the newest hour,
    and is what EPA takes too where hours are missing."""


class City(Strict, frozen=True, kw_only=True):
    """A whole city file."""

    city: Identity
    stations: list[Station]
    lights: list[Light] = field(default_factory=list)
    odor_sensors: list[OdorSensor] = field(default_factory=list)
    odor_sources: list[OdorSource] = field(default_factory=list)
    weather_stations: list[WeatherStation] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    windows: WindowSettings = field(default_factory=WindowSettings)
    late: Late = field(default_factory=Late)
    quality: QualitySettings = field(default_factory=QualitySettings)
    light_rules: LightSettings = field(default_factory=LightSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    indices: IndexSettings = field(default_factory=IndexSettings)
    second_values: SecondValuesRule = "first"
    """The same as ``late.second_values``, where the file has no other settings of arrival."""

    def __post_init__(self) -> None:
        for kind in ("stations", "lights", "odor_sensors", "odor_sources", "weather_stations"):
            ids = [thing.id for thing in getattr(self, kind)]
            for twice in {i for i in ids if ids.count(i) > 1}:
                raise ValueError(f"{kind}: id {twice!r} stands twice; ids are unique within their kind")
        known = {s.id for s in self.stations}
        for light in self.lights:
            for station in light.stations:
                if station not in known:
                    raise ValueError(f"light {light.id!r} follows station {station!r}, which is not in [[stations]]")
        self._check_cadences()

    def _check_cadences(self) -> None:
        """Refuse stations whose cadence fits neither the step of windows nor any of their lengths."""
        windows = self.windows
        step = minutes(windows.step)
        for station in self.stations:
            of = f"station {station.id!r}: every = {station.every!r}"
            if station.cadence < step and step % station.cadence:
                fit = [cadence for cadence in CADENCES if step * 60 % seconds(cadence) == 0]
                raise ValueError(
                    f"{of} does not divide windows.step = {windows.step!r}: windows would end within an interval; "
                    f"give {nearest(station.every, fit)}, or a windows.step of {station.every!r}"
                )
            every = max(step, station.cadence)
            if not any(minutes(length) % every == 0 for length in windows.lengths):
                raise ValueError(
                    f"{of} fills none of windows.lengths = {list(windows.lengths)}, so that there would be no means; "
                    "give a window that is a multiple of it, '24h' for one"
                )

    @property
    def averages_second_values(self) -> bool:
        """Whether values that differ for one second are averaged."""
        return "average" in (self.second_values, self.late.second_values)

    def limits(self) -> list[Parameter]:
        """Limits of the six pollutants, in their order, the file's own before the defaults."""
        return [self.parameters.get(name, DEFAULT_PARAMETERS[name]) for name in AIR.gridded]

    def with_parameters(self, tables: Mapping[str, Mapping[str, Any]]) -> "City":
        """Return this city with other limits, such as those of a column map; what they leave out stays.

        Raises:
            CityError: they do not fit this city's.
        """
        if not tables:
            return self
        try:
            own = dict(zip(AIR.gridded, self.limits(), strict=True))
            return replace(self, parameters={**self.parameters, **read_parameters(tables, own)})
        except ValueError as err:
            raise CityError(f"column map with this city file: {err}") from err


LISTS: dict[str, type[Struct]] = {
    "stations": Station,
    "lights": Light,
    "odor_sensors": OdorSensor,
    "odor_sources": OdorSource,
    "weather_stations": WeatherStation,
}


def read_parameters(
    tables: Mapping[str, Mapping[str, Any]], others: Mapping[str, Parameter] = DEFAULT_PARAMETERS
) -> dict[str, Parameter]:
    """Read tables ``[parameters.<name>]``, of a city file or a column map.

    Args:
        tables: by name of the pollutant.
        others: limits of which a table takes what it does not name itself.

    Raises:
        ValueError: naming the key.

    >>> read_parameters({"no2": {"fail": [-0.1, 2.0]}})["no2"].suspect
    (-0.005, 0.2)
    """
    parameters = {}
    for key, entry in tables.items():
        if key not in AIR.gridded:
            raise ValueError(f"parameters.{key}: unknown; known are {', '.join(AIR.gridded)}")
        whole = {**msgspec.to_builtins(others[key]), **entry}
        parameters[key] = convert(whole, Parameter, f"parameters.{key}")
    return parameters


def parse(toml: bytes, name: str = "city file") -> City:
    """Read a city file.

    Raises:
        CityError: naming the file, the key or line, and what was expected.
    """
    try:
        raw = msgspec.toml.decode(toml)
        for kind, shape in LISTS.items():  # one by one, because an error path has no ids
            for i, entry in enumerate(raw.get(kind, [])):
                convert(
                    entry, shape, f"{kind}[{i}] ({entry.get('id', 'no id') if isinstance(entry, dict) else entry!r})"
                )
        if "parameters" in raw:
            raw["parameters"] = msgspec.to_builtins(read_parameters(raw["parameters"]))
        return msgspec.convert(raw, City)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as err:
        raise CityError(f"{name}: {re.sub(r' - at `[$]`$', '', str(err))}") from err
