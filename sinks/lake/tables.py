"""Tables of a lake: made where they are missing, and widened by new columns; and what is kept beside them."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.city import City
from schemas.errors import ConfigurationError
from schemas.tables import TABLES, Table
from sinks import recovery_store
from sinks.lake import commit_log
from sinks.lake.layout import CITY_FILE, IDENTITY_FILE, META_FOLDER

CREATE_ATTEMPTS = 10
"""How often a table is looked at again, where another process makes or widens it at the same moment."""
CREATE_PAUSE_S = 0.1


@contextmanager
def exclusive(root: Path, recovery: Path, writer: str) -> Iterator[None]:
    """Hold a writer's recovery store, and its part of the lake, against every other process.

    Args:
        root: the lake.
        recovery: folder of the recovery stores.
        writer: id of the writer, which names the locks; other writers of the lake are not kept out.

    Raises:
        ConfigurationError: another process holds one of them, or it cannot be written.
    """
    with (
        recovery_store.locked(recovery / f"{writer}.lock", f"recovery store {recovery}"),
        recovery_store.locked(root / META_FOLDER / f"{writer}.lock", f"lake {root}"),
    ):
        yield


def create_tables(root: Path) -> str:
    """Make the tables that are not there, and add columns that are new; return the lake's identity.

    Several processes may do so at once: they end with the same tables and one identity.

    Raises:
        ConfigurationError: the lake cannot be written.
    """
    try:
        (root / META_FOLDER).mkdir(parents=True, exist_ok=True)
        path = root / IDENTITY_FILE
        identity = path.read_bytes() if path.exists() else recovery_store.write_once(path, uuid.uuid4().hex.encode())
        for name, table in TABLES.items():
            _create_table(root / name, name, table)
        return identity.decode()
    except (OSError, DeltaError) as err:
        raise ConfigurationError(f"lake {root} cannot be written: {err}") from err


def keep_city(root: Path, city: City) -> None:
    """Keep the city beside the tables, for readers of the lake."""
    recovery_store.write_durably(root / CITY_FILE, msgspec.json.encode(city))


def _create_table(folder: Path, name: str, table: Table) -> None:
    """Make a table if it is not there, and add the columns that it lacks.

    Raises:
        CommitFailedError: another process got in between, each time.
    """
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        try:
            return _create_table_once(folder, name, table)
        except CommitFailedError:  # another process makes the table, or adds the same columns: look again
            if attempt == CREATE_ATTEMPTS:
                raise
            time.sleep(CREATE_PAUSE_S)
    raise AssertionError("unreachable")


def _create_table_once(folder: Path, name: str, table: Table) -> None:
    schema = _delta_schema(table.schema)
    durable = -1
    if DeltaTable.is_deltatable(str(folder)):
        delta = DeltaTable(str(folder))
        durable = delta.version()
    else:
        delta = DeltaTable.create(
            str(folder),
            schema,
            mode="ignore",
            partition_by=["dt"],
            name=name,
            description=table.doc,
            # delta-rs' own retry would make the table a second time, as a version 1 over the other process's version 0
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    present = set(delta.schema().to_arrow().names)
    missing = [field for field in DeltaSchema.from_arrow(schema).fields if field.name not in present]
    if missing:
        delta.alter.add_columns(missing)
        delta.update_incremental()
    if delta.version() > durable:
        commit_log.fsync_entries(folder, durable + 1, delta.version())
        recovery_store.fsync(folder)
        recovery_store.fsync(folder.parent)


def _delta_schema(schema: pa.Schema) -> pa.Schema:
    fields = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    return pa.schema([*fields, pa.field("dt", pa.date32())])
