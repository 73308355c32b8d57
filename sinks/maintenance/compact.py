"""``compact`` joins the small files of closed days; ``vacuum`` removes, a day later, the files so replaced."""

import json
import logging
import random
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
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from schemas.errors import ConfigurationError, ContractError
from schemas.tables import TABLES
from sinks import recovery_store
from sinks.catalog import relations
from sinks.catalog.snapshot import TableFile, open_table, read_city, table_files
from sinks.lake import commit_log

RETENTION = timedelta(hours=24)
"""Files younger than this may be held by a reader, or still be committed by a flow."""
ATTEMPTS = 5
"""How often the files of a day are joined anew because another compaction replaced one of them meanwhile."""
COMMIT_ATTEMPTS = 50
"""How often the commit of a joined file is tried while others, such as flows, commit to the table."""
PAUSE_S = 0.05
"""Longest pause between two of these attempts."""
MAX_BOUND_CHARACTERS = 200
"""Least and greatest values that are longer are no use in the log."""
ROW_GROUP_ROWS = 32_768
"""Rows of a row group of a compacted file, few, so that a station's day touches little."""
log = logging.getLogger("cityair")


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
    folder = lake / name
    try:
        for _ in range(ATTEMPTS):
            table = DeltaTable(str(folder))
            files = [file for file in table_files(table, folder) if file.dt == day]
            if len(files) < 2:  # another compaction was faster
                return 0
            if _join_files(folder, table, files):
                return len(files)
    except OSError as err:
        raise ConfigurationError(f"{folder}: cannot be written: {err}; make room, or give the right") from err
    raise ConfigurationError(f"{folder}: {day} could not be joined: others were faster each time; try again later")


def _join_files(folder: Path, table: DeltaTable, files: list[TableFile]) -> bool:
    """Write one file in place of some, and commit it; what a flow adds meanwhile stays beside it.

    Returns:
        Whether it was committed; else others committed all the time, or replaced one of the files.
    """
    rows = _sorted_rows(folder.name, table, files)
    path = folder / f"dt={files[0].dt}" / f"compact-{uuid.uuid4().hex}.parquet"
    try:
        pq.write_table(rows, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        recovery_store.fsync(path)
        recovery_store.fsync(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    # From here on the file is removed only where the log, read after a refusal, says that it is in no table.
    actions = _replacement(folder, path, files, json.dumps(_statistics(rows)))
    for _ in range(COMMIT_ATTEMPTS):
        if not _paths(folder, table) >= {file.path for file in files}:
            break
        if _commit(folder, table, actions, path):
            return True
        time.sleep(PAUSE_S * random.uniform(0.5, 1))  # noqa: S311 - chance, not secrecy
    path.unlink()
    return False


def _replacement(folder: Path, path: Path, files: list[TableFile], statistics: str) -> list[AddAction | RemoveAction]:
    """Actions of the log by which a file replaces others.

    delta-rs lets two compactions of the same files both commit where neither's removals change data, and then every
    row is there twice. So ours say that they do.
    """
    now_ms, dt = int(time.time() * 1000), {"dt": str(files[0].dt)}
    removed = [
        RemoveAction(file.path.relative_to(folder).as_posix(), True, now_ms, file.size, {**dt}) for file in files
    ]
    add = AddAction(path.relative_to(folder).as_posix(), path.stat().st_size, dt, now_ms, False, statistics)
    return [add, *removed]


def _commit(folder: Path, table: DeltaTable, actions: list[AddAction | RemoveAction], path: Path) -> bool:
    """Commit right after the version that the table is open at, or not at all; then open its newest version.

    Args:
        folder: of the table.
        table: open at the version of which the actions speak.
        actions: to commit.
        path: the file that they add.

    Returns:
        Whether the file is in the table.
    """
    version, failure = table.version(), None
    try:
        table.create_write_transaction(
            actions,
            mode="append",
            schema=table.schema(),
            partition_by=["dt"],
            # delta-rs' own retry would not look whether the replaced files are still there.
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except CommitFailedError:
        pass  # the log says what is so
    except (DeltaError, OSError) as err:
        failure = err
    table.update_incremental()
    committed = path in _paths(folder, table)
    if failure is not None:
        if not committed:
            raise ConfigurationError(
                f"{folder}: cannot be written: {failure}; make room, or give the right"
            ) from failure
        log.warning("%s: the commit is made, but not what follows it: %s", folder, failure)
    if committed:
        commit_log.fsync_entries(folder, version + 1, table.version())
    return committed


def _paths(folder: Path, table: DeltaTable) -> set[Path]:
    return {file.path for file in table_files(table, folder)}


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
