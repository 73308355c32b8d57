"""The second phase of the lake's two-phase commit: data files that are durable become part of their tables."""

import logging
import queue
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from schemas.errors import ConfigurationError
from schemas.tables import LEDGER_TABLE
from sinks.failpoints import failpoint
from sinks.lake import commit_log
from sinks.lake.files import PendingFile
from sinks.lake.settings import LakeSettings

MAX_PAUSE_S = 1.0
"""Longest pause between two attempts at a commit."""
log = logging.getLogger("cityair")


@dataclass(slots=True)
class PendingEpoch:
    """The data files of one epoch, on their way into their tables.

    Attributes:
        p: sequence P, which the commits carry as their application transaction.
        before: by table, the P of the writer's commit before this one; None if there was none.
        files: by table, the files to commit; a table whose commit is known to be made is not among them.
        queued: whether the committer has it.

    >>> file = PendingFile("dt=2026-03-02/air-00000000-0123456789ab.parquet", 812, "2026-03-02", '{"numRecords":1}')
    >>> epoch = PendingEpoch(0, {"flags": None}, {"flags": [file]})
    >>> PendingEpoch.restore(epoch.snapshot()) == epoch
    True
    """

    p: int
    before: dict[str, int | None]
    files: dict[str, list[PendingFile]]
    queued: bool = False

    def snapshot(self) -> dict[str, Any]:
        """Return it as the recovery store keeps it."""
        files = {table: [list(file) for file in listed] for table, listed in self.files.items()}
        return {"p": self.p, "before": dict(self.before), "files": files, "given": False}

    @classmethod
    def restore(cls, snapshot: dict[str, Any]) -> "PendingEpoch":
        """Make it again from a snapshot."""
        files = {table: [PendingFile(*file) for file in listed] for table, listed in snapshot["files"].items()}
        return cls(snapshot["p"], dict(snapshot["before"]), files)

    def paths(self, table: str) -> frozenset[str]:
        """Paths of a table's files, relative to the table."""
        return frozenset(file.path for file in self.files.get(table, ()))


class Committer:
    """Commits pending epochs in their order, in a thread beside the worker. A failure shows at the worker's next call.

    Each commit carries the application transaction (writer, P), so it is made exactly once: before each attempt the
    table's own P is compared with the one expected, and a commit that another writer's overtook is looked at again.

    Args:
        root: the lake.
        writer: id of the writer, which is the Delta application.
        settings: attempts, and the pause between them.
    """

    def __init__(self, root: Path, writer: str, settings: LakeSettings | None = None) -> None:
        self._root, self._writer, self._settings = root, writer, settings or LakeSettings()
        self._tables: dict[str, DeltaTable] = {}
        self._durable: dict[str, int] = {}
        """By table, the version up to which its log is known to be on disk."""
        self._queue: queue.SimpleQueue[PendingEpoch | None] = queue.SimpleQueue()
        self._progress = threading.Condition()
        self._queued = self._finished = 0
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self.committed = -1
        """Newest P that was committed to all of its tables."""
        self._thread = threading.Thread(target=self._run, name="lake-commit", daemon=True)
        self._thread.start()

    def put(self, epochs: Iterable[PendingEpoch]) -> None:
        """Queue epochs that are known to be durable; those queued before are left out."""
        for epoch in epochs:
            if not epoch.queued:
                epoch.queued = True
                self._queued += 1
                self._queue.put(epoch)

    def wait(self, most: int = 0) -> None:
        """Wait until at most ``most`` epochs are under way, and raise what made a commit fail."""
        with self._progress:
            self._progress.wait_for(lambda: self._failure is not None or self._queued - self._finished <= most)
        self.check()

    def check(self) -> None:
        """Raise what made a commit fail."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Finish the commit under way, and make no other."""
        self._failure = self._failure or RuntimeError("stopped")
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (epoch := self._queue.get()) is not None and self._failure is None:
            try:
                for table in sorted(epoch.files, key=lambda name: name == LEDGER_TABLE):
                    self._commit(table, epoch)
            except BaseException as err:
                with self._progress:
                    self._failure = self._failure or err
                    self._progress.notify_all()
                return
            with self._progress:
                self.committed = epoch.p
                self._finished += 1
                self._progress.notify_all()

    def _commit(self, table: str, epoch: PendingEpoch) -> None:
        """Commit one epoch's files to one table, unless that was done before, and make the commit durable.

        Raises:
            ConfigurationError: another process commits under this writer's id, or others were faster each time.
        """
        delta = self._open(table)
        attempt = 0
        while not self._is_committed(table, delta, epoch):
            failpoint("lake.before_commit")
            attempt += 1
            try:
                self._append(table, delta, epoch)
            except CommitFailedError as err:
                if attempt >= self._settings.commit_attempts:
                    raise ConfigurationError(
                        f"table {table} of lake {self._root}: other writers were faster {attempt} times in a row; "
                        "nothing is lost, start again; where it happens often, make epochs longer (CITYAIR_EPOCH)"
                    ) from err
                self._pause(attempt)
            except (DeltaError, OSError) as err:
                # A checkpoint of the log is written after the commit, and may fail where the commit is made.
                if not self._is_committed(table, delta, epoch):
                    raise
                log.warning(
                    "table %s of lake %s: the commit is made, but not what follows it: %s", table, self._root, err
                )
                break
        entry = commit_log.find_commit(self._root / table, delta.version(), self._writer, epoch.p)
        if entry is None or entry.added != epoch.paths(table):
            raise self._foreign(table, epoch.p, epoch)
        first = min(self._durable[table] + 1, entry.version)
        commit_log.fsync_entries(self._root / table, first, entry.version)
        self._durable[table] = entry.version
        failpoint("lake.after_commit")

    def _open(self, table: str) -> DeltaTable:
        if table not in self._tables:
            self._tables[table] = DeltaTable(str(self._root / table))
            self._durable[table] = self._tables[table].version()
        return self._tables[table]

    def _is_committed(self, table: str, delta: DeltaTable, epoch: PendingEpoch) -> bool:
        """Look at the table as it is now: whether the commit is made, or may be made.

        Raises:
            ConfigurationError: neither; another process commits under this writer's id.
        """
        delta.update_incremental()
        committed = delta.transaction_version(self._writer)
        if committed not in (epoch.p, epoch.before[table]):
            raise self._foreign(table, committed, epoch)
        return bool(committed == epoch.p)

    def _append(self, table: str, delta: DeltaTable, epoch: PendingEpoch) -> None:
        now_ms = int(time.time() * 1000)
        delta.create_write_transaction(
            [AddAction(file.path, file.size, {"dt": file.dt}, now_ms, True, file.stats) for file in epoch.files[table]],
            mode="append",
            schema=delta.schema(),
            partition_by=["dt"],
            commit_properties=CommitProperties(app_transactions=[Transaction(self._writer, epoch.p)]),
        )

    def _pause(self, attempt: int) -> None:
        """Wait longer after each attempt, and differently from other writers.

        Raises:
            RuntimeError: the committer was told to stop.
        """
        longest = min(MAX_PAUSE_S, self._settings.commit_pause_s * 2.0 ** (attempt - 1))
        if self._stopping.wait(longest * random.uniform(0.5, 1)):  # noqa: S311 - chance, not secrecy
            raise RuntimeError("stopped")

    def _foreign(self, table: str, committed: int | None, epoch: PendingEpoch) -> ConfigurationError:
        return ConfigurationError(
            f"table {table} of lake {self._root} is at commit {committed} of flow {self._writer!r}, "
            f"not {epoch.before[table]}: another process writes under this flow's name; stop it"
        )
