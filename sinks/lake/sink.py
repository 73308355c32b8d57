"""The lake: Delta tables, exactly once, by two-phase commit.

An epoch's data files are written while it lasts, closed and fsynced in ``snapshot()``, and kept in the recovery store
as *pending* under a sequence P. They are committed to their tables once that epoch is known durable: a source starts
the next epoch only after that, so the next ``snapshot()`` may. Each commit carries the application transaction
(flow, P), which tells a resume whether a pending commit was made before the crash or is still to be made.
"""

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from flows.outputs.lake_rows import DeferredRows, LakeBatch
from schemas.city import City
from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks import recovery_store as store
from sinks.failpoints import failpoint
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.ledger import EpochLedger

LEDGER_TABLE = "ledger"
"""Committed last: the catalog opens it first, so that other tables are never behind it."""
HOME = "_cityair"
"""Folder of the lake for what is not a table: the city as last run, and locks."""
MAX_DEFERRED_ROWS = 20_000
"""Rows that may be made later, when nothing comes: those of some slots, of a city with fifty stations."""
MOST_PENDING = 8
"""Epochs whose commits may be under way; then the worker waits for them."""


@contextmanager
def exclusive(root: Path, recovery: Path, flow: str) -> Iterator[None]:
    """Hold a flow's recovery store and its part of the lake against every other process.

    Raises:
        ConfigurationError: another process holds one of them, or it cannot be written.
    """
    with (
        store.locked(recovery / f"{flow}.lock", f"recovery store {recovery}"),
        store.locked(root / HOME / f"{flow}.lock", f"lake {root}"),
    ):
        yield


def create_tables(root: Path) -> str:
    """Make the tables that are not there, and add columns that are new; return the lake's identity.

    Raises:
        ConfigurationError: the lake cannot be written.
    """
    try:
        (root / HOME).mkdir(parents=True, exist_ok=True)
        identity = root / HOME / "identity"
        if not identity.exists():
            store.write_durably(identity, uuid.uuid4().hex.encode())
        for name, table in TABLES.items():
            schema = _delta_schema(table.schema)
            if not DeltaTable.is_deltatable(str(root / name)):
                DeltaTable.create(
                    str(root / name), schema, mode="ignore", partition_by=["dt"], name=name, description=table.doc
                )
                continue
            delta = DeltaTable(str(root / name))
            have = set(delta.schema().to_arrow().names)
            new = [field for field in DeltaSchema.from_arrow(schema).fields if field.name not in have]
            if new:
                delta.alter.add_columns(new)
        return identity.read_text()
    except (OSError, DeltaError) as err:
        raise ConfigurationError(f"lake {root} cannot be written: {err}") from err


def keep_city(root: Path, city: City) -> None:
    """Keep the city beside the tables, for those who ask the lake."""
    store.write_durably(root / HOME / "city.json", msgspec.json.encode(city))


def _delta_schema(schema: pa.Schema) -> pa.Schema:
    fields = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    return pa.schema([*fields, pa.field("dt", pa.date32())])


