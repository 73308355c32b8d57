"""Looking after a lake's files: ``check`` proves them readable, ``compact`` joins the small ones of closed days.

Whether the books balance is proved by ``audit``.
"""

import json
import time
import uuid
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from schemas.errors import ConfigurationError, ContractError
from schemas.tables import TABLES
from sinks import recovery_store as store
from sinks.catalog import relations
from sinks.catalog.snapshot import DataFile, data_files, open_table, read_city
from sinks.maintenance.audit import AuditReport, Report, audit

__all__ = ["AuditReport", "CheckReport", "audit", "check", "compact", "vacuum"]

KEPT = timedelta(hours=24)
"""Files a reader may still hold, or a flow may still commit, are younger than this."""
MANY_FILES = 8
"""More files than this in a day slow queries down."""
ATTEMPTS = 5
"""Times a compaction is tried against another one; a flow's appends do not conflict with it."""
LONGEST_END = 200
"""Characters of a least or greatest value worth a place in the log."""
ROW_GROUP = 32_768
"""Rows per row group of a compacted file: a station's day then touches few of them."""


class CheckReport(Report):
    """The files of a lake, table by table: how many files, rows and bytes each has."""

    tables: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


def check(lake: str | Path) -> CheckReport:
    """Look whether every table can be read, and is what its log and ``schemas.tables`` say.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    lake = Path(lake).absolute()
    zone = ZoneInfo(read_city(lake).city.timezone)
    report = CheckReport()
    for name in TABLES:
        try:
            table = open_table(lake, name)
        except (DeltaError, OSError) as err:
            report.faults.append(
                f"{name}: its log cannot be read: {err}; restore {lake / name / '_delta_log'} from a backup"
            )
            continue
        if table is not None:
            listed = list(data_files(table, lake / name))
            report.tables[name] = {
                "files": len(listed),
                "rows": sum(file.rows or 0 for file in listed),
                "bytes": sum(file.size for file in listed),
            }
            _check_columns(name, table, report)
            for file in listed:
                _check_file(name, file, zone, report)
            _check_strays(name, table, lake / name, listed, report)
            _check_days(name, listed, report)
    return report


def _check_columns(name: str, table: DeltaTable, report: CheckReport) -> None:
    if table.metadata().partition_columns != ["dt"]:
        report.faults.append(f"{name}: partitioned by {table.metadata().partition_columns}, not by dt")
    have = {field.name: _type(field) for field in pa.schema(table.schema().to_arrow()) if field.name != "dt"}
    want = {field.name: _type(field) for field in TABLES[name].schema}
    for column in sorted(have.keys() & want.keys()):
        if have[column] != want[column]:
            report.faults.append(f"{name}.{column}: is {have[column]}, but schemas/tables.py says {want[column]}")
    for column in sorted(want.keys() - have.keys()):
        report.warnings.append(f"{name}.{column}: not in the table yet; the next `cityair run` adds it")
    for column in sorted(have.keys() - want.keys()):
        report.warnings.append(f"{name}.{column}: unknown to this version of cityair")


def _check_file(name: str, file: DataFile, zone: ZoneInfo, report: CheckReport) -> None:
    """Compare a file with its log entry, and its rows with its day."""
    cure = "restore it from a backup"
    try:
        size = file.path.stat().st_size
        if size != file.size:
            report.faults.append(f"{name}: {file.path} has {size} bytes, the log says {file.size}; {cure}")
            return
        with pq.ParquetFile(file.path) as parquet:
            fields, rows, column = parquet.schema_arrow, parquet.metadata.num_rows, TABLES[name].time
            span = pc.min_max(parquet.read([column])[column]).as_py() if column in fields.names else {}
    except FileNotFoundError:
        report.faults.append(f"{name}: {file.path} is gone, though the log lists it; {cure}")
        return
    except (pa.ArrowException, OSError) as err:
        report.faults.append(f"{name}: {file.path} cannot be read: {err}; {cure}")
        return
    if rows != file.rows:
        report.faults.append(f"{name}: {file.path} has {rows} rows, the log says {file.rows}")
    want = {field.name: _type(field) for field in TABLES[name].schema}
    for field in fields:
        if _type(field) != want.get(field.name, _type(field)):
            report.faults.append(f"{name}: {file.path}: {field.name} is {_type(field)}, not {want[field.name]}")
    for moment in {found for found in span.values() if found is not None}:
        day = (moment - timedelta(microseconds=1)).astimezone(zone).date()
        if day != file.dt:
            report.faults.append(f"{name}: {file.path} holds {column} = {moment.isoformat()}, which is of {day}")


def _type(field: pa.Field) -> str:
    try:
        return relations.sql_type(field.type)
    except KeyError:  # no type of ours
        return str(field.type)


def _check_strays(name: str, table: DeltaTable, root: Path, listed: list[DataFile], report: CheckReport) -> None:
    """Mention Parquet files that the table does not consist of."""
    replaced = set(table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False))
    known = {file.path for file in listed} | {root / path for path in replaced}
    old, young = 0, 0
    for path in root.glob("dt=*/*.parquet"):
        if path not in known:
            aged = time.time() - path.stat().st_mtime > KEPT.total_seconds()
            old, young = old + aged, young + (not aged)
    if young:
        report.warnings.append(
            f"{name}: {young} files not in the log, younger than 24 h: a flow is writing them, or was stopped"
        )
    if old:
        report.warnings.append(
            f"{name}: {old} stray files older than 24 h; a stopped flow may still need them: start it once more, "
            "it removes what it does not need"
        )
    if replaced:
        report.warnings.append(
            f"{name}: {len(replaced)} files replaced by others; `cityair lake compact --vacuum` removes them after 24 h"
        )


def _check_days(name: str, listed: list[DataFile], report: CheckReport) -> None:
    days: dict[date, int] = {}
    for file in listed:
        days[file.dt] = days.get(file.dt, 0) + 1
    full = [day for day, count in days.items() if count > MANY_FILES]
    if full:
        which = f"{len(full)} days of more than {MANY_FILES} files, the first {min(full)}"
        report.warnings.append(f"{name}: {which}; `cityair lake compact` joins them")


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
            counts: dict[date, int] = {}
            for file in data_files(table, lake / name):
                counts[file.dt] = counts.get(file.dt, 0) + 1
            days = [day for day, count in counts.items() if count > 1 and day < before]
            replaced[name] = sum(_join(lake, name, day) for day in days)
    return replaced


def _join(lake: Path, name: str, day: date) -> int:
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
    root = lake / name
    table = DeltaTable(str(root))
    old = [file for file in data_files(table, root) if file.dt == day]
    rows = _sorted_rows(name, table, old)
    path = root / f"dt={day}" / f"compact-{uuid.uuid4().hex}.parquet"
    try:
        pq.write_table(rows, path, compression="zstd", row_group_size=ROW_GROUP)
        store.fsync(path)
        store.fsync(path.parent)
        add = AddAction(
            path.relative_to(root).as_posix(),
            path.stat().st_size,
            {"dt": str(day)},
            int(time.time() * 1000),
            False,  # the same rows as before, for whoever follows changes
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
        path.unlink(missing_ok=True)
        raise
    table.update_incremental()
    store.fsync(root / "_delta_log" / f"{table.version():020}.json")
    store.fsync(root / "_delta_log")
    return len(old)


def _sorted_rows(name: str, table: DeltaTable, files: list[DataFile]) -> pa.Table:
    schema = pa.schema([field for field in pa.schema(table.schema().to_arrow()) if field.name != "dt"])
    order = [*TABLES[name].key, *(["revision"] if TABLES[name].revised else [])]
    columns = relations.columns_of(schema)
    relation = relations.typed(columns, relations.scan(files, relations.options_of(files, columns)))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.execute(f"SELECT * EXCLUDE dt FROM {relation} ORDER BY {', '.join(order)}").to_arrow_table()
    said = sum(file.rows or 0 for file in files)
    if rows.num_rows != said:
        held = f"{name}: the files of {files[0].dt} hold {rows.num_rows} rows, the log says {said}"
        raise ContractError(f"{held}; run `cityair lake check`")
    return rows.cast(schema)


def _statistics(rows: pa.Table) -> dict[str, Any]:
    """Make the statistics by which readers skip a file."""
    least, most = {}, {}
    for field in rows.schema:
        if not (pa.types.is_binary(field.type) or pa.types.is_boolean(field.type) or pa.types.is_nested(field.type)):
            column = rows.column(field.name)
            if pa.types.is_floating(field.type):
                column = column.filter(pc.is_finite(column))
            ends = pc.min_max(column).as_py()
            if ends["min"] is not None and max(len(str(end)) for end in ends.values()) <= LONGEST_END:
                low, high = (
                    f"{end:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(end, datetime) else end for end in ends.values()
                )
                least[field.name], most[field.name] = low, high
    nulls = {field.name: rows.column(field.name).null_count for field in rows.schema}
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


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
    terms = {"retention_hours": int(KEPT.total_seconds() // 3600), "enforce_retention_duration": False}
    removed = {}
    for name in TABLES:
        if (table := open_table(lake, name)) is not None:
            removed[name] = len(table.vacuum(dry_run=True, **terms))
            if removed[name]:  # else the log would grow by entries that say nothing
                table.vacuum(dry_run=False, **terms)
    return removed
