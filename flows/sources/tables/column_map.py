"""Column maps: what the columns of a source's rows mean, written in TOML.

A map names the columns that hold instrument, time and values, with their units and notation; for text files it also
says how they are cut into rows. Unknown keys are refused, because in a configuration they are typos. ``[[files]]``
entries change the map for files whose name fits a pattern, so that several files with different columns may give
readings of one station; the grid joins them by second.
"""

import codecs
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct, field

from flows.resources import shipped
from schemas.city import read_parameters
from schemas.durations import Duration, seconds
from schemas.errors import ConfigurationError
from schemas.measured import AIR, Measured
from schemas.slots import SECOND_US
from schemas.strict import Strict, convert

DEFAULT_MISSING: tuple[str | float, ...] = ("", "-", "NA", "N/A", "NaN", "nan", "null", "NULL", -999)
NAMED_PATTERNS = {"YYYYMMDDHH": "%Y%m%d%H"}
"""Patterns known by a name of their own."""
ZONED_FORMATS = ("unix", "unix_ms", "rfc3339")
"""Formats that are no pattern, and whose stamps are times of UTC or bear their offset."""
KNOWN_DIRECTIVES = set("YymdbHIMSfpz%")
UTC_OFFSET = r"^[+-]\d\d:\d\d$"

Text = Annotated[str, Meta(min_length=1)]
Code = Annotated[int, Meta(ge=0, le=255)]


class MapError(ConfigurationError):
    """A column map that does not hold together; the message names file and key."""


class StationColumn(Strict, frozen=True, kw_only=True):
    """Table ``[station]``: which instrument a row belongs to, by a column or the same for the whole file."""

    column: Text | None = None
    id: Text | None = None
    prefix: str = ""
    """Put before what the column holds."""
    lower: bool = False
    ids: dict[str, str] = field(default_factory=dict)
    """Other names for what the column holds; taken before ``lower`` and ``prefix``."""

    def __post_init__(self) -> None:
        if (self.column is None) == (self.id is None):
            raise ValueError("give either column or id")


class TimeColumn(Strict, frozen=True, kw_only=True):
    """Table ``[time]``: when a row was measured.

    >>> TimeColumn(column="Date", format="YYYYMMDDHH", timezone="Asia/Seoul", marks="start", interval="1h").to_end_us
    3600000000
    """

    column: Text | None = None
    columns: Annotated[list[Text], Meta(min_length=1)] | None = None
    """Several columns, read as one text with a space between them."""
    format: Text
    """``unix``, ``unix_ms``, ``rfc3339``, ``YYYYMMDDHH``, or like strptime; hour 24 is midnight of the next day."""
    timezone: str | None = None
    """Of stamps without an offset: a name such as Asia/Seoul, or +09:00. Of a doubled hour the first is taken."""
    marks: Literal["start", "middle", "end"] = "end"
    """What part of its interval a stamp marks; ``observed_at`` is always the end."""
    interval: Duration | None = None

    def __post_init__(self) -> None:
        if (self.column is None) == (self.columns is None):
            raise ValueError("give either column or columns")
        if self.marks != "end" and self.interval is None:
            raise ValueError(f"interval is needed, because stamps mark the {self.marks} of theirs")
        self._check_format()
        self._check_timezone()

    def _check_format(self) -> None:
        if self.pattern in ZONED_FORMATS:
            return
        directives = set(re.findall(r"%(.)", self.pattern))
        if directives - KNOWN_DIRECTIVES or "%" not in self.pattern:
            raise ValueError(
                f"format {self.format!r}: known are {', '.join((*ZONED_FORMATS, *NAMED_PATTERNS))}, "
                "and texts of %Y %y %m %d %b %H %I %p %M %S %f %z"
            )
        if not {"d", "m", "b"} & directives:
            raise ValueError(f"format {self.format!r} has neither month nor day")

    def _check_timezone(self) -> None:
        if self.pattern in ZONED_FORMATS or "%z" in self.pattern:
            if self.timezone is not None:
                raise ValueError(f"timezone is not used, because format {self.format!r} says it itself")
        elif self.timezone is None:
            raise ValueError(f"timezone is needed, because format {self.format!r} has no offset")
        elif not re.match(UTC_OFFSET, self.timezone):
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as err:
                raise ValueError(f"unknown timezone {self.timezone!r}; use a name such as 'Asia/Seoul'") from err

    @property
    def pattern(self) -> str:
        """The format, with ``NAMED_PATTERNS`` written out."""
        return NAMED_PATTERNS.get(self.format, self.format)

    @property
    def sources(self) -> list[str]:
        """Its columns."""
        return self.columns if self.columns is not None else [str(self.column)]

    @property
    def to_end_us(self) -> int:
        """Microseconds from a stamp to the end of its interval."""
        interval_us = seconds(self.interval) * SECOND_US if self.interval else 0
        return {"start": interval_us, "middle": interval_us // 2, "end": 0}[self.marks]


class ValueColumn(Strict, frozen=True, kw_only=True):
    """Entry of ``[values]``: where a value comes from, ``sent × scale + offset`` in the wire's unit."""

    column: Text | None = None
    columns: Annotated[list[Text], Meta(min_length=1)] | None = None
    """Several columns of one quantity: the mean of those present."""
    item: Text | None = None
    """In long form, what the item column holds."""
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[str | float, ...] = ()
    """Not measured, beside what the whole map says."""
    status: Text | None = None
    """A column with the instrument's status for this value alone."""

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.column, self.columns, self.item)) != 1:
            raise ValueError("give one of column, columns and (in long form) item")

    @property
    def sources(self) -> list[str]:
        """Its columns."""
        return self.columns if self.columns is not None else [self.column] if self.column is not None else []


