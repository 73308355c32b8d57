"""``check``: whether every file of a lake is there, readable, and what the log of its table says.

Whether the ledger balances is proved by ``audit``.
"""

import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.tables import TABLES
from sinks.catalog import relations
from sinks.catalog.snapshot import TableFile, open_table, read_city, table_files
from sinks.maintenance.compact import RETENTION
from sinks.maintenance.report import Report

MANY_FILES = 8
"""More files than this in a day slow queries down."""


class CheckReport(Report):
    """What ``check`` found, and for each table how many files, rows and bytes it has."""

    tables: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


def check(lake: str | Path) -> CheckReport:
    """Check whether every table can be read, and is what its log and ``schemas.tables`` say.

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
            files = list(table_files(table, lake / name))
            report.tables[name] = {
                "files": len(files),
                "rows": sum(file.rows or 0 for file in files),
                "bytes": sum(file.size for file in files),
            }
            _check_columns(name, table, report)
            for file in files:
                _check_file(name, file, zone, report)
            _check_orphans(name, table, lake / name, files, report)
            _check_days(name, files, report)
    return report


def _check_columns(name: str, table: DeltaTable, report: CheckReport) -> None:
    """Compare the columns of a table with those of ``schemas.tables``."""
    if table.metadata().partition_columns != ["dt"]:
        report.faults.append(f"{name}: partitioned by {table.metadata().partition_columns}, not by dt")
    actual = {field.name: _type(field) for field in pa.schema(table.schema().to_arrow()) if field.name != "dt"}
    expected = {field.name: _type(field) for field in TABLES[name].schema}
    for column in sorted(actual.keys() & expected.keys()):
        if actual[column] != expected[column]:
            report.faults.append(f"{name}.{column}: is {actual[column]}, but schemas/tables.py says {expected[column]}")
    for column in sorted(expected.keys() - actual.keys()):
        report.warnings.append(f"{name}.{column}: not in the table yet; the next `cityair run` adds it")
    for column in sorted(actual.keys() - expected.keys()):
        report.warnings.append(f"{name}.{column}: unknown to this version of cityair")


def _check_file(name: str, file: TableFile, zone: ZoneInfo, report: CheckReport) -> None:
    """Compare a file with its log entry, and its rows with its day."""
    remedy = "restore it from a backup"
    column = TABLES[name].time
    try:
        size = file.path.stat().st_size
        if size != file.size:
            report.faults.append(f"{name}: {file.path} has {size} bytes, the log says {file.size}; {remedy}")
            return
        with pq.ParquetFile(file.path) as parquet:
            fields, rows = parquet.schema_arrow, parquet.metadata.num_rows
            span = pc.min_max(parquet.read([column])[column]).as_py() if column in fields.names else {}
    except FileNotFoundError:
        report.faults.append(f"{name}: {file.path} is gone, though the log lists it; {remedy}")
        return
    except (pa.ArrowException, OSError) as err:
        report.faults.append(f"{name}: {file.path} cannot be read: {err}; {remedy}")
        return
    if rows != file.rows:
        report.faults.append(f"{name}: {file.path} has {rows} rows, the log says {file.rows}")
    expected = {field.name: _type(field) for field in TABLES[name].schema}
    for field in fields:
        if _type(field) != expected.get(field.name, _type(field)):
            report.faults.append(f"{name}: {file.path}: {field.name} is {_type(field)}, not {expected[field.name]}")
    for moment in {end for end in span.values() if end is not None}:
        day = (moment - timedelta(microseconds=1)).astimezone(zone).date()
        if day != file.dt:
            report.faults.append(f"{name}: {file.path} holds {column} = {moment.isoformat()}, which is of {day}")


def _type(field: pa.Field) -> str:
    try:
        return relations.sql_type(field.type)
    except KeyError:  # no type of ours
        return str(field.type)


def _check_orphans(name: str, table: DeltaTable, folder: Path, files: list[TableFile], report: CheckReport) -> None:
    """Mention data files that the table does not consist of."""
    replaced = set(table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False))
    known = {file.path for file in files} | {folder / path for path in replaced}
    orphans = [path for path in folder.glob("dt=*/*.parquet") if path not in known]
    old = sum(time.time() - path.stat().st_mtime > RETENTION.total_seconds() for path in orphans)
    young = len(orphans) - old
    if young:
        report.warnings.append(
            f"{name}: {young} files not in the log, younger than 24 h: a flow is writing them, or was stopped"
        )
    if old:
        report.warnings.append(
            f"{name}: {old} orphan files older than 24 h; a stopped flow may still need them: start it once more, "
            "it removes what it does not need"
        )
    if replaced:
        report.warnings.append(
            f"{name}: {len(replaced)} files replaced by others; `cityair lake compact --vacuum` removes them after 24 h"
        )


def _check_days(name: str, files: list[TableFile], report: CheckReport) -> None:
    """Mention days of many files."""
    counts: Counter[date] = Counter(file.dt for file in files)
    full = [day for day, count in counts.items() if count > MANY_FILES]
    if full:
        which = f"{len(full)} days of more than {MANY_FILES} files, the first {min(full)}"
        report.warnings.append(f"{name}: {which}; `cityair lake compact` joins them")
