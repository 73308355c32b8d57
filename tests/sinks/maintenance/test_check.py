"""Audit, check and compact on small lakes, whole and spoilt."""

import os
import re
import time
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError, ContractError
from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.maintenance import check as upkeep

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)


def audited(lake):
    return upkeep.audit(lake.root, settle=0)


def data(lake, table):
    return sorted((lake.root / table).glob("dt=*/*.parquet"))


# Audit


def test_an_empty_lake_balances(lake):
    report = audited(lake)
    assert report.faults == []
    assert report.partitions == []


def test_books_that_balance(lake):
    lake.books([0, 1, 3, 5], rejects=[(2, "duplicate"), (4, "too_late"), (6, "contract"), (7, "undecodable")])
    lake.books([8, 9], rejects=[(10, "contract")])
    lake.books([0, 1], kpart=1)
    report = audited(lake)
    assert report.faults == []
    report.require()
    first, second = report.partitions
    assert (first.name, first.first_offset, first.last_offset, first.received) == ("air[0]", 0, 10, 11)
    assert (first.stored, first.rejected, first.duplicate, first.too_late) == (6, 3, 1, 1)
    assert first.readings == 6
    assert first.reasons == {"duplicate": 1, "too_late": 1, "contract": 2, "undecodable": 1}
    assert (second.name, second.readings, second.reasons) == ("air[1]", 2, {})


def test_gaps_and_what_waits_are_no_faults(lake):
    lake.books([100, 101, 105], gap=3)  # 102, 103 and 104 are not in the broker
    lake.books([106, 108], waiting=1, last=108)  # 107 waits
    lake.books([109, 110], waiting=1, last=110)
    assert audited(lake).faults == []
    lake.books([107], first=111, last=110)  # judged, in an epoch that took nothing
    assert audited(lake).faults == []


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.sampled_from(["stored", "duplicate", "contract", "gap"]), min_size=3, max_size=20), st.data())
def test_any_honest_history_balances_and_any_lost_or_doubled_message_shows(tmp_path_factory, lake, fates, chosen):
    honest = type(lake)(tmp_path_factory.mktemp("lake"))
    fates = ["stored", *fates, "stored"]
    cut = chosen.draw(st.integers(1, len(fates) - 1))
    for low, high in ((0, cut), (cut, len(fates))):
        stored = [o for o in range(low, high) if fates[o] == "stored"]
        refused = [(o, fates[o]) for o in range(low, high) if fates[o] not in {"stored", "gap"}]
        honest.books(stored, rejects=refused, gap=fates[low:high].count("gap"), first=low, last=high - 1)
    assert audited(honest).faults == []
    honest.epoch(air_readings=[{"koff": chosen.draw(st.integers(0, len(fates) - 1))}])
    assert audited(honest).faults


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda x: x.epoch(air_readings=[{"koff": 1}]), "offset 1 is there 2 times"),
        (lambda x: x.epoch(rejects=[{"koff": 2}]), "offset 2 is there 2 times"),
        (lambda x: x.epoch(rejects=[{"koff": 99}]), "offset 99 is outside the ledger's 0..3"),
        (lambda x: x.epoch(rejects=[{"koff": 0, "kpart": 7}]), "air[7]: 1 rows, but the ledger has no such partition"),
        (lambda x: x.books([6, 7]), "offsets 4..5 are in no epoch"),
        (lambda x: x.books([4], first=3), "overlaps it"),
        (lambda x: x.books([4, 6], last=6), "epoch 4..6 lacks 1 offsets (5), its gap is 0"),
        (lambda x: x.books([4, 5, 6], gap=1), "its gap is 1"),
        (lambda x: x.books([4], rejects=[(5, "boredom")]), "reasons that do not exist: boredom"),
        (
            lambda x: x.epoch(ledger=[{"first_offset": 4, "last_offset": 4, "received": 1}]),
            "received 1, but stored + rejected + duplicate + too_late = 0",
        ),
        (
            lambda x: x.epoch(
                rejects=[{"koff": 4, "reason": "too_late"}],
                ledger=[{"first_offset": 4, "last_offset": 4, "received": 1, "duplicate": 1}],
            ),
            "the ledger says duplicate = 1, rejects holds 0",
        ),
        (lambda x: x.books([4, 5], last=6, waiting=2), "received 6 + waiting 2 = 8"),
    ],
)
def test_what_does_not_balance_is_named(lake, spoil, told):
    lake.books([0, 1, 3], rejects=[(2, "contract")])
    assert audited(lake).faults == []
    spoil(lake)
    report = audited(lake)
    assert any(told in fault for fault in report.faults), report.faults
    assert all(fault.startswith("air[") for fault in report.faults)
    with pytest.raises(ContractError, match="air") as refused:
        report.require()
    assert refused.value.status == 4


