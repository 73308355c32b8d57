"""The lake's sink: two-phase commit, and what a resume does."""

import pytest
from deltalake import DeltaTable

from flows.outputs.lake_rows import DeferredRows
from schemas.errors import ConfigurationError
from sinks.lake.layout import DataFileName
from sinks.lake.settings import LakeSettings
from sinks.lake.sink import LakeSink
from tests.support.batches import rejected
from tests.support.lakes import committed_offsets, orphans


def test_an_epoch_is_committed_once_the_next_has_begun(start, root):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    assert (kept["p"], [pending["p"] for pending in kept["pending"]]) == (0, [0])
    partition.commit_all()
    assert committed_offsets(root) == [0, 1]
    partition.write_batch([rejected(2)])
    partition.snapshot()
    assert committed_offsets(root) == [0, 1], "not durable yet"
    partition.commit_all()
    assert (committed_offsets(root), orphans(root)) == ([0, 1, 2, 3], [])


def test_a_snapshot_is_plain_data_with_a_version(start):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    [pending] = kept["pending"]
    assert [*kept] == ["v", "lake", "p", "tables", "pending", "books"]
    assert (kept["v"], kept["tables"]) == (1, {"rejects": 0, "ledger": 0})
    assert [*pending] == ["p", "before", "files", "given"]
    assert (pending["before"], pending["given"]) == ({"rejects": None, "ledger": None}, False)
    [[path, size, dt, stats]] = pending["files"]["rejects"]
    assert [type(value) for value in (path, size, dt, stats)] == [str, int, str, str]
    assert path.startswith("dt=2026-03-02/air-00000000-")


def test_an_epoch_without_rows_moves_nothing(start, root):
    partition = start()
    assert partition.snapshot()["p"] == -1
    partition.write_batch([rejected(0)])
    assert partition.snapshot()["p"] == 0
    assert partition.snapshot()["p"] == 0
    partition.commit_all()
    assert committed_offsets(root) == [0, 1]


# Deferred rows


def test_rows_are_built_where_many_are_deferred_and_when_the_input_is_idle(start, root):
    built = []

    def deferred(first, rows, *, idle=False):
        def build():
            built.append(first)
            return rejected(first).build()

        return DeferredRows(build, rows, idle)

    partition = start(settings=LakeSettings(max_deferred_rows=20))
    partition.write_batch([deferred(0, 12)])
    partition.write_batch([deferred(2, 8)])
    assert built == []
    partition.write_batch([deferred(4, 1)])
    assert built == [0, 2, 4]
    partition.write_batch([deferred(6, 1)])
    partition.write_batch([deferred(8, 0, idle=True)])
    assert built == [0, 2, 4, 6, 8]
    partition.write_batch([deferred(10, 1)])
    partition.snapshot()
    partition.commit_all()
    assert built == [0, 2, 4, 6, 8, 10]
    assert committed_offsets(root) == list(range(12))


def test_each_batch_is_observed_once(root, make_city):
    observed = []
    partition = LakeSink(root, "air", make_city(), observed.append).build_part("lake", "lake", None)
    partition.write_batch([rejected(0), rejected(2)])
    partition.snapshot()
    partition.abandon()
    assert [batch.offsets[0][1].first for batch in observed] == [0, 2]


# Resume


def test_a_resume_commits_what_is_pending_and_removes_what_no_snapshot_covers(start, root):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    partition.write_batch([rejected(2)])
    partition._write_deferred()
    partition._files.finish()  # a crash within the next epoch's snapshot
    assert len(orphans(root)) == 3
    partition.abandon()
    partition = start(kept)
    assert (committed_offsets(root), orphans(root)) == ([0, 1], [])
    partition.write_batch([rejected(2)])
    partition.snapshot()
    partition.commit_all()
    assert committed_offsets(root) == [0, 1, 2, 3]


def test_a_resume_after_the_commit_does_not_repeat_it(start, root):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    partition.commit_all()
    for _ in range(2):
        start(kept)
        assert (committed_offsets(root), orphans(root)) == ([0, 1], [])
    assert DeltaTable(str(root / "rejects")).version() == 1


def test_a_resume_where_several_pending_epochs_were_committed(start, root):
    partition = start()
    partition.write_batch([rejected(0)])
    first = partition.snapshot()
    partition.write_batch([rejected(2)])
    second = partition.snapshot()
    partition.commit_all()
    while_commits_are_slow = {**second, "pending": [*first["pending"], second["pending"][-1]]}
    start(while_commits_are_slow)
    assert (committed_offsets(root), orphans(root)) == ([0, 1, 2, 3], [])


