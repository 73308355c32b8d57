"""The lake's sink: Delta tables, exactly once, by two-phase commit.

An epoch's data files are written while it lasts, closed and fsynced in ``snapshot()``, and kept in the recovery store
as *pending* under a sequence P. They are committed to their tables once that epoch is known durable: a source starts
the next epoch only after that, so the next ``snapshot()`` may. Each commit carries the application transaction
(writer, P), which tells a resume whether a pending commit was made before the crash or is still to be made.

Several writers may share a lake: each has its id in its files' names, its locks and its transactions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from deltalake import DeltaTable

from flows.outputs.lake_rows import DeferredRows, LakeBatch
from schemas.city import City
from schemas.errors import ConfigurationError
from schemas.snapshots import VERSION, check_version
from schemas.tables import LEDGER_TABLE, TABLES
from sinks.failpoints import failpoint
from sinks.lake import commit_log
from sinks.lake.committer import Committer, PendingEpoch
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.layout import DataFileName, check_writer, file_prefix
from sinks.lake.ledger import EpochLedger
from sinks.lake.settings import LakeSettings
from sinks.lake.tables import create_tables, keep_city


class LakeSink(FixedPartitionedSink[DeferredRows, dict[str, Any]]):
    """All tables of one flow, exactly once under recovery.

    Args:
        root: the lake.
        writer: id of the flow among the lake's writers: application of its transactions, start of its files' names.
        city: gives the time zone of dates, and is kept beside the tables.
        observe: is called with every batch that is written.
        settings: limits of memory and patience.

    Raises:
        ConfigurationError: the lake cannot be written.
        ValueError: file names cannot bear the writer's id.

    >>> import tempfile
    >>> from collections import Counter
    >>> from flows.decode.batch import InputPartition, OffsetRange
    >>> from schemas.city import Identity
    >>> city = City(city=Identity(id="gimhae", name="Gimhae", timezone="Asia/Seoul"), stations=[])
    >>> air = InputPartition("air", 0)
    >>> batch = LakeBatch(7, [], [(air, OffsetRange(0, 0, 2, 3))], Counter({(air, "rejected"): 3}))
    >>> with tempfile.TemporaryDirectory() as lake:
    ...     sink = LakeSink(Path(lake), "air", city)
    ...     partition = sink.build_part("lake", "lake", None)
    ...     partition.write_batch([DeferredRows(lambda: batch)])
    ...     kept = partition.snapshot()  # the epoch's files are durable, and pending
    ...     sink.finish()  # the epoch is durable: they are committed
    ...     committed = DeltaTable(f"{lake}/ledger").transaction_version("air")
    ...     sink.abandon()
    >>> kept["p"], [*kept["pending"][0]["files"]], committed
    (0, ['ledger'], 0)
    """

    def __init__(
        self,
        root: Path,
        writer: str,
        city: City,
        observe: Callable[[LakeBatch], None] = lambda _: None,
        settings: LakeSettings | None = None,
    ) -> None:
        check_writer(writer)
        self._root, self._writer, self._city, self._observe = root, writer, city, observe
        self._settings = settings or LakeSettings()
        self._identity = create_tables(root)
        self._dates = LocalDates(city.city.timezone)
        self._partition: LakePartition | None = None

    def list_parts(self) -> list[str]:
        """One partition: one step owns all tables."""
        return ["lake"]

    def part_fn(self, item_key: str) -> int:
        """Everything goes to the one partition."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "LakePartition":
        """Go on where the last durable epoch ended.

        Raises:
            ConfigurationError: lake and recovery store do not belong together, or the snapshot's version is unknown.
        """
        self._partition = LakePartition(
            self._root,
            self._writer,
            self._identity,
            self._dates,
            resume_state,
            observe=self._observe,
            settings=self._settings,
        )
        keep_city(self._root, self._city)
        return self._partition

    def finish(self) -> None:
        """After the engine has returned, every epoch is durable: commit what is pending."""
        if self._partition:
            self._partition.commit_all()

    def abandon(self) -> None:
        """After the engine has failed, commit nothing more: the recovery store says what is pending."""
        if self._partition:
            self._partition.abandon()


