"""The committer: each epoch once, the ledger last, whatever other writers do meanwhile."""

from datetime import date, timedelta

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from schemas.errors import ConfigurationError
from sinks import recovery_store
from sinks.lake.committer import Committer, PendingEpoch
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.layout import file_prefix
from sinks.lake.settings import LakeSettings
from sinks.lake.tables import keep_city
from sinks.maintenance.compact import compact
from tests.support import writers
from tests.support.batches import START_US, reject_rows
from tests.support.lakes import committed_offsets, orphans

DAY = date.fromtimestamp(START_US / 1e6)
IMPATIENT = LakeSettings(commit_attempts=3, commit_pause_s=0.0)


@pytest.fixture
def committer(root):
    """Make a committer of a writer; the threads of all are stopped."""
    made = []

    def make(writer="air", settings=IMPATIENT):
        made.append(Committer(root, writer, settings))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def pending(root):
    """Files of an epoch: one refused message with offset P, in the tables rejects and flags."""

    def make(p, writer="air", before=-1, tables=("rejects",)):
        files = EpochFiles(root, file_prefix(writer, p), LocalDates("UTC"))
        files.add("rejects", reject_rows([START_US + 1], first=p))
        written = files.finish()["rejects"]
        previous = (p - 1 if p else None) if before == -1 else before
        return PendingEpoch(p, dict.fromkeys(tables, previous), dict.fromkeys(tables, written))

    return make


def version(root, table="rejects"):
    return DeltaTable(str(root / table)).version()


def test_epochs_are_committed_in_their_order(committer, pending, root):
    made = committer()
    made.put([pending(0), pending(1)])
    made.wait()
    assert (made.committed, committed_offsets(root), version(root)) == (1, [0, 1], 2)


def test_an_epoch_that_was_committed_before_is_not_committed_again(committer, pending, root):
    epoch = pending(0)
    first = committer()
    first.put([epoch])
    first.put([epoch])
    first.wait()
    second = committer()
    second.put([PendingEpoch.restore(epoch.snapshot())])
    second.wait()
    assert (committed_offsets(root), version(root)) == ([0], 1)


def test_the_ledger_is_committed_last(committer, pending, root):
    log = root / "ledger" / "_delta_log"
    log.rename(log.with_name("gone"))
    made = committer()
    made.put([pending(0, tables=("ledger", "rejects"))])
    with pytest.raises(Exception, match=r"ledger|table|log"):
        made.wait()
    assert committed_offsets(root) == [0], "the other table has the epoch"
    assert made.committed == -1


def test_a_failure_shows_at_every_later_call(committer, pending, root):
    made = committer()
    made.put([pending(5, before=4)])
    for call in (made.wait, made.check):
        with pytest.raises(ConfigurationError, match="is at commit None of flow 'air', not 4: another process writes"):
            call()


def test_a_stop_makes_no_further_commit(committer, pending, root):
    made = committer()
    made.stop()
    made.put([pending(0)])
    with pytest.raises(RuntimeError, match="stopped"):
        made.wait()
    assert committed_offsets(root) == []


# Other writers


def test_a_commit_in_between_is_looked_at_again(committer, pending, root, monkeypatch):
    """A commit that another writer's overtook fails once; the next look finds the table as it is then."""
    original, overtaken = Committer._append, []

    def append(self, table, delta, epoch):
        if self._writer == "air" and not overtaken:
            overtaken.append(table)
            other = committer("odor")
            other.put([pending(0, "odor")])
            other.wait()
            raise CommitFailedError("Failed to commit transaction: 15")
        original(self, table, delta, epoch)

    monkeypatch.setattr(Committer, "_append", append)
    made = committer()
    made.put([pending(0)])
    made.wait()
    table = DeltaTable(str(root / "rejects"))
    assert [table.transaction_version(writer) for writer in ("air", "odor")] == [0, 0]
    assert (committed_offsets(root), overtaken, orphans(root)) == ([0, 0], ["rejects"], [])


def test_a_commit_that_was_made_though_it_failed_is_not_repeated(committer, pending, root, monkeypatch):
    original = Committer._append

    def append(self, table, delta, epoch):
        original(self, table, delta, epoch)
        raise CommitFailedError("made all the same")

    monkeypatch.setattr(Committer, "_append", append)
    made = committer()
    made.put([pending(0)])
    made.wait()
    assert (committed_offsets(root), version(root)) == ([0], 1)


