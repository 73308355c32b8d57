"""Late readings until the next firing against a plain list: by cadence, in their order, over restarts."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.zone.late import LateBuffer
from schemas.slots import NEVER
from tests.support.grids import P
from tests.support.records import ACK, REPORT, ack, report

RECORDED = {REPORT.topic: REPORT, ACK.topic: ACK}


def put(late, rows):
    """Rows of (column, slot, number); a reading is known by its number."""
    column, slot, number = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    quanta = np.repeat(number[:, None], P, axis=1)
    late.add(column.astype(np.int32), slot, quanta, np.ones((len(rows), P), np.uint8))


def rows_of(taken):
    if taken is None:
        return []
    column, slot, quanta, flags = taken
    assert quanta.shape == flags.shape == (column.size, P)
    return list(zip(column.tolist(), slot.tolist(), quanta[:, 0].tolist(), strict=True))


def restarted(late, column_now=range(4)):
    kept, again = pickle.loads(pickle.dumps((late.snapshot(), late.snapshot_records()))), LateBuffer()
    again.restore(kept[0], np.array(column_now, np.int32))
    again.restore_records(kept[1], RECORDED)
    return again


ROW = st.tuples(st.integers(0, 3), st.integers(0, 99), st.integers(0, 10**12))
STEPS = st.lists(
    st.one_of(
        st.lists(ROW, max_size=4).map(lambda rows: ("add", rows)),
        st.sets(st.integers(0, 3)).map(lambda columns: ("take", sorted(columns))),
        st.just(("restart", None)),
    ),
    max_size=12,
)


@given(STEPS)
def test_readings_are_those_of_a_list(steps):
    late, listed = LateBuffer(), []
    for step, given_now in steps:
        if step == "add":
            put(late, given_now)
            listed += given_now
        elif step == "take":
            taken = rows_of(late.take(np.array(given_now, np.int64)))
            assert taken == [row for row in listed if row[0] in given_now]
            listed = [row for row in listed if row[0] not in given_now]
        else:
            late = restarted(late)
        assert len(late) == len(listed)
    assert rows_of(late.take(np.arange(4))) == listed


def test_none_of_these_columns_is_none_and_the_others_stay():
    late = LateBuffer()
    assert late.take(np.array([0])) is None
    put(late, [(1, 7, 5)])
    assert late.take(np.array([0, 2])) is None
    assert rows_of(late.take(np.array([1]))) == [(1, 7, 5)]


def test_instruments_move_and_leave_with_a_new_city_file():
    late = LateBuffer()
    put(late, [(0, 7, 1), (1, 8, 2), (2, 9, 3)])
    again = restarted(late, column_now=[2, -1, 0])
    assert rows_of(again.take(np.arange(3))) == [(2, 7, 1), (0, 9, 3)]


def test_records_wait_in_their_order_and_leave_all_at_once():
    late, first, second = LateBuffer(), report("r-2"), ack("t-1")
    assert (late.oldest_record, late.take_records()) == (NEVER, [])
    late.records += [(9, first), (5, second)]
    assert (len(late), late.oldest_record) == (2, 5)
    assert late.take(np.arange(4)) is None, "they are no readings"
    assert late.take_records() == [(9, first), (5, second)]
    assert (len(late), late.oldest_record) == (0, NEVER)


def test_of_a_record_a_snapshot_holds_what_may_be_retained():
    late = LateBuffer()
    late.records += [(9, report("r-1", text="my neighbour at number 7")), (5, ack("t-1"))]
    assert b"neighbour" not in pickle.dumps(late.snapshot_records())
    [(nine, restored), (five, answer)] = restarted(late).records
    assert (nine, five, restored.id, restored.data.text) == (9, 5, "r-1", "")
    assert answer == ack("t-1")


def test_kinds_that_the_flow_no_longer_takes_are_dropped():
    late, again = LateBuffer(), LateBuffer()
    late.records += [(9, report("r-1")), (5, ack("t-1"))]
    again.restore_records(late.snapshot_records(), {ACK.topic: ACK})
    assert [record.id for _, record in again.records] == ["t-1"]


def test_a_snapshot_is_no_part_of_the_buffer():
    late = LateBuffer()
    put(late, [(1, 7, 5)])
    [[column, *_]] = late.snapshot()
    column[:] = 3
    assert rows_of(late.take(np.array([1]))) == [(1, 7, 5)]