def test_a_resume_where_one_of_several_pending_epochs_was_committed(start, root):
    partition = start()
    partition.write_batch([rejected(0)])
    first = partition.snapshot()
    partition.commit_all()
    partition.write_batch([rejected(2)])
    second = partition.snapshot()
    partition.abandon()
    start({**second, "pending": [*first["pending"], second["pending"][-1]]})
    assert (committed_offsets(root), orphans(root)) == ([0, 1, 2, 3], [])


# Refusals


@pytest.mark.parametrize("version", [2, None])
def test_a_snapshot_of_an_unknown_version_is_refused(start, root, version):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    with pytest.raises(ConfigurationError, match="recovery store: snapshot of lake has version") as refused:
        start({**kept, "v": version})
    assert refused.value.status == 3
    assert repr(version) in str(refused.value)
    assert "cityair rebuild --recovery" in str(refused.value)
    assert len(orphans(root)) == 2, "nothing is committed or removed"


def test_an_older_snapshot_is_refused_and_nothing_is_removed(start, root):
    partition, kept = start(), []
    for turn in range(3):
        partition.write_batch([rejected(2 * turn)])
        kept.append(partition.snapshot())
    partition.commit_all()
    files = sorted(root.rglob("*.parquet"))
    with pytest.raises(
        ConfigurationError, match=r"do not belong together: table .* is at commit 2 .* the store expects"
    ):
        start(kept[0])
    with pytest.raises(ConfigurationError, match=r"this recovery store is empty; .*cityair rebuild --recovery"):
        start(None)
    assert sorted(root.rglob("*.parquet")) == files
    assert committed_offsets(root) == list(range(6))


def test_the_store_of_another_lake_is_refused(start):
    partition = start()
    partition.write_batch([rejected(0)])
    with pytest.raises(ConfigurationError, match="the store is of another lake"):
        start({**partition.snapshot(), "lake": "of yesterday"})


@pytest.mark.parametrize("loss", ["gone", "cut"])
def test_pending_files_that_are_not_there_or_not_whole_are_refused(start, root, loss):
    partition = start()
    partition.write_batch([rejected(0)])
    kept = partition.snapshot()
    for path in root.rglob("*.parquet"):
        path.unlink() if loss == "gone" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigurationError, match="is not there or not whole"):
        start(kept)


def test_a_commit_of_another_process_under_our_name_is_refused(start, root):
    """Two starts of one flow with stores of their own, as where its lock does not reach: the first to commit wins."""
    winner, loser = start(), start()
    for partition in (winner, loser):
        partition.write_batch([rejected(0)])
    winner.snapshot()
    kept = loser.snapshot()
    winner.commit_all()
    with pytest.raises(ConfigurationError, match="another process writes under this flow's name"):
        loser.commit_all()
    with pytest.raises(ConfigurationError, match=r"commit 0 of flow 'air' .* is not of the store's files"):
        start(kept)
    assert committed_offsets(root) == [0, 1], "once"


# Several writers


def test_a_name_that_files_cannot_bear_is_refused(root, make_city):
    for name in ("", "a/b", "a*", ".hidden", "a b"):
        with pytest.raises(ValueError, match="is no name of a writer"):
            LakeSink(root, name, make_city())


def test_writers_of_one_lake_go_their_own_ways(start, root):
    first, other = start(writer="air.2.00"), start(writer="air.2.01")
    for turn in range(2):
        for partition, base in ((first, 0), (other, 100)):
            partition.write_batch([rejected(base + 2 * turn)])
            partition.snapshot()
    first.commit_all()
    other.commit_all()
    assert committed_offsets(root) == [0, 1, 2, 3, 100, 101, 102, 103]
    table = DeltaTable(str(root / "rejects"))
    assert [table.transaction_version(writer) for writer in ("air.2.00", "air.2.01", "air")] == [1, 1, None]


@pytest.mark.parametrize("writer", ["air", "air-1", "air.8.03"])
def test_a_resume_removes_orphans_of_its_own_writer_only(start, root, writer):
    """Though the names of some writers begin with those of others."""
    writers = ("air", "air-1", "air.8.03")
    for name in writers:
        partition = start(writer=name)
        partition.write_batch([rejected(0)])
        partition.snapshot()
    (root / "rejects" / "dt=2026-03-02" / "air-00000000-of-somebody.parquet").write_bytes(b"")
    start(writer=writer)
    left = [DataFileName.parse(path.name) for path in orphans(root)]
    assert left.count(None) == 1, "no name of ours"
    assert {name.writer for name in left if name} == {*writers} - {writer}
