"""Audit: books that balance, and any message lost or doubled."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ContractError
from schemas.rejected import REASONS
from schemas.tables import RECORD_KEY, TABLES, Table
from sinks.lake.tables import create_tables
from sinks.maintenance.audit import audit
from tests.support.lakes import NOON


def audited(lake):
    return audit(lake.root, settle=0)


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


def test_every_reason_is_known_and_counted_as_rejected_unless_it_has_a_column_of_its_own(lake):
    lake.books([0], rejects=list(enumerate(REASONS, start=1)))
    report = audited(lake)
    assert report.faults == []
    [balance] = report.partitions
    assert (balance.duplicate, balance.too_late, balance.rejected) == (1, 1, len(REASONS) - 2)


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


def test_the_ledger_of_every_writer_is_proved(lake):
    """Each has partitions of its own; their epochs follow one another by partition, not by writer."""
    lake.books([0, 1], writer="air.2.00").books([0, 1, 2], kpart=1, writer="air.2.01").books([2], writer="air.2.00")
    report = audited(lake)
    assert report.faults == []
    assert [(balance.name, balance.readings) for balance in report.partitions] == [("air[0]", 3), ("air[1]", 3)]


def test_a_new_table_of_records_is_audited_without_a_change(lake, monkeypatch):
    """A table is one of records by its key."""
    schema = TABLES["air_readings"].schema
    columns = [schema.field(name) for name in ("topic", "kpart", "koff", "observed_at")]
    monkeypatch.setitem(
        TABLES, "odor_readings", Table("an odor", "observed_at", RECORD_KEY, pa.schema(columns), flow="odor")
    )
    create_tables(lake.root)
    lake.books([0, 1])
    odor = {"topic": "odor", "observed_at": NOON}
    ledger = {"flow": "odor", "topic": "odor", "first_offset": 0, "last_offset": 2, "received": 3, "stored": 3}
    lake.epoch(odor_readings=[{"koff": koff, **odor} for koff in (0, 1)], ledger=[ledger])
    assert audited(lake).faults[0] == "odor[0] of odor: the ledger says stored = 3, odor_readings holds 2"
    lake.epoch(odor_readings=[{"koff": 2, **odor}])
    report = audited(lake)
    assert report.faults == []
    assert [balance.records for balance in report.partitions] == [{"air_readings": 2}, {"odor_readings": 3}]


def test_two_flows_share_an_input(lake):
    """What one flow takes the other passes over; what has no kind both refuse."""
    lake.books([0, 2], rejects=[(4, "contract")], other=2, last=4)
    lake.books([], rejects=[(4, "contract")], other=4, first=0, last=4, flow="odor", writer="odor")
    report = audited(lake)
    assert report.faults == []
    assert [(balance.name, balance.received, balance.other) for balance in report.partitions] == [
        ("air[0]", 3, 2),
        ("air[0] of odor", 1, 4),
    ]
    lake.books([], first=5, last=5, flow="odor", writer="odor")
    sums, offsets = audited(lake).faults
    assert sums.startswith("air[0] of odor: offsets 0..5 less a gap of 0 and 4 of other flows are 2 messages, but")
    assert offsets == "air[0] of odor: epoch 5..5 lacks 1 offsets (5), its gap is 0"
