"""``compact`` joins the small files of closed days; ``vacuum`` removes, a day later, the files so replaced."""

import json
import time
import uuid
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from schemas.errors import ConfigurationError, ContractError
from schemas.tables import TABLES
from sinks import recovery_store
from sinks.catalog import relations
from sinks.catalog.snapshot import TableFile, open_table, read_city, table_files
from sinks.lake import commit_log

RETENTION = timedelta(hours=24)
"""Files younger than this may be held by a reader, or still be committed by a flow."""
ATTEMPTS = 5
"""How often a compaction is tried against another one; a flow's appends do not conflict with it."""
MAX_BOUND_CHARACTERS = 200
"""Least and greatest values that are longer are no use in the log."""
ROW_GROUP_ROWS = 32_768
"""Rows of a row group of a compacted file, few, so that a station's day touches little."""


def compact(lake: str | Path, before: date | None = None) -> dict[str, int]:
    """Join the files of each day into one, sorted by the table's key; a flow may run meanwhile.

    No row is dropped: older revisions stay. Readers keep what they opened until ``vacuum``.

    Args:
        lake: directory of the lake.
        before: days before this are joined; yesterday in the city's zone if not given, because late readings may
            still touch it.

    Returns:
        How many files were replaced, by table.

    Raises:
        ConfigurationError: there is no lake at this path, or it cannot be written to.
        ContractError: a file does not hold the rows its log says; nothing of that day was changed.
    """
    lake = Path(lake).absolute()
    zone = ZoneInfo(read_city(lake).city.timezone)
    before = before or datetime.now(zone).date() - timedelta(days=1)
    replaced = {}
    for name in TABLES:
        if (table := open_table(lake, name)) is not None:
            counts: Counter[date] = Counter(file.dt for file in table_files(table, lake / name))
            days = [day for day, count in counts.items() if count > 1 and day < before]
            replaced[name] = sum(_join(lake, name, day) for day in days)
    return replaced


def vacuum(lake: str | Path) -> dict[str, int]:
    """Remove files that were replaced more than 24 h ago.

    Files that no log entry speaks of stay: a flow that was stopped may still commit them.

    Returns:
        How many files were removed, by table.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    lake = Path(lake).absolute()
    read_city(lake)
    hours = int(RETENTION.total_seconds() // 3600)
    removed = {}
    for name in TABLES:
        if (table := open_table(lake, name)) is not None:
            removed[name] = len(table.vacuum(hours, dry_run=True, enforce_retention_duration=False))
            if removed[name]:  # else the log would grow by entries that say nothing
                table.vacuum(hours, dry_run=False, enforce_retention_duration=False)
    return removed


def _join(lake: Path, name: str, day: date) -> int:
    """Join the files of a day, again where another compaction got in between; return how many were replaced."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _join_once(lake, name, day)
        except CommitFailedError as err:
            if attempt == ATTEMPTS:
                raise ConfigurationError(f"{lake / name}: {day} could not be joined: {err}; try again later") from err
        except OSError as err:
            raise ConfigurationError(f"{lake / name}: cannot be written: {err}; make room, or give the right") from err
    raise AssertionError("unreachable")


def _join_once(lake: Path, name: str, day: date) -> int:
    """Replace the files of a day, as this handle sees it; what a flow adds meanwhile stays beside the new file."""
    folder = lake / name
    table = DeltaTable(str(folder))
    version = table.version()
    files = [file for file in table_files(table, folder) if file.dt == day]
    rows = _sorted_rows(name, table, files)
    path = folder / f"dt={day}" / f"compact-{uuid.uuid4().hex}.parquet"
    relative = path.relative_to(folder).as_posix()
    try:
        pq.write_table(rows, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        recovery_store.fsync(path)
        recovery_store.fsync(path.parent)
        add = AddAction(
            relative,
            path.stat().st_size,
            {"dt": str(day)},
            int(time.time() * 1000),
            False,  # the same rows as before: readers of changes may skip it
            json.dumps(_statistics(rows)),
        )
        table.create_write_transaction(
            [add],
            mode="overwrite",
            schema=table.schema(),
            partition_by=["dt"],
            partition_filters=[("dt", "=", str(day))],
        )
    except BaseException:
        if not _is_listed(folder, relative, version):
            path.unlink(missing_ok=True)
        raise
    table.update_incremental()
    commit_log.fsync_entries(folder, version + 1, table.version())
    return len(files)


def _is_listed(folder: Path, path: str, version: int) -> bool:
    """Whether a commit after ``version`` added the file: an interrupt may come when the commit is made already."""
    entries = commit_log.newest_first(folder, DeltaTable(str(folder)).version())
    return any(path in entry.added for entry in entries if entry.version > version)


def _sorted_rows(name: str, table: DeltaTable, files: list[TableFile]) -> pa.Table:
    """Read the rows of files, sorted by the table's key and revision.

    Raises:
        ContractError: there are more or fewer than the log says.
    """
    schema = pa.schema([field for field in pa.schema(table.schema().to_arrow()) if field.name != "dt"])
    order = [*TABLES[name].key, *(["revision"] if TABLES[name].revised else [])]
    columns = relations.columns_of(schema)
    relation = relations.typed(columns, relations.scan(files, relations.options_of(files, columns)))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.execute(f"SELECT * EXCLUDE dt FROM {relation} ORDER BY {', '.join(order)}").to_arrow_table()
    logged = sum(file.rows or 0 for file in files)
    if rows.num_rows != logged:
        difference = f"{name}: the files of {files[0].dt} hold {rows.num_rows} rows, the log says {logged}"
        raise ContractError(f"{difference}; run `cityair lake check`")
    return rows.cast(schema)


def _statistics(rows: pa.Table) -> dict[str, Any]:
    """Make the statistics by which readers skip a file."""
    least, greatest = {}, {}
    for field in rows.schema:
        if pa.types.is_binary(field.type) or pa.types.is_boolean(field.type) or pa.types.is_nested(field.type):
            continue
        column = rows.column(field.name)
        if pa.types.is_floating(field.type):
            column = column.filter(pc.is_finite(column))
        ends = pc.min_max(column).as_py()
        if ends["min"] is None or max(len(str(end)) for end in ends.values()) > MAX_BOUND_CHARACTERS:
            continue
        least[field.name], greatest[field.name] = (
            f"{end:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(end, datetime) else end for end in ends.values()
        )
    nulls = {field.name: rows.column(field.name).null_count for field in rows.schema}
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}
