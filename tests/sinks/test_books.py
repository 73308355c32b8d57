"""The books balance over epochs and crashes, and a message lost or doubled is loud."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.outputs.lake_rows import LakeBatch
from sinks.lake.ledger import EpochLedger
from tests.sinks.epochs import FILE, taken


def rows_of(books):
    closed = books.close()
    return closed.to_pylist() if closed is not None else []


def test_books_balance_over_epochs_with_those_who_wait():
    books = EpochLedger({})
    first = taken(0, 10, stored=6, rejected=1)
    first.waiting = ("city", _counter(3))
    books.enter(first)
    [row] = rows_of(books)
    assert (row["first_offset"], row["last_offset"], row["received"], row["gap"], row["waiting"]) == (0, 9, 7, 0, 3)
    assert (row["stored"], row["rejected"]) == (6, 1)
    assert rows_of(books) == [], "nothing came, nothing is written"
    books = EpochLedger(books.plain())
    second = taken(10, 4, gap=2, stored=5, duplicate=1, too_late=1)
    second.waiting = ("city", _counter(0))
    books.enter(second)
    [row] = rows_of(books)
    assert (row["first_offset"], row["last_offset"], row["received"], row["gap"], row["waiting"]) == (10, 15, 7, 2, 0)
    assert (row["stored"], row["duplicate"], row["too_late"]) == (5, 1, 1)


def _counter(n):
    return type(taken(0, 1).dispositions)({FILE: n})


def test_who_waited_is_judged_in_an_epoch_without_messages():
    books = EpochLedger({})
    first = taken(0, 2, stored=1)
    first.waiting = ("city", _counter(1))
    books.enter(first)
    books.close()
    late = LakeBatch(9, waiting=("city", _counter(0)))
    late.dispositions[FILE, "rejected"] = 1
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
    books = EpochLedger({})
    books.enter(taken(0, 10, **judged))
    with pytest.raises(AssertionError, match="do not balance: received 10"):
        books.close()


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=20)
)
def test_books_add_up_however_epochs_and_crashes_cut_them(items):
    books, rows, at, waiting, judged = EpochLedger({}), [], 0, 0, 0
    for stored, rejected, wait, cut in items:
        count = stored + rejected
        landing = taken(at, count + wait, stored=stored, rejected=rejected) if count + wait else LakeBatch(7)
        if waiting:  # those who waited are stored with the next item
            landing.dispositions[FILE, "stored"] += waiting
            judged += waiting
        landing.waiting = ("city", _counter(wait))
        at, waiting, judged = at + count + wait, wait, judged + count
        books.enter(landing)
        if cut:
            rows += rows_of(books)
            books = EpochLedger(json.loads(json.dumps(books.plain())))
    rows += rows_of(books)
    assert sum(row["received"] for row in rows) == judged
    assert sum(row["stored"] + row["rejected"] for row in rows) == judged
    nexts = [row["last_offset"] + 1 for row in rows]
    assert [row["first_offset"] for row in rows] == [0, *nexts[:-1]][: len(rows)]
    if rows:
        assert (nexts[-1], rows[-1]["waiting"]) == (at, waiting)
