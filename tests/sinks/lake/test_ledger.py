"""The ledger balances over epochs and crashes, and a message lost or doubled is loud."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.outputs.lake_rows import LakeBatch
from sinks.lake.ledger import EpochLedger
from tests.support.batches import FILE, batch


def rows_of(ledger):
    closed = ledger.close()
    return closed.to_pylist() if closed is not None else []


def columns(row, *names):
    return tuple(row[name] for name in names)


def test_an_epoch_is_a_row_of_each_partition():
    ledger = EpochLedger("air", {})
    ledger.add(batch(0, 3, stored=3))
    ledger.add(batch(3, 4, stored=2, rejected=1, duplicate=1))
    ledger.add(batch(0, 1, stored=1, partition=FILE._replace(number=1)))
    first, second = rows_of(ledger)
    assert columns(first, "kpart", "first_offset", "last_offset", "received") == (0, 0, 6, 7)
    assert columns(first, "stored", "rejected", "duplicate", "too_late") == (5, 1, 1, 0)
    assert columns(second, "kpart", "first_offset", "last_offset", "received") == (1, 0, 0, 1)


def test_what_waits_is_received_in_the_epoch_that_judges_it():
    ledger = EpochLedger("air", {})
    ledger.add(batch(0, 10, stored=6, rejected=1, waiting=3))
    [row] = rows_of(ledger)
    assert columns(row, "first_offset", "last_offset", "received", "waiting") == (0, 9, 7, 3)
    late = LakeBatch(9, waiting=("city", batch(0, 0).dispositions))
    late.dispositions[FILE, "rejected"] = 3
    ledger.add(late)
    [row] = rows_of(ledger)
    assert columns(row, "first_offset", "last_offset", "received", "rejected", "waiting") == (10, 9, 3, 3, 0)


def test_a_ledger_goes_on_from_its_snapshot():
    ledger = EpochLedger("air", {})
    ledger.add(batch(0, 10, stored=6, rejected=1, waiting=3))
    rows_of(ledger)
    assert rows_of(ledger) == [], "nothing came, nothing is written"
    ledger = EpochLedger("air", ledger.snapshot())
    ledger.add(batch(10, 4, gap=2, stored=5, duplicate=1, too_late=1, waiting=0))
    [row] = rows_of(ledger)
    assert columns(row, "first_offset", "last_offset", "received", "gap", "waiting") == (10, 15, 7, 2, 0)
    assert columns(row, "stored", "duplicate", "too_late") == (5, 1, 1)


@pytest.mark.parametrize("dispositions", [{"stored": 9}, {"stored": 11}, {"stored": 9, "duplicate": 2}, {}])
def test_a_message_lost_or_doubled_is_our_bug_and_is_loud(dispositions):
    ledger = EpochLedger("air", {})
    ledger.add(batch(0, 10, **dispositions))
    with pytest.raises(AssertionError, match="do not balance: received 10"):
        ledger.close()


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=20)
)
def test_rows_add_up_however_epochs_and_crashes_cut_them(items):
    ledger, rows, next_offset, waiting, judged = EpochLedger("air", {}), [], 0, 0, 0
    for stored, rejected, early, cut in items:
        count = stored + rejected
        if count + early:
            made = batch(next_offset, count + early, stored=stored, rejected=rejected, waiting=early)
        else:
            made = LakeBatch(7, waiting=("city", batch(0, 0).dispositions))
        if waiting:  # what waited is stored with the next item
            made.dispositions[FILE, "stored"] += waiting
            judged += waiting
        next_offset, waiting, judged = next_offset + count + early, early, judged + count
        ledger.add(made)
        if cut:
            rows += rows_of(ledger)
            ledger = EpochLedger("air", json.loads(json.dumps(ledger.snapshot())))
    rows += rows_of(ledger)
    assert sum(row["received"] for row in rows) == judged
    assert sum(row["stored"] + row["rejected"] for row in rows) == judged
    ends = [row["last_offset"] + 1 for row in rows]
    assert [row["first_offset"] for row in rows] == [0, *ends[:-1]][: len(rows)]
    if rows:
        assert (ends[-1], rows[-1]["waiting"]) == (next_offset, waiting)
