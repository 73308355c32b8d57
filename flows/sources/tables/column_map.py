"""Column maps: how the columns of somebody's CSV files become readings, told in TOML.

A map says which columns hold station, time and values, in what units and notation. Unknown keys are refused, because
in a configuration they are typos. ``[[files]]`` entries change the map for files whose name fits a pattern, so that
several files with different columns may give readings of one station; the grid joins them by second.
"""

import codecs
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from flows.resources import shipped
from schemas.durations import Duration, seconds
from schemas.errors import ConfigurationError
from schemas.measured import AIR

DEFAULT_MISSING: tuple[str | float, ...] = ("", "-", "NA", "N/A", "NaN", "nan", "null", "NULL", -999)
FORMATS = {"YYYYMMDDHH": "%Y%m%d%H"}
"""Formats known by a name of their own."""
NAMED_FORMATS = ("unix", "unix_ms", "rfc3339")
OFFSET = r"^[+-]\d\d:\d\d$"

Text = Annotated[str, Meta(min_length=1)]
Code = Annotated[int, Meta(ge=0, le=255)]


class MapError(ConfigurationError):
    """A column map that does not hold together; the message names file and key."""


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused."""


class Station(Strict, frozen=True, kw_only=True):
    """Which station a row belongs to: a column, or the same for the whole file."""

    column: Text | None = None
    id: Text | None = None
    prefix: str = ""
    """Put before what the column holds."""
    lower: bool = False
    ids: dict[str, str] = {}
    """Other names for what the column holds; taken before ``lower`` and ``prefix``."""

    def __post_init__(self) -> None:
        if (self.column is None) == (self.id is None):
            raise ValueError("give either column or id")


class Time(Strict, frozen=True, kw_only=True):
    """When a row was measured."""

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
        if self.pattern not in NAMED_FORMATS:
            unknown = set(re.findall(r"%(.)", self.pattern)) - set("YymdbHIMSfpz%")
            if unknown or "%" not in self.pattern:
                raise ValueError(
                    f"format {self.format!r}: known are {', '.join((*NAMED_FORMATS, *FORMATS))}, "
                    "and texts of %Y %y %m %d %b %H %I %p %M %S %f %z"
                )
            if not {"d", "m", "b"} & set(re.findall(r"%(.)", self.pattern)):
                raise ValueError(f"format {self.format!r} has neither month nor day")
        if self.pattern in NAMED_FORMATS or "%z" in self.pattern:
            if self.timezone is not None:
                raise ValueError(f"timezone is not used, because format {self.format!r} says it itself")
        elif self.timezone is None:
            raise ValueError(f"timezone is needed, because format {self.format!r} has no offset")
        elif not re.match(OFFSET, self.timezone):
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as err:
                raise ValueError(f"unknown timezone {self.timezone!r}; use a name such as 'Asia/Seoul'") from err

    @property
    def pattern(self) -> str:
        """The format without names of our own."""
        return FORMATS.get(self.format, self.format)

    @property
    def sources(self) -> list[str]:
        """Its columns."""
        return self.columns if self.columns is not None else [str(self.column)]

    @property
    def to_end(self) -> int:
        """Microseconds from a stamp to the end of its interval."""
        whole = seconds(self.interval) * 1_000_000 if self.interval else 0
        return {"start": whole, "middle": whole // 2, "end": 0}[self.marks]


class Value(Strict, frozen=True, kw_only=True):
    """Where a value comes from: ``sent × scale + offset`` in the wire's unit."""

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


class Long(Strict, frozen=True, kw_only=True):
    """Long form: one value a row. Rows of one station and time that stand near each other make one reading."""

    item: Text
    """Column that says what was measured; items that no value names are passed over."""
    value: Text
    status: Text | None = None


class Status(Strict, frozen=True, kw_only=True):
    """The instrument's status: of the wire (0 normal, 1, 2, 4, 8, 9), or translated by ``codes``."""

    column: Text | None = None
    """A column for the whole row; long form and single values name their own."""
    codes: dict[str, Code] = {}


