"""The lake: two-phase commit, and what a resume does."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from flows.outputs.lake_rows import DeferredRows
from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks.lake.sink import Committer, LakeSink, create_tables
from tests.sinks.epochs import START, rejects, taken


@pytest.fixture
def lake(tmp_path, make_city):
    """A lake, and parts of its sink as a start makes them; the threads of all are stopped."""

    class Lake:
        root, parts = tmp_path / "lake", []

        def start(self, kept=None):
            sink = LakeSink(self.root, "air", city)
            part = sink.build_part("lake", "lake", kept)
            self.parts.append(part)
            return part

        def offsets(self):
            """Offsets of rejects that the log knows."""
            table = DeltaTable(str(self.root / "rejects"))
            found = [
                koff
                for path in table.file_uris()
                for koff in pq.read_table(path, partitioning=None)["koff"].to_pylist()
            ]
            return sorted(found)

        def strays(self):
            known = {path for table in TABLES for path in DeltaTable(str(self.root / table)).file_uris()}
            return [path for path in self.root.glob("*/dt=*/*.parquet") if str(path) not in known]

    city = make_city()
    made = Lake()
    create_tables(made.root)
    yield made
    for part in made.parts:
        part.abandon()


def item(first, count=2):
    landing = taken(first, count, rejected=count)
    landing.rows.append(("rejects", rejects([START + 1] * count, first=first)))
    return DeferredRows(lambda: landing, count)


def test_an_epoch_is_committed_once_the_next_has_begun(lake):
    part = lake.start()
    part.write_batch([item(0)])
    kept = part.snapshot()
    assert (kept["p"], [pending["p"] for pending in kept["pending"]]) == (0, [0])
    part.commit_all()
    assert lake.offsets() == [0, 1]
    part.write_batch([item(2)])
    part.snapshot()
    assert lake.offsets() == [0, 1], "not durable yet"
    part.commit_all()
    assert (lake.offsets(), lake.strays()) == ([0, 1, 2, 3], [])


def test_an_epoch_without_rows_moves_nothing(lake):
    part = lake.start()
    assert part.snapshot()["p"] == -1
    part.write_batch([item(0)])
    assert part.snapshot()["p"] == 0
    kept = part.snapshot()
    assert kept["p"] == 0
    part.commit_all()
    assert lake.offsets() == [0, 1]


def test_a_resume_commits_what_is_pending_and_removes_what_no_snapshot_covers(lake):
    part = lake.start()
    part.write_batch([item(0)])
    kept = part.snapshot()
    part.write_batch([item(2)])
    part._land()
    part._files.finish()  # a crash within the next epoch's snapshot
    assert len(lake.strays()) == 3
    part.abandon()
    part = lake.start(kept)
    assert (lake.offsets(), lake.strays()) == ([0, 1], [])
    part.write_batch([item(2)])
    part.snapshot()
    part.commit_all()
    assert lake.offsets() == [0, 1, 2, 3]


def test_a_resume_after_the_commit_does_not_repeat_it(lake):
    part = lake.start()
    part.write_batch([item(0)])
    kept = part.snapshot()
    part.commit_all()
    for _ in range(2):
        lake.start(kept)
        assert (lake.offsets(), lake.strays()) == ([0, 1], [])
    assert DeltaTable(str(lake.root / "rejects")).version() == 1


def test_rows_are_made_where_many_wait_and_when_nothing_comes(lake):
    made = []

    def promise(first, rows, *, idle=False):
        def landing():
            made.append(first)
            return item(first).build()

        return DeferredRows(landing, rows, idle)

    part = lake.start()
    part.write_batch([promise(0, 12_000)])
    part.write_batch([promise(2, 8000)])
    assert made == []
    part.write_batch([promise(4, 1)])
    assert made == [0, 2, 4]
    part.write_batch([promise(6, 1)])
    part.write_batch([promise(8, 0, idle=True)])
    assert made == [0, 2, 4, 6, 8]
    part.write_batch([promise(10, 1)])
    part.snapshot()
    part.commit_all()
    assert made == [0, 2, 4, 6, 8, 10]
    assert lake.offsets() == list(range(12))


def test_a_resume_where_several_pending_epochs_were_committed(lake):
    part = lake.start()
    part.write_batch([item(0)])
    first = part.snapshot()
    part.write_batch([item(2)])
    second = part.snapshot()
    part.commit_all()
    kept = {
        **second,
        "pending": [*first["pending"], second["pending"][-1]],
    }  # as a snapshot has it while commits are slow
    lake.start(kept)
    assert (lake.offsets(), lake.strays()) == ([0, 1, 2, 3], [])


def test_a_resume_where_one_of_several_pending_epochs_was_committed(lake):
    part = lake.start()
    part.write_batch([item(0)])
    first = part.snapshot()
    part.commit_all()
    part.write_batch([item(2)])
    second = part.snapshot()
    part.abandon()
    lake.start({**second, "pending": [*first["pending"], second["pending"][-1]]})
    assert (lake.offsets(), lake.strays()) == ([0, 1, 2, 3], [])


def test_an_older_snapshot_is_refused_and_nothing_is_removed(lake):
    part, kept = lake.start(), []
    for turn in range(3):
        part.write_batch([item(2 * turn)])
        kept.append(part.snapshot())
    part.commit_all()
    files = sorted(lake.root.rglob("*.parquet"))
    with pytest.raises(
        ConfigurationError, match=r"do not belong together: table .* is at commit 2 .* the store expects"
    ):
        lake.start(kept[0])
    with pytest.raises(ConfigurationError, match=r"this recovery store is empty; .*cityair rebuild --recovery"):
        lake.start(None)
    assert sorted(lake.root.rglob("*.parquet")) == files
    assert lake.offsets() == list(range(6))


def test_a_snapshot_of_another_lake_whose_files_are_not_here_is_refused(lake, tmp_path):
    part = lake.start()
    part.write_batch([item(0)])
    kept = part.snapshot()
    for path in lake.root.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(ConfigurationError):
        lake.start(kept)


def test_a_failing_commit_stops_the_flow(lake):
    part = lake.start()
    part.write_batch([item(0)])
    part.snapshot()
    log = lake.root / "ledger" / "_delta_log"
    log.rename(log.with_name("gone"))
    with pytest.raises(Exception, match=r"ledger|table|log"):
        part.commit_all()
    with pytest.raises(Exception, match=r"ledger|table|log"):
        part.write_batch([item(2)])
    assert lake.offsets() == [0, 1], "the ledger goes last"


def test_a_foreign_commit_under_our_name_stops_the_flow(lake):
    part = lake.start()
    part.write_batch([item(0)])
    part.snapshot()
    other = Committer(lake.root, "air")
    other.put([{**part._pending[0], "p": 5, "files": {"rejects": []}}])
    other.wait()
    other.stop()
    with pytest.raises(ConfigurationError, match="another process writes under this flow's name"):
        part.commit_all()


def test_tables_are_made_once_and_new_columns_added(lake, make_city, monkeypatch):
    versions = {table: DeltaTable(str(lake.root / table)).version() for table in TABLES}
    create_tables(lake.root)
    assert (
        {table: DeltaTable(str(lake.root / table)).version() for table in TABLES}
        == versions
        == dict.fromkeys(TABLES, 0)
    )
    old = TABLES["rejects"]
    monkeypatch.setitem(TABLES, "rejects", old._replace(schema=old.schema.append(pa.field("host", pa.string()))))
    create_tables(lake.root)
    assert "host" in DeltaTable(str(lake.root / "rejects")).schema().to_arrow().names