def test_a_hole_made_up_for_by_a_wrong_gap_elsewhere_is_found(lake):
    lake.books([0, 1, 2], gap=1)  # nothing lacks here
    lake.books([3, 5], last=5)  # 4 does
    faults = audited(lake).faults
    assert "air[0]: epoch 0..2 lacks 0 offsets (none), its gap is 1" in faults
    assert audited(lake).faults


def test_offsets_past_a_bucket(lake):
    offsets = [65_534, 65_535, 65_536, 131_072]
    lake.epoch(
        air_readings=[{"koff": o} for o in offsets],
        ledger=[{"first_offset": 65_534, "last_offset": 131_072, "received": 4, "stored": 4, "gap": 65_535}],
    )
    assert audited(lake).faults == []


# Check


def test_a_whole_lake_has_no_faults(lake):
    lake.books([0, 1]).epoch(rolling=[{}, {"ended_at": datetime(2026, 3, 2, 15, tzinfo=UTC)}])
    report = upkeep.check(lake.root)
    assert report.faults == []
    assert report.warnings == []
    assert report.tables["rolling"]["files"] == 1
    assert report.tables["rolling"]["rows"] == 2
    assert report.tables["flags"] == {"files": 0, "rows": 0, "bytes": 0}


def test_a_lost_file(lake):
    lake.epoch(rolling=[{}])
    data(lake, "rolling")[0].unlink()
    [fault] = upkeep.check(lake.root).faults
    assert "rolling" in fault
    assert "is gone" in fault


def test_a_cut_file(lake):
    lake.epoch(rolling=[{}])
    path = data(lake, "rolling")[0]
    path.write_bytes(path.read_bytes()[:-10])
    assert "bytes, the log says" in upkeep.check(lake.root).faults[0]


def test_a_garbled_file(lake):
    lake.epoch(rolling=[{}])
    path = data(lake, "rolling")[0]
    path.write_bytes(b"x" * path.stat().st_size)
    assert "cannot be read" in upkeep.check(lake.root).faults[0]


def test_other_rows_than_the_log_says(lake):
    """A file of the same size with other rows: only its statistics can tell."""
    lake.epoch(rolling=[{}])
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 1', '\\"numRecords\\": 2'))
    assert upkeep.check(lake.root).faults[0].endswith("has 1 rows, the log says 2")


def test_rows_of_another_day(lake):
    lake.epoch(rolling=[{}])
    day = lake.root / "rolling" / "dt=2026-03-02"
    day.rename(day.with_name("dt=2026-03-03"))
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(
        log.read_text().replace("2026-03-02/", "2026-03-03/").replace('"dt":"2026-03-02"', '"dt":"2026-03-03"')
    )
    [fault] = upkeep.check(lake.root).faults
    assert "2026-03-02T03:00:00" in fault
    assert fault.endswith("which is of 2026-03-02")


def test_an_unreadable_log(lake):
    (lake.root / "flags" / "_delta_log" / f"{0:020}.json").write_text("{")
    report = upkeep.check(lake.root)
    assert len(report.faults) == 1
    assert report.faults[0].startswith("flags: its log cannot be read")
    assert "rolling" in report.tables


