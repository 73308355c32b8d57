"""The shape of an index file (TOML): breakpoint tables of an air-quality index, each with its date and its source.

The Korean and the US index are such files in ``config/indices/``. Another index is another file: a table with
``index`` gives numbers and grades, one without it (WHO, EU) gives grades only. Unknown keys are refused.
"""

import itertools
import math
import tomllib
from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigurationError
from schemas.measured import AIR
from schemas.strict import Strict

Name = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="lower-case letters, digits, '_' and '-'")
]
Average = Literal["1h", "8h", "24h", "c24e", "nowcast_pm", "nowcast_o3", "surrogate_o3"]
"""What is graded: the hour, a trailing mean with three quarters of its hours, the Korean 24-hour predicted mean, the
US NowCast of PM, ozone's (a regression on two weeks of hours, which a city file asks for with ``indices.ozone``), or
the surrogate that stands for ozone's otherwise."""


class Scale(Strict, frozen=True, kw_only=True):
    """Bands of one pollutant, best first.

    Attributes:
        bands: lowest and highest concentration of each band, both inside. ``inf`` is a band without an end.
        average: what of the air is graded.
        factor: from our unit (µg/m³ for PM, ppm for gases) to that of the bands.
        digits: decimals at which a concentration is taken; none: as it is.
        rounding: how it gets there: ``nearest`` (half up) or ``down``.
    """

    bands: Annotated[list[tuple[float, float]], Meta(min_length=1)]
    average: Average
    factor: Annotated[float, Meta(gt=0)] = 1.0
    digits: Annotated[int, Meta(ge=0, le=6)] | None = None
    rounding: Literal["nearest", "down"] = "nearest"

    def __post_init__(self) -> None:
        edges = [edge for band in self.bands for edge in band]
        if edges != sorted(edges) or any(low >= high for low, high in self.bands) or math.isnan(sum(edges)):
            raise ValueError(f"bands = {self.bands} must rise, each from its lowest to its highest concentration")
        if edges[0] < 0:
            raise ValueError(f"bands = {self.bands} begin below 0; a negative concentration is taken as 0")


class IndexTable(Strict, frozen=True, kw_only=True):
    """A version of an index.

    Attributes:
        version: its name.
        since: first day it holds; none: from the beginning of time.
        source: where the numbers are from.
        index: lowest and highest index of each band; empty: the bands have grades only.
        parameters: scale of each pollutant.
    """

    version: Name
    since: date | None = None
    source: str
    index: tuple[tuple[int, int], ...] = ()
    parameters: dict[str, Scale]

    def __post_init__(self) -> None:
        if unknown := sorted({*self.parameters} - {*AIR.gridded}):
            raise ValueError(f"table {self.version!r}: unknown parameter {unknown[0]!r}; use one of {AIR.gridded}")
        follows = [after[0] == before[1] + 1 for before, after in itertools.pairwise(self.index)]
        if not all(follows) or any(low >= high for low, high in self.index):
            raise ValueError(f"table {self.version!r}: index = {[*self.index]} must rise without gaps")
        for name, scale in self.parameters.items():
            if scale.average == "nowcast_o3" and name != "o3":
                raise ValueError(f"table {self.version!r}: average nowcast_o3 is of o3 alone, not of {name}")
            if self.index and len(scale.bands) > len(self.index):
                raise ValueError(
                    f"table {self.version!r}: {name} has {len(scale.bands)} bands, but index has {len(self.index)}"
                )
            if self.index and math.isinf(scale.bands[-1][1]):
                raise ValueError(f"table {self.version!r}: {name} has a band without an end, which can have no index")


class Index(Strict, frozen=True, kw_only=True):
    """An index file.

    Attributes:
        name: how rows and SQL call the index.
        title: what people call it.
        grades: name of each grade, best first; grade 1 is the first.
        default: version used where no date is asked for.
        tables: its versions, oldest first.
    """

    name: Name
    title: str
    grades: Annotated[list[str], Meta(min_length=1)]
    default: str
    tables: Annotated[list[IndexTable], Meta(min_length=1)]

    def __post_init__(self) -> None:
        versions = [table.version for table in self.tables]
        if len({*versions}) < len(versions):
            raise ValueError(f"tables: a version appears twice among {versions}")
        if self.default not in versions:
            raise ValueError(f"default = {self.default!r} is no version; there are: {', '.join(versions)}")
        days = [table.since or date.min for table in self.tables]
        if any(after <= before for before, after in itertools.pairwise(days)):
            raise ValueError(f"tables: since must rise from one to the next, got {', '.join(map(str, days))}")
        for table in self.tables:
            most = max(len(scale.bands) for scale in table.parameters.values()) if table.parameters else 0
            if most > len(self.grades):
                raise ValueError(f"table {table.version!r} has {most} bands, but grades names {len(self.grades)}")

    def table(self, version: str = "") -> IndexTable:
        """Return a version; the default one if not named.

        Raises:
            ConfigurationError: there is no such version.
        """
        for table in self.tables:
            if table.version == (version or self.default):
                return table
        known = ", ".join(table.version for table in self.tables)
        raise ConfigurationError(f"index {self.name!r} has no table {version!r}; there are: {known}")

    def on(self, day: date | None) -> IndexTable:
        """Return the version that holds on a day: the oldest for days before all; the default without a day."""
        if day is None:
            return self.table()
        return next((table for table in reversed(self.tables) if (table.since or date.min) <= day), self.tables[0])


def parse(toml: bytes, name: str = "index file") -> Index:
    """Read an index file.

    Args:
        toml: its bytes.
        name: how messages call it.

    Raises:
        ConfigurationError: it is no TOML, or does not hold together.

    >>> toml = b'''
    ... name = "two"
    ... title = "Two grades"
    ... grades = ["fine", "not fine"]
    ... default = "first"
    ... [[tables]]
    ... version = "first"
    ... source = "an example"
    ... parameters.pm25 = { average = "24h", bands = [[0, 15], [15, inf]] }
    ... '''
    >>> parse(toml).table().parameters["pm25"].bands
    [(0.0, 15.0), (15.0, inf)]
    """
    try:
        return msgspec.convert(tomllib.loads(toml.decode()), Index)
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{name}: not UTF-8: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigurationError(f"{name}: {err}") from err
    except msgspec.ValidationError as err:
        raise ConfigurationError(f"{name}: {err}") from err
