"""The lake: dates, an epoch's files, the books, two-phase commit, and what a resume does."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.arrivals import Partition, Taken
from flows.rows import Landing
from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES
from schemas.tables import TABLES
from sinks import parquet
from sinks.books import Books
from sinks.dates import LocalDates, name
from sinks.lake import Committer, LakeSink, create_tables
from sinks.parquet import EpochFiles

DAY = 86_400_000_000
START = 20_514 * DAY
"""2026-03-02 UTC."""
ZONES = (
    "UTC",
    "Asia/Seoul",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Apia",
)
FILE = Partition("air.ndjson", 0)


# Dates


def local_day(time, zone):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time - 1)
    return (moment.astimezone(ZoneInfo(zone)).date() - date(1970, 1, 1)).days


@given(
    st.sampled_from(ZONES),
    st.lists(st.integers(int(1.33e15), int(4.1e15)), min_size=1, max_size=8),
    st.lists(st.sampled_from((-1, 0, 1, 2)), min_size=8, max_size=8),
)
def test_dates_are_the_zones(zone, times, beside):
    quarters = [time // 900_000_000 * 900_000_000 + by for time, by in zip(times, beside, strict=False)]
    found = LocalDates(zone).of(np.array(times + quarters))
    assert found.tolist() == [local_day(time, zone) for time in times + quarters]


@pytest.mark.parametrize("zone", ZONES)
def test_dates_on_the_days_that_clocks_change(zone):
    begin = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    times = np.arange(begin, begin + 366 * DAY, 3_600_000_000) + 1
    assert LocalDates(zone).of(times).tolist() == [local_day(int(time), zone) for time in times]


def test_hour_24_belongs_to_its_day():
    midnight = int(datetime(2026, 3, 3, tzinfo=ZoneInfo("Asia/Seoul")).timestamp()) * 1_000_000
    assert [name(day) for day in LocalDates("Asia/Seoul").of(np.array([midnight, midnight + 1]))] == [
        "2026-03-02",
        "2026-03-03",
    ]
    assert LocalDates("Asia/Seoul").of(np.empty(0, np.int64)).size == 0


def test_dates_where_a_clock_changed_within_a_quarter_of_an_hour():
    night = int(datetime(2010, 11, 7, 2, 31, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert LocalDates("America/St_Johns").of(np.array([night])).tolist() == [local_day(night, "America/St_Johns")]


# Files of an epoch


@pytest.fixture
def files(tmp_path):
    return EpochFiles(tmp_path, "air-00000003", LocalDates("UTC"))


def rejects(times, first=0, payload=b"{", reason="undecodable", partition=FILE):
    """Rows of ``rejects``, in microseconds."""
    n = len(times)
    columns = [
        pa.array([partition.topic] * n).dictionary_encode(),
        pa.array([partition.kpart] * n, pa.int32()),
        pa.array(range(first, first + n), pa.int64()),
        pa.array(times, pa.int64()).cast(pa.timestamp("us", "UTC")),
        pa.array([reason] * n).dictionary_encode(),
        pa.array(["why"] * n),
        pa.array([payload] * n, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TABLES["rejects"].schema.remove_metadata())


def content(root, table, found):
    """All rows of data files, by their day."""
    return {file.dt: pq.read_table(root / table / file.path, partitioning=None) for file in found}


def test_files_hold_what_was_added_and_their_statistics_say_so(files, tmp_path):
    files.add("rejects", rejects([START + 1, START + 5, START + DAY]))
    files.add("rejects", rejects([START + DAY + 1], first=3, payload=b"x" * MAX_KEPT_BYTES))
    files.add("rejects", rejects([], first=4))
    found = files.finish()
    assert list(found) == ["rejects"]
    days = content(tmp_path, "rejects", found["rejects"])
    assert {day: rows["koff"].to_pylist() for day, rows in days.items()} == {"2026-03-02": [0, 1, 2], "2026-03-03": [3]}
    assert days["2026-03-03"]["payload"].to_pylist() == [b"x" * MAX_KEPT_BYTES]
    for file in found["rejects"]:
        rows, stats = days[file.dt], json.loads(file.stats)
        path = tmp_path / "rejects" / file.path
        assert file.path.startswith(f"dt={file.dt}/air-00000003-")
        assert file.size == path.stat().st_size
        assert stats["numRecords"] == rows.num_rows == pq.read_metadata(path).num_rows
        for bound, of in (("minValues", min), ("maxValues", max)):
            assert stats[bound]["koff"] == of(rows["koff"].to_pylist())
            told = datetime.fromisoformat(stats[bound]["received_at"].replace("Z", "+00:00"))
            assert told == of(rows["received_at"].to_pylist())
    assert len(list((tmp_path / "rejects").rglob("*.parquet"))) == 2


def test_an_epoch_without_rows_makes_no_file(files, tmp_path):
    assert files.finish() == {}
    assert list(tmp_path.iterdir()) == []


def test_more_days_than_files_may_be_open(files, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_OPEN", 4)
    monkeypatch.setattr(parquet, "MOST_KEPT", 40)
    most = 0
    for turn in range(6):
        files.add("rejects", rejects([START + day * DAY + 1 + turn for day in range(20)], first=20 * turn))
        files.wait()
        most = max(most, len(files._files._open))
        assert files._rows <= 40
    found = files.finish()["rejects"]
    assert most == 4
    assert len({file.dt for file in found}) == 20
    assert len({file.path for file in found}) == len(found) > 20
    koff = [
        value
        for file in found
        for value in pq.read_table(tmp_path / "rejects" / file.path, partitioning=None)["koff"].to_pylist()
    ]
    assert sorted(koff) == list(range(120))


def test_seventy_days_in_one_epoch(files, tmp_path):
    files.add("rejects", rejects([START + day * DAY + 1 for day in range(70)]))
    found = files.finish()["rejects"]
    assert sum(json.loads(file.stats)["numRecords"] for file in found) == len(found) == 70


def test_memory_does_not_grow_with_the_epoch(files):
    table = "ledger"
    numbers = pa.array(np.arange(100_000))
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["air.ndjson"]))
    times = pa.array(START + 1 + np.arange(100_000)).cast(pa.timestamp("us", "UTC"))
    schema = TABLES[table].schema.remove_metadata()
    before, most = pa.total_allocated_bytes(), 0
    for _ in range(30):
        fresh = {"topic": name, "kpart": pa.array(np.zeros(100_000, np.int32)), "received_at": times}
        columns = [fresh[c] if c in fresh else numbers.take(numbers) for c in schema.names]
        files.add(table, pa.RecordBatch.from_arrays(columns, schema=schema))
        most = max(most, pa.total_allocated_bytes() - before)
    assert sum(json.loads(file.stats)["numRecords"] for file in files.finish()[table]) == 3_000_000
    assert most < 100 << 20, "three million rows of 90 bytes each are 270 MB"


# Books


def taken(first, count, gap=0, **judged):
    landing = Landing(7, taken=[(FILE, Taken(0, first, first + count + gap - 1, count, gap))])
    landing.judged.update({(FILE, what): n for what, n in judged.items()})
    return landing


def rows_of(books):
    closed = books.close()
    return closed.to_pylist() if closed is not None else []


def test_books_balance_over_epochs_with_those_who_wait():
    books = Books({})
    first = taken(0, 10, stored=6, rejected=1)
    first.waiting = ("city", _counter(3))
    books.enter(first)
    [row] = rows_of(books)
    assert (row["first_offset"], row["last_offset"], row["received"], row["gap"], row["waiting"]) == (0, 9, 7, 0, 3)
    assert (row["stored"], row["rejected"]) == (6, 1)
    assert rows_of(books) == [], "nothing came, nothing is written"
    books = Books(books.plain())
    second = taken(10, 4, gap=2, stored=5, duplicate=1, too_late=1)
    second.waiting = ("city", _counter(0))
    books.enter(second)
    [row] = rows_of(books)
    assert (row["first_offset"], row["last_offset"], row["received"], row["gap"], row["waiting"]) == (10, 15, 7, 2, 0)
    assert (row["stored"], row["duplicate"], row["too_late"]) == (5, 1, 1)


def _counter(n):
    return type(taken(0, 1).judged)({FILE: n})


def test_who_waited_is_judged_in_an_epoch_without_messages():
    books = Books({})
    first = taken(0, 2, stored=1)
    first.waiting = ("city", _counter(1))
    books.enter(first)
    books.close()
    late = Landing(9, waiting=("city", _counter(0)))
    late.judged[FILE, "rejected"] = 1
    books.enter(late)
    [row] = rows_of(books)
    assert (row["first_offset"], row["last_offset"], row["received"], row["rejected"], row["waiting"]) == (
        2,
        1,
        1,
        1,
        0,
    )


@pytest.mark.parametrize("judged", [{"stored": 9}, {"stored": 11}, {"stored": 9, "duplicate": 2}, {}])
def test_a_message_lost_or_doubled_is_our_bug_and_is_loud(judged):
    books = Books({})
    books.enter(taken(0, 10, **judged))
    with pytest.raises(AssertionError, match="do not balance: received 10"):
        books.close()


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=20)
)
def test_books_add_up_however_epochs_and_crashes_cut_them(items):
    books, rows, at, waiting, judged = Books({}), [], 0, 0, 0
    for stored, rejected, wait, cut in items:
        count = stored + rejected
        landing = taken(at, count + wait, stored=stored, rejected=rejected) if count + wait else Landing(7)
        if waiting:  # those who waited are stored with the next item
            landing.judged[FILE, "stored"] += waiting
            judged += waiting
        landing.waiting = ("city", _counter(wait))
        at, waiting, judged = at + count + wait, wait, judged + count
        books.enter(landing)
        if cut:
            rows += rows_of(books)
            books = Books(json.loads(json.dumps(books.plain())))
    rows += rows_of(books)
    assert sum(row["received"] for row in rows) == judged
    assert sum(row["stored"] + row["rejected"] for row in rows) == judged
    nexts = [row["last_offset"] + 1 for row in rows]
    assert [row["first_offset"] for row in rows] == [0, *nexts[:-1]][: len(rows)]
    if rows:
        assert (nexts[-1], rows[-1]["waiting"]) == (at, waiting)


# Two-phase commit


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
    return landing


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