def test_columns_of_another_type(lake):
    lake.epoch(rolling=[{}])
    kept = TABLES["rolling"]
    where = kept.schema.get_field_index("suspect")
    TABLES["rolling"] = kept._replace(
        schema=kept.schema.set(where, pa.field("suspect", pa.float64())).remove(kept.schema.get_field_index("valid"))
    )
    try:
        report = upkeep.check(lake.root)
    finally:
        TABLES["rolling"] = kept
    assert report.faults[0] == "rolling.suspect: is INTEGER, but schemas/tables.py says DOUBLE"
    assert report.warnings == ["rolling.valid: unknown to this version of cityair"]


def test_stray_files_are_warned_of_by_age(lake):
    lake.epoch(rolling=[{}])
    path = data(lake, "rolling")[0]
    young, old = path.with_name("air-00000009-abc.parquet"), path.with_name("air-00000008-abc.parquet")
    for stray in (young, old):
        stray.write_bytes(path.read_bytes())
    os.utime(old, (time.time() - 90_000,) * 2)
    report = upkeep.check(lake.root)
    assert report.faults == []
    assert any("1 files not in the log" in w for w in report.warnings)
    assert any("1 stray files older than 24 h" in w for w in report.warnings)


def test_days_of_many_files_are_warned_of(lake):
    for i in range(upkeep.MANY_FILES + 1):
        lake.epoch(flags=[{"ended_at": NOON + timedelta(minutes=i)}])
    [warning] = upkeep.check(lake.root).warnings
    assert "flags: 1 days of more than 8 files" in warning
    assert "lake compact" in warning


# Compact


def filled(lake):
    for i in range(3):
        lake.epoch(
            rolling=[{"station_id": s, "ended_at": NOON + timedelta(minutes=10 * i), "mean": i / 3} for s in "ba"]
            + [{"revision": i, "mean": float(i)}] * (i > 0),
            rejects=[{"koff": i, "payload": bytes([i])}],
        )
    return lake


def rows(lake, name):
    with catalog.connect(lake.root) as con:
        return con.sql(f"FROM {name} ORDER BY ALL").fetchall()


def test_compacted_days_hold_the_same_rows_in_one_sorted_file(lake):
    filled(lake).epoch(rolling=[{"ended_at": NOON + timedelta(days=3)}])
    lake.epoch(rolling=[{"ended_at": NOON + timedelta(days=3, hours=1)}])
    before = {name: rows(lake, name) for name in ("rolling", "rolling_history", "rejects")}
    assert upkeep.compact(lake.root, date(2026, 3, 4)) == {**dict.fromkeys(TABLES, 0), "rolling": 3, "rejects": 3}
    assert {name: rows(lake, name) for name in before} == before
    table = DeltaTable(str(lake.root / "rolling"))
    assert table.transaction_version("air") == lake.p
    assert sorted(uri.rsplit("/", 2)[1] for uri in table.file_uris()) == [
        "dt=2026-03-02",
        "dt=2026-03-05",
        "dt=2026-03-05",
    ]
    [joined] = [path for path in data(lake, "rolling") if path.name.startswith("compact-")]
    key = [*TABLES["rolling"].key, "revision"]
    found = pq.ParquetFile(joined).read(key)
    assert found.num_rows == 8
    assert found == found.sort_by([(column, "ascending") for column in key])
    assert upkeep.check(lake.root).faults == []
    assert upkeep.compact(lake.root, date(2026, 3, 4)) == dict.fromkeys(TABLES, 0)


def test_statistics_of_a_compacted_file_let_readers_skip_it(lake):
    filled(lake)
    upkeep.compact(lake.root)
    adds = pa.RecordBatchReader.from_stream(
        DeltaTable(str(lake.root / "rolling")).get_add_actions(flatten=True)
    ).read_all()
    [add] = adds.to_pylist()
    assert (add["num_records"], add["min.revision"], add["max.revision"]) == (8, 0, 2)
    assert (add["min.ended_at"], add["max.ended_at"]) == (NOON, NOON + timedelta(minutes=20))
    assert (add["min.station_id"], add["max.station_id"], add["null_count.mean"]) == ("a", "b", 0)