class LakePartition(StatefulSinkPartition[DeferredRows, dict[str, Any]]):
    """Writes the rows of each epoch to data files, and has them committed once the epoch is durable.

    Args:
        root: the lake.
        writer: id of the writer.
        identity: of the lake.
        dates: of the city's time zone.
        resume: snapshot of the last durable epoch; None in a new store.
        observe: is called with every batch that is written.
        settings: limits of memory and patience.

    Raises:
        ConfigurationError: lake and recovery store do not belong together, or the snapshot's version is unknown.
    """

    def __init__(
        self,
        root: Path,
        writer: str,
        identity: str,
        dates: LocalDates,
        resume: dict[str, Any] | None,
        *,
        observe: Callable[[LakeBatch], None],
        settings: LakeSettings,
    ) -> None:
        self._root, self._writer, self._identity = root, writer, identity
        self._dates, self._observe, self._settings = dates, observe, settings
        if resume is not None:
            check_version(resume, "lake")
        state = resume or {"lake": identity, "p": -1, "tables": {}, "pending": [], "books": {}}
        self._p: int = state["p"]
        """Sequence of the newest epoch that had rows."""
        self._tables: dict[str, int] = dict(state["tables"])
        """By table, the P of the newest epoch that had rows of it."""
        self._pending = [PendingEpoch.restore(epoch) for epoch in state["pending"]]
        self._ledger = EpochLedger(writer, state["books"])
        self._check_identity(state["lake"])
        for table in TABLES:
            self._check_table(table, fresh=resume is None)
        self._remove_orphans()
        self._committer = Committer(root, writer, settings)
        self._committer.put(self._pending)
        self._committer.wait()
        self._pending = []
        self._files = self._next_files()
        self._deferred: list[DeferredRows] = []

    def write_batch(self, values: list[DeferredRows]) -> None:
        """Take rows; they are built when the input is idle, or where too many are deferred."""
        self._committer.check()
        self._deferred += values
        rows = sum(deferred.rows for deferred in self._deferred)
        if rows > self._settings.max_deferred_rows or any(deferred.idle for deferred in values):
            self._write_deferred()

    def snapshot(self) -> dict[str, Any]:
        """End an epoch: commit the epoch before it, which is durable now, and make this one's files so."""
        self._write_deferred()
        self._committer.put(self._pending)
        self._committer.wait(self._settings.max_pending_epochs)
        committed = self._committer.committed
        self._pending = [epoch for epoch in self._pending if epoch.p > committed]
        ledger_rows = self._ledger.close()
        if ledger_rows is not None:
            self._files.add(LEDGER_TABLE, ledger_rows)
        failpoint("lake.before_files")
        files = self._files.finish()
        failpoint("lake.after_files")
        if files:
            self._p += 1
            self._pending.append(PendingEpoch(self._p, {table: self._tables.get(table) for table in files}, files))
            self._tables.update(dict.fromkeys(files, self._p))
            self._files = self._next_files()
        return {
            "v": VERSION,
            "lake": self._identity,
            "p": self._p,
            "tables": dict(self._tables),
            "pending": [epoch.snapshot() for epoch in self._pending],
            "books": self._ledger.snapshot(),
        }

    def close(self) -> None:
        """Leave what no snapshot covers: it comes again."""

    def commit_all(self) -> None:
        """Commit what is pending, and wait for it."""
        self._committer.put(self._pending)
        self._committer.wait()
        self._pending = []

    def abandon(self) -> None:
        """Stop committing."""
        self._committer.stop()

    def _write_deferred(self) -> None:
        """Build the rows that were deferred, and enter their messages into the ledger."""
        for deferred in self._deferred:
            batch = deferred.build()
            for table, rows in batch.rows:
                self._files.add(table, rows)
            self._ledger.add(batch)
            self._observe(batch)
        self._deferred.clear()

    def _next_files(self) -> EpochFiles:
        return EpochFiles(self._root, file_prefix(self._writer, self._p + 1), self._dates, self._settings)

    def _check_identity(self, lake: str) -> None:
        if lake != self._identity:
            raise ConfigurationError(
                f"this recovery store and lake {self._root} do not belong together: the store is of another lake, "
                "or of one that stood there before; give the lake that belongs to it, or start anew with both"
            )

    def _check_table(self, table: str, *, fresh: bool) -> None:
        """Compare a table with the store, and drop from what is pending the commits that were made before a crash."""
        delta = DeltaTable(str(self._root / table))
        committed = delta.transaction_version(self._writer)
        pending = [epoch for epoch in self._pending if table in epoch.files]
        expected = pending[0].before[table] if pending else self._tables.get(table)
        if committed not in (expected, *(epoch.p for epoch in pending)):
            raise self._mismatch(table, committed, expected, fresh=fresh)
        for epoch in pending:
            if committed is not None and epoch.p <= committed:
                self._check_commit(table, delta.version(), epoch)
                del epoch.files[table]
            for file in epoch.files.get(table, ()):
                self._check_file(self._root / table / file.path, file.size)

    def _check_commit(self, table: str, version: int, epoch: PendingEpoch) -> None:
        """Make a commit of before the crash durable; it must be of the very files that were pending."""
        entry = commit_log.find_commit(self._root / table, version, self._writer, epoch.p)
        if entry is None:
            return
        if entry.added != epoch.paths(table):
            raise ConfigurationError(
                f"this recovery store and lake {self._root} do not belong together: commit {epoch.p} of flow "
                f"{self._writer!r} to table {table} is not of the store's files; another process wrote under this "
                f"flow's name: stop it, and {self._cure()}"
            )
        commit_log.fsync_entries(self._root / table, entry.version, entry.version)

    def _mismatch(self, table: str, committed: int | None, expected: int | None, *, fresh: bool) -> ConfigurationError:
        if fresh:
            return ConfigurationError(
                f"lake {self._root} already holds what flow {self._writer!r} wrote, "
                f"but this recovery store is empty; {self._cure()}"
            )
        return ConfigurationError(
            f"this recovery store and lake {self._root} do not belong together: table {table} is at commit {committed} "
            f"of flow {self._writer!r}, the store expects {expected}; the store is older, or another's; {self._cure()}"
        )

    def _cure(self) -> str:
        return f"give the store that belongs to it, or make one with: cityair rebuild --recovery … --lake {self._root}"

    @staticmethod
    def _check_file(path: Path, size: int) -> None:
        """Refuse to commit a file that is not there, or not whole."""
        if not path.is_file() or path.stat().st_size != size:
            raise ConfigurationError(
                f"{path}, which the recovery store is about to commit, is not there or not whole; "
                "bring it back from a backup, or make a new store with: cityair rebuild --recovery"
            )

    def _remove_orphans(self) -> None:
        """Remove this writer's files that no snapshot covers. Those of other writers, and unknown ones, stay."""
        pending = {(table, path) for epoch in self._pending for table in epoch.files for path in epoch.paths(table)}
        for table in TABLES:
            folder = self._root / table
            for path in folder.glob(f"dt=*/{self._writer}-*.parquet"):
                name = DataFileName.parse(path.name)
                if (
                    name is not None
                    and name.writer == self._writer
                    and name.sequence > self._tables.get(table, -1)
                    and (table, path.relative_to(folder).as_posix()) not in pending
                ):
                    path.unlink()
