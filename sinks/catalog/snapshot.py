"""A lake at one moment: its city, and which files each of its tables consists of."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from schemas.city import City
from schemas.errors import ConfigurationError
from schemas.tables import LEDGER_TABLE, TABLES
from sinks.lake.layout import CITY_FILE


class TableFile(NamedTuple):
    """A Parquet file that a table's log lists, with what the log says of it."""

    path: Path
    dt: date
    size: int
    """Bytes."""
    rows: int | None
    revised: bool
    """It may hold a revision above 0."""
    written: int
    """When, in milliseconds since 1970."""
    span: tuple[int, int] | None
    """Least and greatest time of its rows, microseconds since 1970."""


@dataclass(frozen=True)
class Snapshot:
    """A lake at one moment.

    Attributes:
        lake: its directory.
        city: the city file of its newest run.
        tables: the files of each table; a table that does not exist yet is not among them.
    """

    lake: Path
    city: City
    tables: dict[str, list[TableFile]]


def take_snapshot(lake: str | Path) -> Snapshot:
    """Read which files each table of a lake consists of.

    The ledger is opened first: a flow commits it last, so no other table can be behind it.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    lake = Path(lake).absolute()
    city = read_city(lake)
    ledger_first = sorted(TABLES, key=lambda name: name != LEDGER_TABLE)
    opened = {name: open_table(lake, name) for name in ledger_first}
    files = {name: list(table_files(table, lake / name)) for name, table in opened.items() if table}
    return Snapshot(lake, city, files)


def read_city(lake: Path) -> City:
    """Read the city that the newest run on this lake was started with.

    Raises:
        ConfigurationError: the lake does not exist, was not made by cityair, or is of a newer version.
    """
    remedy = "name the directory that `cityair run … --lake DIR` wrote, or run it first"
    if not lake.is_dir():
        raise ConfigurationError(f"{lake}: there is no lake here; {remedy}")
    try:
        return msgspec.json.decode((lake / CITY_FILE).read_bytes(), type=City)
    except FileNotFoundError as err:
        raise ConfigurationError(f"{lake}: not a lake of cityair, it has no {CITY_FILE}; {remedy}") from err
    except msgspec.MsgspecError as err:
        remedy = "start `cityair run` on this lake with this version of cityair; it writes the file anew"
        raise ConfigurationError(f"{lake / CITY_FILE}: {err}; {remedy}") from err


def open_table(lake: Path, name: str) -> DeltaTable | None:
    """Open a table of the lake at its newest version; None if it does not exist yet."""
    folder = str(lake / name)
    return DeltaTable(folder) if DeltaTable.is_deltatable(folder) else None


def table_files(table: DeltaTable, folder: Path) -> Iterator[TableFile]:
    """Yield the files of one version of the table in ``folder``, in the order of their days and names."""
    adds = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    if not adds.num_rows:
        return
    time = TABLES[folder.name].time
    plain = {
        "path": "path",
        "partition.dt": "dt",
        "size_bytes": "size",
        "num_records": "rows",
        "max.revision": "revision",
    }
    times = {"modification_time": "written", f"min.{time}": "first", f"max.{time}": "last"}
    columns = {name: adds.column(action) for action, name in plain.items() if action in adds.column_names}
    # Times as whole numbers: Arrow would load pandas, half a second, to make objects of them.
    columns |= {name: adds.column(t).cast(pa.int64()) for t, name in times.items() if t in adds.column_names}
    for add in sorted(pa.table(columns).to_pylist(), key=lambda add: (str(add["dt"]), add["path"])):
        has_span = add.get("first") is not None and add.get("last") is not None
        yield TableFile(
            folder / unquote(add["path"]),
            date.fromisoformat(str(add["dt"])),
            add["size"],
            add["rows"],
            add.get("revision") != 0,
            add["written"],
            (add["first"], add["last"]) if has_span else None,
        )