class LakeSink(FixedPartitionedSink[DeferredRows, dict[str, Any]]):
    """All tables of one flow. Exactly once under recovery.

    Args:
        root: the lake.
        flow: name of the flow: application of its transactions and start of its files' names.
        city: for dates.
        watch: is shown every item.

    Raises:
        ConfigurationError: the lake cannot be written.
    """

    def __init__(self, root: Path, flow: str, city: City, watch: Callable[[LakeBatch], None] = lambda _: None) -> None:
        self._root, self._flow, self._city, self._watch = root, flow, city, watch
        self._identity = create_tables(root)
        self._days = LocalDates(city.city.timezone)
        self._part: _Lake | None = None

    def list_parts(self) -> list[str]:
        """One partition: one step owns all tables."""
        return ["lake"]

    def part_fn(self, item_key: str) -> int:
        """Everything goes there."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "_Lake":
        """Take up where the last durable epoch left off."""
        self._part = _Lake(self._root, self._flow, self._identity, self._days, resume_state, self._watch)
        keep_city(self._root, self._city)
        return self._part

    def finish(self) -> None:
        """After the engine has returned, every epoch is durable: commit what is pending."""
        if self._part:
            self._part.commit_all()

    def abandon(self) -> None:
        """After the engine has failed, commit nothing more: the recovery store says what is pending."""
        if self._part:
            self._part.abandon()


class _Lake(StatefulSinkPartition[DeferredRows, dict[str, Any]]):
    def __init__(
        self,
        root: Path,
        flow: str,
        identity: str,
        days: LocalDates,
        resume: dict[str, Any] | None,
        watch: Callable[[LakeBatch], None],
    ) -> None:
        self._root, self._flow, self._identity = root, flow, identity
        self._days, self._watch = days, watch
        state = resume or {"p": -1, "tables": {}, "pending": [], "books": {}}
        self._p: int = state["p"]
        self._tables: dict[str, int] = dict(state["tables"])
        self._pending = [{**pending, "files": dict(pending["files"])} for pending in state["pending"]]
        self._books = EpochLedger(state["books"])
        self._check(state.get("lake", identity), fresh=resume is None)
        self._remove_strays()
        self._committer = Committer(root, flow)
        self._committer.put(self._pending)
        self._committer.wait()
        self._pending = []
        self._files = self._next_files()
        self._promises: list[DeferredRows] = []

    def write_batch(self, values: list[DeferredRows]) -> None:
        self._committer.check()
        self._promises += values
        if (
            any(promise.idle for promise in values)
            or sum(promise.rows for promise in self._promises) > MAX_DEFERRED_ROWS
        ):
            self._land()

    def _land(self) -> None:
        """Make what was put off."""
        for promise in self._promises:
            landing = promise.build()
            for table, batch in landing.rows:
                self._files.add(table, batch)
            self._books.enter(landing)
            self._watch(landing)
        self._promises.clear()

    def snapshot(self) -> dict[str, Any]:
        self._land()
        self._committer.put([pending for pending in self._pending if not pending["given"]])
        for pending in self._pending:
            pending["given"] = True
        self._committer.wait(MOST_PENDING)
        done = self._committer.done
        self._pending = [pending for pending in self._pending if pending["p"] > done]
        ledger = self._books.close()
        if ledger is not None:
            self._files.add(LEDGER_TABLE, ledger)
        failpoint("lake.before_files")
        files = self._files.finish()
        failpoint("lake.after_files")
        if files:
            self._p += 1
            before = {table: self._tables.get(table) for table in files}
            self._tables.update(dict.fromkeys(files, self._p))
            plain = {table: [file.plain() for file in of_table] for table, of_table in files.items()}
            self._pending.append({"p": self._p, "before": before, "files": plain, "given": False})
            self._files = self._next_files()
        return {
            "v": 1,
            "lake": self._identity,
            "p": self._p,
            "tables": dict(self._tables),
            "pending": [{**pending, "given": False} for pending in self._pending],
            "books": self._books.plain(),
        }

    def close(self) -> None:
        """Leave what no snapshot covers: it comes again."""

    def commit_all(self) -> None:
        """Commit what is pending, and wait for it."""
        self._committer.put([pending for pending in self._pending if not pending["given"]])
        self._committer.wait()
        self._pending = []

    def abandon(self) -> None:
        """Stop committing."""
        self._committer.stop()

    def _next_files(self) -> EpochFiles:
        return EpochFiles(self._root, f"{self._flow}-{self._p + 1:08d}", self._days)

    def _check(self, lake: str, *, fresh: bool) -> None:
        """Refuse a recovery store that is not this lake's; of what is pending, leave what was not committed."""
        if lake != self._identity:
            raise ConfigurationError(
                f"this recovery store and lake {self._root} do not belong together: the store is of another lake, "
                "or of one that stood there before; give the lake that belongs to it, or start anew with both"
            )
        for table in TABLES:
            found = DeltaTable(str(self._root / table)).transaction_version(self._flow)
            chain = [pending for pending in self._pending if table in pending["files"]]
            first = chain[0]["before"][table] if chain else self._tables.get(table)
            if found in [first, *(pending["p"] for pending in chain)]:
                for pending in chain:
                    if found is not None and pending["p"] <= found:
                        del pending["files"][table]
                    for path, size, *_ in pending["files"].get(table, []):
                        self._see(self._root / table / path, size)
                continue
            cure = (
                f"give the store that belongs to it, or make one with: cityair rebuild --recovery … --lake {self._root}"
            )
            if fresh:
                raise ConfigurationError(
                    f"lake {self._root} already holds what flow {self._flow!r} wrote, "
                    f"but this recovery store is empty; {cure}"
                )
            raise ConfigurationError(
                f"this recovery store and lake {self._root} do not belong together: table {table} is at commit {found} "
                f"of flow {self._flow!r}, the store expects {first}; the store is older, or another's; {cure}"
            )

    @staticmethod
    def _see(path: Path, size: int) -> None:
        """Make sure that a file to be committed is there."""
        if not path.is_file() or path.stat().st_size != size:
            raise ConfigurationError(
                f"{path}, which the recovery store is about to commit, is not there or not whole; "
                "bring it back from a backup, or make a new store with: cityair rebuild --recovery"
            )

    def _remove_strays(self) -> None:
        """Remove our own files that no snapshot covers; everything else waits for vacuum."""
        pending = {file[0] for one in self._pending for files in one["files"].values() for file in files}
        for table in TABLES:
            for path in (self._root / table).glob(f"dt=*/{self._flow}-*.parquet"):
                sequence = path.name.removeprefix(f"{self._flow}-").split("-")[0]
                if (
                    sequence.isdigit()
                    and int(sequence) > self._tables.get(table, -1)
                    and path.relative_to(self._root / table).as_posix() not in pending
                ):
                    path.unlink()