def test_long_texts_do_not_swell_the_log(lake):
    for i in range(2):
        lake.epoch(rejects=[{"koff": i, "detail": "x" * 5000}])
    upkeep.compact(lake.root)
    assert "xxx" not in (lake.root / "rejects" / "_delta_log" / f"{3:020}.json").read_text()


def test_a_flow_writes_on_while_a_day_is_joined(lake, monkeypatch):
    filled(lake)
    before = len(rows(lake, "rolling_history"))
    original = pq.write_table

    def meanwhile(*args, **kwargs):
        original(*args, **kwargs)
        lake.epoch(rolling=[{"station_id": "c", "mean": 7.0}])

    monkeypatch.setattr(pq, "write_table", meanwhile)
    upkeep._join(lake.root, "rolling", date(2026, 3, 2))
    after = rows(lake, "rolling_history")
    assert len(after) == before + 1
    assert any(row[1] == "c" for row in after)
    assert DeltaTable(str(lake.root / "rolling")).transaction_version("air") == lake.p
    assert upkeep.check(lake.root).faults == []


def test_two_compactions_at_once_join_a_day_once(lake, monkeypatch):
    filled(lake)
    before = rows(lake, "rolling_history")
    original, calls = pq.write_table, []

    def meanwhile(*args, **kwargs):
        original(*args, **kwargs)
        if not calls:
            calls.append(1)
            upkeep._join_once(lake.root, "rolling", date(2026, 3, 2))

    monkeypatch.setattr(pq, "write_table", meanwhile)
    upkeep._join(lake.root, "rolling", date(2026, 3, 2))
    assert rows(lake, "rolling_history") == before
    report = upkeep.check(lake.root)
    assert report.faults == []
    assert report.tables["rolling"]["files"] == 1


def test_a_flow_that_was_open_before_goes_on_after(lake):
    filled(lake)
    stale = DeltaTable(str(lake.root / "rolling"))
    upkeep.compact(lake.root)
    stale.update_incremental()
    assert stale.transaction_version("air") == lake.p
    lake.epoch(rolling=[{"station_id": "c"}])
    assert len(rows(lake, "rolling")) == 7


def test_a_file_that_lost_rows_is_not_joined(lake):
    filled(lake)
    log = lake.root / "rolling" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 2', '\\"numRecords\\": 5'))
    with pytest.raises(ContractError, match="hold 8 rows, the log says 11"):
        upkeep.compact(lake.root)
    assert not [path for path in data(lake, "rolling") if path.name.startswith("compact-")]


def test_vacuum_removes_only_what_was_replaced_a_day_ago(lake):
    filled(lake)
    upkeep.compact(lake.root)
    stray = data(lake, "rolling")[0].with_name("air-00000099-abc.parquet")
    stray.write_bytes(b"pending")
    os.utime(stray, (time.time() - 200_000,) * 2)
    assert upkeep.vacuum(lake.root) == dict.fromkeys(TABLES, 0)
    assert "3 files replaced" in upkeep.check(lake.root).warnings[-2] + upkeep.check(lake.root).warnings[-1]
    log = lake.root / "rolling" / "_delta_log" / f"{4:020}.json"
    now = DeltaTable(str(lake.root / "rolling"))
    assert now.version() == 4
    text, count = re.subn(
        r'(?<="deletionTimestamp":)\d+', lambda stamp: str(int(stamp[0]) - 90_000_000), log.read_text()
    )
    assert count == 3
    log.write_text(text)
    assert upkeep.vacuum(lake.root)["rolling"] == 3
    assert stray.exists()
    assert len(rows(lake, "rolling_history")) == 8


@pytest.mark.parametrize("deed", [upkeep.audit, upkeep.check, upkeep.compact, upkeep.vacuum])
def test_no_lake_no_deed(tmp_path, deed):
    with pytest.raises(ConfigurationError, match="there is no lake here"):
        deed(tmp_path / "nowhere")