class Layout(Strict, frozen=True, kw_only=True):
    """How one kind of file is read."""

    encoding: str = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    """Comma if left out, a tab for .tsv."""
    skip_lines: Annotated[int, Meta(ge=0)] = 0
    """Lines before the header, or before the first row."""
    names: list[str] | None = None
    """Names of the columns of a file without a header line."""
    missing: tuple[str | float, ...] = DEFAULT_MISSING
    """InMemory and numbers that mean *not measured*; an empty cell always does."""
    sort: bool = False
    """The file is in no order of time: read it whole and sort it. An export may be; a stream never is."""
    station: Station
    time: Time
    values: dict[str, Value]
    long: Long | None = None
    status: Status = Status()

    def __post_init__(self) -> None:
        try:
            newline = "\n".encode(self.encoding)
        except LookupError as err:
            raise ValueError(f"encoding: {err}") from err
        if newline != b"\n":
            raise ValueError(f"encoding: {self.encoding!r} does not write a line end as one byte; convert to utf-8")
        if not self.values:
            raise ValueError(f"values: name at least one of {', '.join(AIR.values)}")
        for name, value in self.values.items():
            if self.long and value.item is None:
                raise ValueError(f"values.{name}: a long form needs item")
            if not self.long and value.item is not None:
                raise ValueError(f"values.{name}: item belongs to a long form, which a [long] table tells of")
            if value.status is not None and (self.long or name not in AIR.gridded):
                raise ValueError(f"values.{name}: status is for pollutants in wide form; long form has long.status")
        items = [value.item for value in self.values.values()]
        if self.long and len(set(items)) < len(items):
            raise ValueError("values: two of them have the same item")
        if self.long and self.status.column is not None:
            raise ValueError("status.column: in long form the column is long.status")

    @property
    def utf8(self) -> bool:
        """Whether texts need no conversion."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")

    def columns(self) -> dict[str, str]:
        """Return the columns it reads, each with the key that names it."""
        found: dict[str, str] = {}
        keys: list[tuple[str, list[str | None]]] = [
            ("station.column", [self.station.column]),
            ("time", [*self.time.sources]),
            ("status.column", [self.status.column]),
            ("long", [self.long.item, self.long.value, self.long.status] if self.long else []),
            *((f"values.{name}", [*value.sources, value.status]) for name, value in self.values.items()),
        ]
        for key, names in keys:
            for column in names:
                if column is not None:
                    found.setdefault(column, key)
        return found


class _Files(Strict, frozen=True, kw_only=True):
    """Files whose path or name fits ``match``, with ``*`` and ``?``."""

    match: Text
    skip: bool = False
    """Leave them out: folders hold other things too."""


class ColumnMap(Struct, frozen=True):
    """A whole map: the layout of each kind of file, the first that fits."""

    name: str
    files: list[tuple[str, Layout | None]]
    """Pattern and layout; without a layout such files are left out."""
    base: Layout | None
    """For files that fit no pattern."""

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


T = TypeVar("T", bound=Struct)
SECTIONS: dict[str, type[Struct]] = {"station": Station, "time": Time, "long": Long, "status": Status}


def parse(toml: bytes, name: str) -> ColumnMap:
    """Read a column map.

    Raises:
        MapError: naming the file, the key or line, and what was expected.
    """
    try:
        raw = msgspec.toml.decode(toml)
        entries = raw.pop("files", [])
        if not isinstance(entries, list):
            raise ValueError("files: write [[files]], once for each pattern")
        base = _layout(raw, "") if "values" in raw or not entries else None
        files: list[tuple[str, Layout | None]] = []
        for i, entry in enumerate(entries):
            where = f"files[{i}] ({entry.get('match', 'no match') if isinstance(entry, dict) else entry!r}): "
            head = _convert({k: entry[k] for k in ("match", "skip") if k in entry}, _Files, where.removesuffix(": "))
            own = {key: part for key, part in entry.items() if key not in ("match", "skip")}
            files.append((head.match, None if head.skip else _layout(_over(raw, own), where)))
        return ColumnMap(name, files, base)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError, AttributeError) as err:
        raise MapError(f"{name}: {re.sub(r' - at `[$]`', '', str(err))}") from err


def load_map(name_or_path: str | Path) -> ColumnMap:
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
    return parse(path.read_bytes(), str(name_or_path))


def known_maps() -> list[str]:
    """Names of the maps that ship with cityair."""
    return [path.stem for path in shipped("maps").glob("*.toml")]


def _layout(raw: dict[str, Any], where: str) -> Layout:
    raw = dict(raw)
    for key, shape in SECTIONS.items():  # one by one, because an error path does not tell tables apart
        if key in raw:
            raw[key] = _convert(raw[key], shape, f"{where}{key}")
    values = raw.get("values")
    if isinstance(values, dict):
        for name in values:
            if name not in AIR.values:
                raise ValueError(f"{where}values.{name}: unknown; known are {', '.join(AIR.values)}")
        raw["values"] = {name: _convert(value, Value, f"{where}values.{name}") for name, value in values.items()}
    return _convert(raw, Layout, where.removesuffix(": "))


def _convert(entry: object, shape: type[T], where: str) -> T:
    try:
        return msgspec.convert(entry, shape)
    except msgspec.ValidationError as err:
        raise ValueError(f"{where}: {err}" if where else str(err)) from err


def _over(raw: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay a file entry's keys over the map's; tables key by key, but values as a whole."""
    merged = {**raw, **own}
    for key in SECTIONS:
        if isinstance(raw.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = {**raw[key], **own[key]}
    return merged


def _fits(topic: str, match: str) -> bool:
    return fnmatchcase(topic, match) or fnmatchcase(PurePosixPath(topic).name, match)