class Committer:
    """Commits pending files beside the worker, in their order; a failure shows at the worker's next call."""

    def __init__(self, root: Path, flow: str) -> None:
        self._root, self._flow = root, flow
        self._tables: dict[str, DeltaTable] = {}
        self._todo: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._given = 0
        self._failed: BaseException | None = None
        self._moved = threading.Condition()
        self.done = -1
        """Newest sequence committed."""
        self._finished = 0
        self._thread = threading.Thread(target=self._run, name="lake-commit", daemon=True)
        self._thread.start()

    def put(self, pending: list[dict[str, Any]]) -> None:
        """Commit these too."""
        for one in pending:
            self._given += 1
            self._todo.put(one)

    def wait(self, most: int = 0) -> None:
        """Wait until at most so many are under way."""
        with self._moved:
            self._moved.wait_for(lambda: self._failed is not None or self._given - self._finished <= most)
        self.check()

    def check(self) -> None:
        """Raise what made a commit fail."""
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Finish the commit under way and no other."""
        self._failed = self._failed or RuntimeError("stopped")
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (pending := self._todo.get()) is not None and self._failed is None:
            try:
                for table in sorted(pending["files"], key=lambda name: name == LEDGER_TABLE):
                    self._commit(table, pending)
            except BaseException as err:
                with self._moved:
                    self._failed = err
                    self._moved.notify_all()
                return
            with self._moved:
                self.done = pending["p"]
                self._finished += 1
                self._moved.notify_all()

    def _commit(self, table: str, pending: dict[str, Any]) -> None:
        """Commit one epoch's files to one table, unless that was done before a crash."""
        delta = self._tables.setdefault(table, DeltaTable(str(self._root / table)))
        delta.update_incremental()
        found = delta.transaction_version(self._flow)
        if found == pending["p"]:
            return
        if found != pending["before"][table]:
            raise ConfigurationError(
                f"table {table} of lake {self._root} is at commit {found} of flow {self._flow!r}, "
                f"not {pending['before'][table]}: another process writes under this flow's name; stop it"
            )
        failpoint("lake.before_commit")
        now = int(time.time() * 1000)
        actions = [
            AddAction(path, size, {"dt": dt}, now, True, stats) for path, size, dt, stats in pending["files"][table]
        ]
        delta.create_write_transaction(
            actions,
            mode="append",
            schema=delta.schema(),
            partition_by=["dt"],
            commit_properties=CommitProperties(app_transactions=[Transaction(self._flow, pending["p"])]),
        )
        delta.update_incremental()
        log = self._root / table / "_delta_log"
        store.fsync(log / f"{delta.version():020}.json")
        store.fsync(log)
        failpoint("lake.after_commit")