class LongForm(Strict, frozen=True, kw_only=True):
    """Table ``[long]``: one value a row. Rows of one station and time that stand near each other make one reading."""

    item: Text
    """Column that says what was measured; items that no value names are passed over."""
    value: Text
    status: Text | None = None


class StatusColumn(Strict, frozen=True, kw_only=True):
    """Table ``[status]``: the instrument's status, of the wire (0, 1, 2, 4, 8, 9) or translated by ``codes``."""

    column: Text | None = None
    """A column for the whole row; long form and single values name their own."""
    codes: dict[str, Code] = field(default_factory=dict)


class RowMap(Strict, frozen=True, kw_only=True):
    """What the columns of a row mean, whatever brought the row."""

    station: StationColumn
    time: TimeColumn
    values: dict[str, ValueColumn]
    long: LongForm | None = None
    status: StatusColumn = StatusColumn()
    missing: tuple[str | float, ...] = DEFAULT_MISSING
    """Texts and numbers that mean *not measured*; an empty cell always does."""

    def columns(self) -> dict[str, str]:
        """Return the columns it reads, each with the key that names it."""
        keys: list[tuple[str, list[str | None]]] = [
            ("station.column", [self.station.column]),
            ("time", [*self.time.sources]),
            ("status.column", [self.status.column]),
            ("long", [self.long.item, self.long.value, self.long.status] if self.long else []),
            *((f"values.{name}", [*value.sources, value.status]) for name, value in self.values.items()),
        ]
        key_of: dict[str, str] = {}
        for key, names in keys:
            for column in names:
                if column is not None:
                    key_of.setdefault(column, key)
        return key_of

    def check(self, measured: Measured) -> None:
        """Check that the values are those of a kind of reading, and fit the form of the rows.

        Raises:
            ValueError: naming the key.
        """
        if not self.values:
            raise ValueError(f"values: name at least one of {', '.join(measured.values)}")
        for name, value in self.values.items():
            if self.long and value.item is None:
                raise ValueError(f"values.{name}: a long form needs item")
            if not self.long and value.item is not None:
                raise ValueError(f"values.{name}: item belongs to a long form, which a [long] table tells of")
            if value.status is not None and (self.long or name not in measured.gridded):
                raise ValueError(f"values.{name}: status is for pollutants in wide form; long form has long.status")
        items = [value.item for value in self.values.values()]
        if self.long and len(set(items)) < len(items):
            raise ValueError("values: two of them have the same item")
        if self.long and self.status.column is not None:
            raise ValueError("status.column: in long form the column is long.status")


class Layout(RowMap, frozen=True, kw_only=True):
    """How one kind of text file is cut into rows, and what their columns mean."""

    encoding: str = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    """Comma if left out, a tab for .tsv."""
    skip_lines: Annotated[int, Meta(ge=0)] = 0
    """Lines before the header, or before the first row."""
    names: list[str] | None = None
    """Names of the columns of a file without a header line."""
    sort: bool = False
    """The file is in no order of time: read it whole and sort it. An export may be; a stream never is."""

    def __post_init__(self) -> None:
        try:
            newline = "\n".encode(self.encoding)
        except LookupError as err:
            raise ValueError(f"encoding: {err}") from err
        if newline != b"\n":
            raise ValueError(f"encoding: {self.encoding!r} does not write a line end as one byte; convert to utf-8")

    @property
    def utf8(self) -> bool:
        """Whether texts need no conversion."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")


class FilePattern(Strict, frozen=True, kw_only=True):
    """Head of a ``[[files]]`` entry: files whose path or name fits ``match``, with ``*`` and ``?``."""

    match: Text
    skip: bool = False
    """Leave them out: folders hold other things too."""


class ColumnMap(Struct, frozen=True):
    """A whole map: the layout of each kind of file, the first that fits.

    >>> toml = b'''
    ... [station]
    ... id = "busan-choryang"
    ... [time]
    ... column = "Date"
    ... format = "YYYYMMDDHH"
    ... timezone = "Asia/Seoul"
    ... [values]
    ... o3 = { column = "O3", scale = 0.001 }
    ... '''
    >>> parse(toml, "busan.toml").layout("2021.csv").columns()
    {'Date': 'time', 'O3': 'values.o3'}
    """

    name: str
    files: list[tuple[str, Layout | None]]
    """Pattern and layout; without a layout such files are left out."""
    base: Layout | None
    """For files that fit no pattern."""
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Limits that fit the instruments of this source, before those of the city file: its tables ``[parameters.…]``."""

    def skips(self, topic: str) -> bool:
        """Whether a file is left out."""
        return next((layout is None for match, layout in self.files if _fits(topic, match)), False)

    def layout(self, topic: str) -> Layout:
        """Return how to read a file, given its path relative to the input.

        Raises:
            MapError: the map says nothing of it.
        """
        layout = next((layout for match, layout in self.files if _fits(topic, match)), self.base)
        if layout is None:
            known = ", ".join(repr(match) for match, _ in self.files)
            raise MapError(f"{topic}: map {self.name} has no [[files]] entry for it; its patterns are {known}")
        return layout


