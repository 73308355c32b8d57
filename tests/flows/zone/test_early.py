"""The early buffer against a list that is asked after each row: admitted, expired, one too many, restored."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.decode.batch import InMemory, no_readings
from flows.decode.values import ValueNotes, read_text
from flows.state.grid import second_of, slot_of
from flows.zone.early import EarlyBuffer
from flows.zone.watermark import WatermarkTrace
from schemas.measured import AIR
from schemas.rejected import MAX_KEPT_BYTES, Envelope
from schemas.slots import NEVER
from tests.support.records import REPORT, micros_of, report
from tests.support.zones import START

FIRST = START // 60
HORIZON, MAX_WAIT = 20, 15


def new_buffer(capacity=1000):
    return EarlyBuffer(AIR, HORIZON, MAX_WAIT, capacity)


def offsets(readings):
    return [] if readings is None else readings.offset.tolist()


class SlowBuffer:
    """The same, row by row. Slots and the watermark count from ``FIRST``; a watermark of None is not set."""

    def __init__(self, capacity):
        self.capacity, self.waits, self.expired = capacity, [], []

    def count(self, offset, slot, watermark):
        """What is admitted after a row; the row is buffered if it is early."""
        if watermark is None or slot > watermark + HORIZON:
            self.waits.append([offset, slot, watermark])
        if watermark is not None:
            for row in self.waits:
                row[2] = watermark if row[2] is None else row[2]
        admitted = [of for of, at, _ in self.waits if watermark is not None and watermark >= at - HORIZON]
        expired = [of for of, _, since in self.waits if since is not None and watermark >= since + MAX_WAIT]
        self.waits = [row for row in self.waits if row[0] not in {*admitted, *expired}]
        while len(self.waits) > self.capacity:
            expired.append(self.waits.pop(0)[0])
        self.expired += [of for of in expired if of not in admitted]
        return admitted


def drive(buffer, readings, watermark, log):
    """Admit a batch as a zone does, run by run; note what is admitted after which row, and what expires."""
    while len(readings):
        slot = slot_of(second_of(readings.observed))
        early = (watermark == NEVER) | (slot > watermark + HORIZON)
        trace = WatermarkTrace(watermark, early, np.empty(0, np.int64), readings.station, slot)
        last, admitted, expired = buffer.admit(readings, slot, early, trace)
        log.append((int(readings.offset[last]), offsets(admitted)))
        yield from offsets(expired)
        readings, watermark = readings.slice(last + 1, len(readings)), watermark[last + 1 :]


def restarted(buffer, capacity=1000):
    again = new_buffer(capacity)
    kept = pickle.loads(pickle.dumps(buffer.snapshot(np.arange(3, dtype=np.int32))))
    left = again.restore(kept, np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), {REPORT.topic: REPORT})
    assert len(left) == 0
    return again


ROWS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 1, 3, 10]), st.sampled_from([0, 0, 0, 21, 25, 30, 34, 36, 500]), st.booleans()),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150)
@given(ROWS, st.integers(0, 5), st.sampled_from([1, 2, 3, 1000]), st.data())
def test_readings_wait_as_if_asked_after_each_row(make_readings, rows, unset, capacity, data):
    steps, slots, watermark = 0, [], []
    for i, (step, ahead, _) in enumerate(rows):
        steps += step
        watermark.append(None if i < unset else steps)
        slots.append(steps + ahead)
    slow, expected = SlowBuffer(capacity), {}
    for i, (slot, now) in enumerate(zip(slots, watermark, strict=True)):
        admitted = slow.count(i, slot, now)
        if admitted:
            expected[i] = admitted
    buffer, log, expired = new_buffer(capacity), [], []
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=4)) | {len(rows)})
    for begin, end in zip([0, *cuts], cuts, strict=False):
        readings = make_readings([(i % 3, START + 60 * slots[i], {"pm10": 1.0}) for i in range(begin, end)], begin)
        trace = np.array([NEVER if now is None else FIRST + now for now in watermark[begin:end]], np.int64)
        expired += drive(buffer, readings, trace, log)
        if rows[end - 1][2]:
            buffer = restarted(buffer, capacity)
    assert {row: admitted for row, admitted in log if admitted} == expected
    assert sorted(expired) == sorted(slow.expired)
    assert offsets(buffer.readings) == [row[0] for row in slow.waits]
    assert buffer.readings.payloads.take(range(len(buffer))) == [b"reading %d" % row[0] for row in slow.waits]


@pytest.mark.parametrize("cuts", [[40], [1, 7, 40], [*range(1, 41)]])
def test_a_sensor_far_ahead_whose_messages_are_large_is_bounded_in_bytes(make_readings, cuts):
    """The oldest expire, however the rows came; no more of a message is kept than of one that is refused."""
    texts = [b"%06d" % i + bytes(1000 * 900) for i in range(40)]
    envelopes = [Envelope(b"k", (("h", bytes(70_000 if i % 2 else 10)),)) for i in range(40)]
    buffer, expired, begin = EarlyBuffer(AIR, HORIZON, MAX_WAIT, 1000, max_bytes=10 * MAX_KEPT_BYTES), [], 0
    for end in cuts:
        readings = make_readings([(0, START + 60 * (500_000 + i), {"pm10": 1.0}) for i in range(begin, end)], begin)
        readings.payloads = InMemory(texts[begin:end], envelopes[begin:end])
        expired += drive(buffer, readings, np.full(end - begin, FIRST), [])
        begin = end
    assert (expired, offsets(buffer.readings)) == ([*range(31)], [*range(31, 40)])
    kept = buffer.snapshot(np.arange(1, dtype=np.int32))
    assert [text[:6] for text in kept["texts"]] == [b"%06d" % i for i in range(31, 40)]
    assert len(pickle.dumps(kept)) < 11 * MAX_KEPT_BYTES
    again = restarted(buffer).readings.payloads.envelopes([0, 1])
    assert [(each.cut, each.bare) for each in again] == [(900_006, True), (900_006, False)]


def test_a_snapshot_of_before_is_cut_when_it_is_restored(make_readings):
    """It held whole messages, and said nothing of what was cut."""
    buffer = buffered(make_readings, [500], 0)
    kept = buffer.snapshot(np.arange(1, dtype=np.int32))
    kept["texts"], kept["envelopes"] = [bytes(900_000)], [(b"k", [("h", b"x")])]
    again = new_buffer()
    again.restore(kept, np.arange(1, dtype=np.int32), np.arange(1, dtype=np.int32), {})
    assert len(again.readings.payloads.take([0])[0]) == MAX_KEPT_BYTES
    assert again.readings.payloads.envelopes([0]) == [Envelope(b"k", (("h", b"x"),), cut=900_000)]


def trace_of(*watermark):
    return WatermarkTrace(
        np.array([NEVER if now is None else FIRST + now for now in watermark], np.int64),
        np.zeros(len(watermark), bool),
        np.empty(0, np.int64),
        np.zeros(len(watermark), np.int32),
        np.zeros(len(watermark), np.int64),
    )


def buffered(make_readings, slots, watermark, capacity=1000):
    """A buffer of early readings of slots counted from ``FIRST``, that came while the watermark stood still."""
    buffer, n = new_buffer(capacity), len(slots)
    readings = make_readings([(i, START + 60 * slot, {"pm10": float(i)}) for i, slot in enumerate(slots)])
    buffer.admit(readings, FIRST + np.array(slots), np.ones(n, bool), trace_of(*[watermark] * n))
    return buffer


def test_what_nothing_waits_for_takes_the_whole_run(make_readings):
    buffer = new_buffer()
    readings = make_readings([(0, START, {}), (1, START, {})])
    last, admitted, expired = buffer.admit(readings, np.full(2, FIRST), np.zeros(2, bool), trace_of(0, 0))
    assert (last, admitted, len(expired), len(buffer)) == (1, None, 0, 0)


@pytest.mark.parametrize(("watermark", "outcome"), [(29, "waits"), (30, "admitted"), (31, "admitted")])
def test_admitted_as_soon_as_the_watermark_is_near(make_readings, watermark, outcome):
    buffer = buffered(make_readings, [50], 25)
    run = make_readings([(1, START + 60 * watermark, {})], 1)
    last, admitted, expired = buffer.admit(run, np.array([FIRST + watermark]), np.zeros(1, bool), trace_of(watermark))
    assert (last, offsets(admitted), len(expired)) == (0, [0] if outcome == "admitted" else [], 0)
    assert len(buffer) == (outcome == "waits")


@pytest.mark.parametrize(("watermark", "expires"), [(14, False), (15, True)])
def test_whoever_waits_too_long_has_a_wild_clock(make_readings, watermark, expires):
    buffer = buffered(make_readings, [500], 0)
    run = make_readings([(1, START + 60 * watermark, {})], 1)
    *_, expired = buffer.admit(run, np.array([FIRST + watermark]), np.zeros(1, bool), trace_of(watermark))
    assert offsets(expired) == ([0] if expires else [])
    assert expired.payloads.take(range(len(expired))) == ([b"reading 0"] if expires else [])


def test_the_wait_begins_when_the_watermark_is_set(make_readings):
    buffer = buffered(make_readings, [5000], None)
    for watermark, waits in ((1000, 1), (1014, 1), (1015, 0)):
        run = make_readings([(1, START + 60 * watermark, {})], 1)
        buffer.admit(run, np.array([FIRST + watermark]), np.zeros(1, bool), trace_of(watermark))
        assert len(buffer) == waits


def test_drained_it_is_empty(make_readings):
    buffer = buffered(make_readings, [500, 600], 0)
    assert offsets(buffer.drain()) == [0, 1]
    assert (len(buffer), len(buffer.drain())) == (0, 0)


def test_instruments_move_and_leave_with_a_new_city_file(make_readings):
    """Columns 0, 1, 2 become 1, none and 0; the stations of the flow are numbered anew."""
    buffer = buffered(make_readings, [500, 501, 502], 0)
    kept = pickle.loads(pickle.dumps(buffer.snapshot(np.array([0, 1, 2], np.int32))))
    again = new_buffer()
    left = again.restore(kept, np.array([1, -1, 0], np.int32), np.array([7, 9], np.int32), {})
    assert (offsets(left), left.payloads.take([0])) == ([1], [b"reading 1"])
    assert offsets(again.readings) == [0, 2]
    assert again.readings.station.tolist() == [9, 7]


def test_every_instrument_may_leave(make_readings):
    buffer = buffered(make_readings, [500], 0)
    again = new_buffer()
    left = again.restore(buffer.snapshot(np.zeros(1, np.int32)), np.array([-1], np.int32), np.empty(0, np.int32), {})
    assert (offsets(left), len(again)) == ([0], 0)


def with_records(make_readings):
    """A reading and two reports that are early."""
    readings = make_readings([(i, START + 60 * 500, {}) for i in range(3)])
    readings.records = np.full(3, None)
    for i in (1, 2):
        readings.records[i] = report(f"r-{i}")
        readings.station[i], readings.observed[i] = -1, micros_of(readings.records[i])
    buffer = new_buffer()
    buffer.admit(readings, np.full(3, FIRST + 500), np.ones(3, bool), trace_of(0, 0, 0))
    return buffer


def test_records_wait_like_readings_and_keep_all_that_was_sent(make_readings):
    buffer = with_records(make_readings)
    again = restarted(buffer)
    assert again.readings.station.tolist() == [0, -1, -1]
    assert again.readings.observed.tolist() == buffer.readings.observed.tolist()
    assert again.readings.records.tolist() == [None, report("r-1"), report("r-2")]
    assert restarted(again).readings.records.tolist() == again.readings.records.tolist()


def test_notes_wait_with_their_readings(make_readings):
    readings = make_readings([(i, START + 60 * 500, {}) for i in range(3)])
    readings.notes = np.full(3, None)
    readings.notes[1] = ValueNotes.of([read_text("pm25", "<2.0"), read_text("pm10", "41")])
    buffer = new_buffer()
    buffer.admit(readings, np.full(3, FIRST + 500), np.ones(3, bool), trace_of(0, 0, 0))
    again = restarted(restarted(buffer))
    assert [note and (note.text, note.unreadable, note.texts) for note in again.readings.notes.tolist()] == [
        None, ('pm25: "<2.0" is no number; pm10: text "41" read', 1, 1), None,
    ]  # fmt: skip


def test_records_of_a_kind_that_the_flow_no_longer_takes_leave(make_readings):
    kept = with_records(make_readings).snapshot(np.arange(3, dtype=np.int32))
    again = new_buffer()
    left = again.restore(kept, np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), {})
    assert (offsets(left), offsets(again.readings)) == ([1, 2], [0])
    assert left.payloads.take([0, 1]) == [b"reading 1", b"reading 2"]


def test_a_buffer_of_records_may_hold_none():
    assert offsets(restarted(new_buffer()).readings) == offsets(no_readings())