def test_a_commit_holds_though_the_checkpoint_after_it_fails(committer, pending, root, caplog):
    table = DeltaTable(str(root / "rejects"))
    table.alter.set_table_properties({"delta.checkpointInterval": "1"}, raise_if_not_exists=False)
    (root / "rejects" / "_delta_log" / f"{table.version() + 1:020}.checkpoint.parquet" / "full").mkdir(parents=True)
    made = committer()
    made.put([pending(0), pending(1)])
    made.wait()
    assert (made.committed, committed_offsets(root)) == (1, [0, 1])
    assert "the commit is made, but not what follows it" in caplog.text


def test_a_commit_that_a_compaction_refuses_is_tried_again(committer, pending, root, monkeypatch, make_city):
    """It looks at the table, the compaction replaces the files, it commits."""
    keep_city(root, make_city())
    original, compacted = Committer._append, []

    def append(self, table, delta, epoch):
        if epoch.p == 2 and not compacted:
            compacted.append(compact(root, DAY + timedelta(days=2))["rejects"])
        original(self, table, delta, epoch)

    monkeypatch.setattr(Committer, "_append", append)
    made = committer()
    made.put([pending(p) for p in range(3)])
    made.wait()
    assert (compacted, committed_offsets(root)) == ([2], [0, 1, 2])


def test_attempts_are_bounded_and_nothing_is_lost(committer, pending, root, monkeypatch):
    attempts = []

    def append(self, table, delta, epoch):
        attempts.append(table)
        raise CommitFailedError("Failed to commit transaction: 15")

    epoch = pending(0)
    with monkeypatch.context() as patched:
        patched.setattr(Committer, "_append", append)
        made = committer()
        made.put([epoch])
        with pytest.raises(ConfigurationError, match=r"other writers were faster 3 times .* start again"):
            made.wait()
    assert attempts == ["rejects"] * 3
    made = committer()
    made.put([PendingEpoch.restore(epoch.snapshot())])
    made.wait()
    assert committed_offsets(root) == [0]


def test_another_process_under_our_name_is_refused(committer, pending, root):
    """Two committers of one writer with the same P: one wins, and the other hears of it."""
    winner, loser = committer(), committer()
    winner.put([pending(0)])
    winner.wait()
    loser.put([pending(0)])
    with pytest.raises(ConfigurationError, match="another process writes under this flow's name"):
        loser.wait()
    assert (committed_offsets(root), len(orphans(root))) == ([0], 1)


def test_our_own_entry_is_made_durable_and_those_of_others_before_it(committer, pending, root, monkeypatch):
    """The newest entry of the log may be another writer's; ours counts only with all before it."""
    original_append, original_fsync, durable = Committer._append, recovery_store.fsync, []
    made, other = committer(), committer("odor")
    made.put([pending(0)])
    made.wait()

    def append(self, table, delta, epoch):
        if self is made:
            other.put([pending(0, "odor")])
            other.wait()
            durable.clear()
        original_append(self, table, delta, epoch)
        if self is made:
            other.put([pending(1, "odor")])
            other.wait()
            durable.clear()

    def fsync(path):
        original_fsync(path)
        if "_delta_log" in path.as_posix():
            durable.append(path.name)

    monkeypatch.setattr(Committer, "_append", append)
    monkeypatch.setattr(recovery_store, "fsync", fsync)
    made.put([pending(1)])
    made.wait()
    table = DeltaTable(str(root / "rejects"))
    assert (table.version(), table.transaction_version("odor")) == (4, 1)
    assert durable == [f"{2:020}.json", f"{3:020}.json", "_delta_log"], "odor's first, then ours, not odor's second"


def test_two_processes_commit_to_the_same_tables_at_once(tmp_path):
    """They make the tables, too: no loss, no double, no failure, one identity."""
    root, epochs = tmp_path / "lake", 12
    assert writers.start(root, "air", "air-1", epochs=epochs) == [("", 0)] * 2
    assert committed_offsets(root) == sorted([*range(2 * epochs)] * 2)
    for name in ("rejects", "ledger"):
        table = DeltaTable(str(root / name))
        assert [table.transaction_version(writer) for writer in ("air", "air-1")] == [epochs - 1] * 2
    assert orphans(root) == []
