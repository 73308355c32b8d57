"""Event-time merge: the order of rows, the offsets emitted, and where reading goes on."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.decode.batch import OffsetRange, concatenate, no_readings
from flows.sources.base import Block
from flows.sources.merge import (
    MAX_SPAN_US,
    PROBES_PER_CALL,
    EventTimeMerge,
    PartitionBuffer,
    ReadAhead,
    ReleaseLimit,
    emit,
    release,
)
from schemas.rejected import Reject

S = 1_000_000
EVERYTHING = ReleaseLimit(None, 0)


class ListReader:
    """A reader of prepared messages: a second of event time each, or None for one that is refused."""

    def __init__(self, make_readings, part, seconds, first=0):
        self._make, self._part, self._seconds = make_readings, part, seconds
        self.place = {"koff": first}
        self.reads = []

    def read(self, rows):
        self.reads.append(rows)
        place, first = self.place, self.place["koff"]
        chosen = self._seconds[first : first + rows]
        if not chosen:
            return None
        self.place = {"koff": first + len(chosen)}
        return block(self._make, self._part, chosen, first, place)

    def pause(self):
        """Nothing is lent."""


def block(make_readings, part, seconds, first=0, place=None):
    """A block of messages from offset ``first``; None is a refused one."""
    runs = [
        make_readings([(0, second, {"pm10": 1.0})], first=first + i, part=part)
        for i, second in enumerate(seconds)
        if second is not None
    ]
    rejects = [Reject(part, first + i, "undecodable", "", b"") for i, second in enumerate(seconds) if second is None]
    return Block(
        concatenate(runs) if runs else no_readings(), rejects, first, first + len(seconds), place or {"koff": first}
    )


def rows(readings):
    """Partition, offset and second of each row."""
    columns = readings.part.tolist(), readings.offset.tolist(), (readings.observed // S).tolist()
    return list(zip(*columns, strict=True))


def merged(make_readings, partitions, max_rows=100):
    """Everything that a merge of these partitions emits: rows, offsets and the size of each batch."""
    merge = EventTimeMerge(
        [ReadAhead(ListReader(make_readings, part, of), PartitionBuffer(part)) for part, of in enumerate(partitions)],
        max_rows,
    )
    emitted, offsets, sizes = [], [], []
    while (batch := merge.next_batch()) is not None:
        emitted += rows(batch.readings)
        offsets += batch.offsets
        sizes.append(len(batch.readings))
    return emitted, offsets, sizes


class TestPartitionBuffer:
    def test_rows_are_released_up_to_a_limit_and_then_emitted(self, make_readings):
        buffer = PartitionBuffer(0, high=0)
        buffer.add(block(make_readings, 0, [1, 2, 3]))
        assert buffer.unreleased == 3
        [(readings, keys)] = buffer.release(ReleaseLimit(2 * S, 0))
        assert (rows(readings), keys.tolist()) == ([(0, 0, 1), (0, 1, 2)], [S, 2 * S])
        assert (buffer.unreleased, buffer.offset) == (1, 0)
        assert buffer.emit(2) == ([], OffsetRange(0, 0, 1, 2))
        assert (buffer.offset, buffer.emitted_high, buffer.read_high) == (2, 2 * S, 3 * S)

    def test_at_the_limit_partitions_after_it_wait(self, make_readings):
        buffer = PartitionBuffer(5, high=0)
        buffer.add(block(make_readings, 5, [1, 2, 3]))
        assert buffer.release(ReleaseLimit(1 * S, 4)) == []
        [(readings, _)] = buffer.release(ReleaseLimit(1 * S, 5))
        assert len(readings) == 1

    def test_rejects_go_with_the_readings_before_them(self, make_readings):
        buffer = PartitionBuffer(0, high=0)
        buffer.add(block(make_readings, 0, [None, 1, None, 2, None]))
        buffer.release(ReleaseLimit(1 * S, 0))
        rejects, offsets = buffer.emit(1)
        assert ([reject.offset for reject in rejects], offsets) == ([0, 2], OffsetRange(0, 0, 2, 3))
        buffer.release(EVERYTHING)
        rejects, offsets = buffer.emit(1)
        assert ([reject.offset for reject in rejects], offsets) == ([4], OffsetRange(0, 3, 4, 2))

    def test_a_row_behind_a_later_one_counts_as_that(self, make_readings):
        buffer = PartitionBuffer(0, high=0)
        buffer.add(block(make_readings, 0, [5, 1]))
        assert buffer.release(ReleaseLimit(4 * S, 0)) == []
        buffer.add(block(make_readings, 0, [2], first=2))
        [(first, keys), (second, more)] = buffer.release(ReleaseLimit(5 * S, 0))
        assert (len(first), keys.tolist(), len(second), more.tolist()) == (2, [5 * S] * 2, 1, [5 * S])

    def test_offsets_that_the_broker_does_not_have_are_a_gap(self, make_readings):
        buffer = PartitionBuffer(0, high=0)
        buffer.add(block(make_readings, 0, [1]))
        buffer.add(Block(no_readings(), [], 1, 10, {"koff": 1}))
        buffer.release(EVERYTHING)
        assert buffer.emit(1) == ([], OffsetRange(0, 0, 9, 1, gap=9))
        assert buffer.empty

    def test_a_block_that_was_emitted_in_part_goes_on_at_the_offset_and_keeps_its_place(self, make_readings):
        buffer = PartitionBuffer(0, offset=2, high=2 * S)
        buffer.add(block(make_readings, 0, [1, 2, None, 4], place={"koff": 0}))
        assert (buffer.place, buffer.unreleased) == ({"koff": 0}, 2)
        [(readings, _)] = buffer.release(EVERYTHING)
        assert rows(readings) == [(0, 3, 4)]
        assert buffer.emit(1)[1] == OffsetRange(0, 2, 3, 2)
        assert buffer.place is None


class TestEventTimeMerge:
    def test_rows_come_in_event_time_and_ties_by_partition(self, make_readings):
        emitted, offsets, _ = merged(make_readings, [[1, 4, 5], [2, 4], [3, None]])
        assert emitted == [(0, 0, 1), (1, 0, 2), (2, 0, 3), (0, 1, 4), (1, 1, 4), (0, 2, 5)]
        assert {(of.part, of.last) for of in offsets} >= {(0, 2), (1, 1), (2, 1)}

    def test_a_batch_has_few_rows_and_spans_few_days(self, make_readings):
        day = 86_400
        assert merged(make_readings, [range(10)], max_rows=4)[2][:-1] == [4, 4, 2]
        spans = [len(piece) for piece in released(make_readings, [day * n for n in range(10)])]
        assert spans == [MAX_SPAN_US // (day * S) + 1] * 2

    def test_many_files_are_probed_over_several_calls(self, make_readings):
        files = [[part] for part in range(PROBES_PER_CALL + 1)]
        emitted, _, sizes = merged(make_readings, files, max_rows=1000)
        assert sizes[0] == 0, "so that a stop need not wait for thousands"
        assert emitted == [(part, 0, part) for part in range(PROBES_PER_CALL + 1)]

    def test_only_the_file_that_holds_back_the_others_is_read(self, make_readings):
        readers = [ListReader(make_readings, part, of) for part, of in enumerate([range(1000), [5000] * 1000])]
        merge = EventTimeMerge([ReadAhead(reader, PartitionBuffer(i)) for i, reader in enumerate(readers)], 100)
        for _ in range(5):
            merge.next_batch()
        assert len(readers[0].reads) > 2
        assert len(readers[1].reads) == 1

    def test_a_merge_that_resumes_emits_what_was_left(self, make_readings):
        partitions = [[1, 2, None, 7, 8], [3, 4, 5, 6]]
        whole, _, _ = merged(make_readings, partitions)
        ahead = [
            ReadAhead(ListReader(make_readings, part, of), PartitionBuffer(part)) for part, of in enumerate(partitions)
        ]
        merge, first = EventTimeMerge(ahead, 3), []
        while len(first) < 3:
            first += rows(merge.next_batch().readings)
        resumed = [
            ReadAhead(
                ListReader(make_readings, part, of, was.place["koff"]) if was.place else None,
                PartitionBuffer(part, was.buffer.offset, was.buffer.emitted_high),
            )
            for part, (of, was) in enumerate(zip(partitions, ahead, strict=True))
        ]
        merge, rest = EventTimeMerge(resumed, 100), []
        while (batch := merge.next_batch()) is not None:
            rest += rows(batch.readings)
        assert first + rest == whole

    def test_nothing_to_read_is_the_end(self, make_readings):
        assert EventTimeMerge([], 10).next_batch() is None
        assert EventTimeMerge([ReadAhead(None, PartitionBuffer(0))], 10).next_batch() is None


@given(
    partitions=st.lists(st.lists(st.one_of(st.none(), st.integers(0, 50)), max_size=20), min_size=1, max_size=4),
    max_rows=st.sampled_from([1, 3, 1000]),
)
def test_the_order_is_that_of_a_sort_however_blocks_are_cut(make_readings, partitions, max_rows):
    emitted, offsets, _ = merged(make_readings, partitions, max_rows)
    expected = []
    for part, seconds in enumerate(partitions):
        readings = [(offset, second) for offset, second in enumerate(seconds) if second is not None]
        highs = itertools.accumulate((second for _, second in readings), max)
        expected += [
            ((high, part, offset), (part, offset, second))
            for (offset, second), high in zip(readings, highs, strict=True)
        ]
    assert emitted == [row for _, row in sorted(expected)]
    for part, seconds in enumerate(partitions):
        mine = [of for of in offsets if of.part == part]
        assert sum(of.number for of in mine) == len(seconds)
        assert [of.first for of in mine] == [0, *(of.last + 1 for of in mine)][: len(mine)]


def released(make_readings, seconds):
    buffer = PartitionBuffer(0)
    buffer.add(block(make_readings, 0, seconds))
    return release([buffer], EVERYTHING, 1000)


def test_emitting_counts_the_rows_of_each_partition(make_readings):
    buffers = [PartitionBuffer(part, high=0) for part in range(3)]
    for part, seconds in enumerate([[1, 3], [2, None], [9]]):
        buffers[part].add(block(make_readings, part, seconds))
    [piece] = release(buffers, ReleaseLimit(3 * S, 2), 100)
    batch = emit(buffers, piece)
    assert rows(batch.readings) == [(0, 0, 1), (1, 0, 2), (0, 1, 3)]
    assert [(reject.part, reject.offset) for reject in batch.rejects] == [(1, 1)]
    assert batch.offsets == [OffsetRange(0, 0, 1, 2), OffsetRange(1, 0, 1, 2)]
    assert not buffers[2].empty


@pytest.mark.parametrize("limit", [0, 5, 11])
def test_what_is_released_does_not_depend_on_the_cut_of_blocks(make_readings, limit):
    seconds = [3, 1, 7, 7, 2, 10]

    def keys(size):
        buffer = PartitionBuffer(0, high=0)
        for first in range(0, len(seconds), size):
            buffer.add(block(make_readings, 0, seconds[first : first + size], first))
        runs = buffer.release(ReleaseLimit(limit * S, 0))
        return np.concatenate([keys for _, keys in runs]).tolist() if runs else []

    assert keys(1) == keys(4) == keys(6)


def key_order(partitions):
    """Rows of partitions of (second, wild), by the time that their places go by, partition and offset."""
    expected = []
    for part, of in enumerate(partitions):
        high = 0
        for offset, (second, wild) in enumerate(of):
            high = high if wild else max(high, second)
            expected.append((high, part, offset))
    return [(part, offset) for _, part, offset in sorted(expected)]


DAYS = 86_400
DECADE = 3650 * DAYS


@st.composite
def with_wild_stamps(draw):
    """Hours of a few partitions, with gaps, and stretches in which the clock of each shows another decade or day."""
    partitions = []
    for _ in range(draw(st.integers(2, 4))):
        hours, at = [], draw(st.integers(1, 20))
        for gap, wild in draw(
            st.lists(st.tuples(st.sampled_from([1] * 9 + [240]), st.sampled_from([0] * 6 + [1, 3])), max_size=30)
        ):
            far = draw(st.sampled_from([DECADE, 2 * DECADE, 30 * DAYS]))
            hours += [(at * 3600 + far + i, True) for i in range(wild)]
            at += gap
            hours.append((at * 3600, False))
        partitions.append(hours)
    return partitions


@given(with_wild_stamps(), st.sampled_from([1, 3, 1000]))
def test_a_wild_stamp_does_not_carry_the_place_of_its_file(make_readings, partitions, max_rows):
    """However blocks are cut; a gap that is real does. Ten days are a gap here, and thirty a wild clock."""
    seconds = [[second for second, _ in of] for of in partitions]
    emitted, _, _ = merged(make_readings, seconds, max_rows)
    assert [(part, offset) for part, offset, _ in emitted] == key_order(partitions)


def test_three_wild_stamps_in_one_file(make_readings):
    hours = [3600 * hour for hour in range(1, 241)]
    wild = hours.copy()
    wild[50], wild[51], wild[120] = DECADE, 2 * DECADE, DECADE
    emitted, _, _ = merged(make_readings, [wild, hours, hours])
    expected = [(second, part, offset) for part in range(3) for offset, second in enumerate(hours)]
    places = [(part, offset) for _, part, offset in sorted(expected)]
    rest = [(0, 50), (0, 51), (0, 120)]
    assert [of for part, offset, _ in emitted if (of := (part, offset)) not in rest] == [
        of for of in places if of not in rest
    ]
    assert [(part, offset) for part, offset, _ in emitted].index((0, 51)) < 160, "in place, though not in time"


def test_a_wild_stamp_before_all_others_of_its_file(make_readings):
    emitted, _, _ = merged(make_readings, [[DECADE, 10, 20], [5, 15, 25]])
    assert [(part, offset) for part, offset, _ in emitted] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def test_what_goes_on_before_it_is_known_to_be_wild_carries_no_place(make_readings):
    """As of a topic on which nothing more comes: the next message tells, and a second one of there is believed."""
    buffer, keys = PartitionBuffer(0, high=1 * S), []
    for offset, second in enumerate([2, DECADE, 3, 40 * DAYS, 41 * DAYS, 41 * DAYS + 1]):
        buffer.add(block(make_readings, 0, [second], offset))
        [(_, key)] = buffer.release(EVERYTHING)
        buffer.emit(1)
        keys.append(int(key[0]) // S)
        assert buffer.emitted_high == key[0]
    assert keys == [2, 2, 3, 3, 41 * DAYS, 41 * DAYS + 1]


def test_a_resumed_merge_takes_the_same_stamps_for_wild(make_readings):
    of = [1, 2, DECADE, 3, 4 + 20 * DAYS, DECADE, 5 + 20 * DAYS]
    whole = PartitionBuffer(0)
    whole.add(block(make_readings, 0, of))
    whole.end()
    [(_, keys)] = whole.release(EVERYTHING)
    assert (keys // S).tolist() == [1, 2, 2, 3, 4 + 20 * DAYS, 4 + 20 * DAYS, 5 + 20 * DAYS]
    for emitted in range(len(of)):
        first = PartitionBuffer(0)
        first.add(block(make_readings, 0, of))
        first.end()
        first.release(EVERYTHING)
        first.emit(emitted)
        again = PartitionBuffer(0, first.offset, first.emitted_high)
        again.add(block(make_readings, 0, of[emitted:], emitted))
        again.end()
        [(_, rest)] = again.release(EVERYTHING)
        assert rest.tolist() == keys[emitted:].tolist()