SECTIONS: dict[str, type[Struct]] = {
    "station": StationColumn,
    "time": TimeColumn,
    "long": LongForm,
    "status": StatusColumn,
}


def parse(toml: bytes, name: str, measured: Measured = AIR) -> ColumnMap:
    """Read a column map.

    Args:
        toml: its text.
        name: of the map, for messages.
        measured: the kind of reading that it makes; its values are what ``[values]`` may name.

    Raises:
        MapError: naming the file, the key or line, and what was expected.
    """
    try:
        raw = msgspec.toml.decode(toml)
        entries, parameters = raw.pop("files", []), raw.pop("parameters", {})
        read_parameters(parameters)
        if not isinstance(entries, list):
            raise ValueError("files: write [[files]], once for each pattern")
        base = _layout(raw, "", measured) if "values" in raw or not entries else None
        files: list[tuple[str, Layout | None]] = []
        for i, entry in enumerate(entries):
            where = f"files[{i}] ({entry.get('match', 'no match') if isinstance(entry, dict) else entry!r})"
            pattern = convert({key: entry[key] for key in ("match", "skip") if key in entry}, FilePattern, where)
            own = {key: part for key, part in entry.items() if key not in ("match", "skip")}
            files.append((pattern.match, None if pattern.skip else _layout(_merge(raw, own), f"{where}: ", measured)))
        return ColumnMap(name, files, base, parameters)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError, AttributeError) as err:
        raise MapError(f"{name}: {re.sub(r' - at `[$]`', '', str(err))}") from err


def load_map(name_or_path: str | Path, measured: Measured = AIR) -> ColumnMap:
    """Read a column map from a file, or one that ships with cityair by its name.

    Raises:
        MapError: there is none, or it does not hold together.
    """
    path = Path(name_or_path)
    if not path.is_file():
        try:
            path = shipped(f"maps/{path.name.removesuffix('.toml')}.toml")
        except FileNotFoundError as err:
            known = ", ".join(sorted(known_maps()))
            raise MapError(
                f"no column map {str(name_or_path)!r}: neither a file nor one of those shipped: {known}"
            ) from err
    return parse(path.read_bytes(), str(name_or_path), measured)


def known_maps() -> list[str]:
    """Names of the maps that ship with cityair."""
    return [path.stem for path in shipped("maps").glob("*.toml")]


def _layout(raw: dict[str, Any], where: str, measured: Measured) -> Layout:
    """Read one layout; ``where`` begins the messages, with a colon and a space where it is not empty."""
    raw = dict(raw)
    for key, shape in SECTIONS.items():  # one by one, because an error path does not tell tables apart
        if key in raw:
            raw[key] = convert(raw[key], shape, f"{where}{key}")
    values = raw.get("values")
    if isinstance(values, dict):
        for name in values:
            if name not in measured.values:
                raise ValueError(f"{where}values.{name}: unknown; known are {', '.join(measured.values)}")
        raw["values"] = {name: convert(value, ValueColumn, f"{where}values.{name}") for name, value in values.items()}
    layout = convert(raw, Layout, where.removesuffix(": "))
    try:
        layout.check(measured)
    except ValueError as err:
        raise ValueError(f"{where}{err}") from err
    return layout


def _merge(raw: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay a file entry's keys over the map's; tables key by key, but values as a whole."""
    merged = {**raw, **own}
    for key in SECTIONS:
        if isinstance(raw.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = {**raw[key], **own[key]}
    return merged


def _fits(topic: str, match: str) -> bool:
    return fnmatchcase(topic, match) or fnmatchcase(PurePosixPath(topic).name, match)
