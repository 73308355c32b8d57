"""Progress of partitions and their alignment in event time, without a broker."""

import logging

import pytest

from flows.decode.batch import InputPartition, no_readings
from flows.sources.kafka.partitions import (
    Alignment,
    AssignedPartition,
    PollClock,
    lost_to_retention,
    release_limit,
)
from flows.sources.kafka.records import MessageRun
from flows.sources.merge import PartitionBuffer, ReleaseLimit
from schemas.errors import DataQualityError
from schemas.rejected import Reject
from schemas.slots import SLOT_US
from tests.support.kafka import message

MUCH = 1 << 40
ALIGNMENT = Alignment(idle_timeout_s=1.0, unreachable_timeout_s=10.0, max_drift_us=30 * SLOT_US)


def assigned(number=0, *, minute=None, **fields):
    """A partition that was read up to a minute of event time."""
    buffer = PartitionBuffer(number) if minute is None else PartitionBuffer(number, high=minute * SLOT_US)
    fields = {"next_offset": 0, "low": 0, "end": None} | fields
    return AssignedPartition("city.t", InputPartition("t", number), buffer, **fields)


class TestHolding:
    @pytest.mark.parametrize(("behind", "silence_s", "holds"), [(True, 9, True), (True, 10, False), (False, 0.9, True)])
    def test_a_partition_holds_others_until_it_is_idle_or_unreachable(self, behind, silence_s, holds):
        partition = assigned(behind=behind, heard_s=100.0)
        assert partition.holds_others(100.0 + silence_s, ALIGNMENT) is holds

    def test_a_bounded_one_holds_others_to_its_end_however_long_that_takes(self):
        partition = assigned(end=3)
        assert partition.holds_others(1e9, ALIGNMENT)
        partition.mark_read(3)
        assert not partition.holds_others(0.0, ALIGNMENT)

    def test_its_limit_is_what_was_read_of_it(self):
        assert assigned(minute=7).limit(0.0, ALIGNMENT) == 7 * SLOT_US

    def test_an_idle_one_has_no_limit(self):
        assert assigned(minute=7, behind=False).limit(1.0, ALIGNMENT) is None

    def test_an_unreachable_one_lets_others_drift(self):
        assert assigned(minute=7).limit(10.0, ALIGNMENT) == 37 * SLOT_US

    def test_an_unreachable_one_of_which_nothing_is_known_holds_none(self):
        assert assigned().limit(10.0, ALIGNMENT) is None


class TestReleaseLimit:
    def test_the_partition_that_is_last_in_event_time_decides(self):
        partitions = [assigned(0, minute=9), assigned(1, minute=7), assigned(2, minute=1, behind=False)]
        assert release_limit(partitions, 5.0, ALIGNMENT) == 7 * SLOT_US

    def test_it_is_the_end_of_a_slot(self):
        partition = assigned()
        partition.buffer.read_high = 7 * SLOT_US + 1
        assert release_limit([partition], 0.0, ALIGNMENT) == 8 * SLOT_US

    def test_where_none_holds_back_others_there_is_no_limit(self):
        assert release_limit([assigned(behind=False)], 5.0, ALIGNMENT) is None

    def test_before_anything_was_read_nothing_is_released(self):
        limit = release_limit([assigned(0), assigned(1, minute=3)], 0.0, ALIGNMENT)
        assert limit < 0
        assert limit >= -(1 << 63), "numpy compares it with times"


class TestWildStamps:
    """Messages whose own time stamps are wild too: nothing but the partition can tell."""

    @pytest.fixture
    def hours(self, make_readings):
        def add(partition, *hours):
            first = partition.next_offset
            rows = [(0, 3600 * hour, {"pm10": 1.0}) for hour in hours]
            readings = make_readings(rows, first=first, part=partition.buffer.part)
            partition.add(readings, [], first, first + len(hours))
            partition.mark_read(first + len(hours))
            return partition

        return add

    def test_they_do_not_carry_the_place_of_their_partition(self, hours):
        wild = hours(assigned(0, minute=60, end=300), 2, 90_000, *range(3, 200))
        other = hours(assigned(1, minute=60, end=300), *range(2, 100))
        assert release_limit([wild, other], 0.0, ALIGNMENT) == 99 * 60 * SLOT_US
        assert len(wild.buffer.release(ReleaseLimit(99 * 60 * SLOT_US, 2))[0][0]) == 99

    def test_one_that_nothing_follows_yet_holds_its_partition_where_it_was(self, hours):
        wild = hours(assigned(0, minute=60, end=300), 2, 90_000)
        assert wild.limit(0.0, ALIGNMENT) == 2 * 60 * SLOT_US

    def test_at_the_end_of_a_bounded_input_it_holds_none(self, hours):
        wild = hours(assigned(0, minute=60, end=2), 2, 90_000)
        assert wild.finished
        assert wild.buffer.read_high == 90_000 * 60 * SLOT_US


class TestProgress:
    def test_messages_behind_the_end_of_a_bounded_input_are_left_out(self):
        run = MessageRun([message(offset) for offset in (3, 4, 6)], None)
        assert assigned(end=7).before_end(run) is run
        assert [one.offset() for one in assigned(end=5).before_end(MessageRun(run.messages, [0] * 3)).messages] == [
            3,
            4,
        ]
        assert assigned(end=None).before_end(run) is run

    def test_a_gap_before_messages_is_emitted_with_them(self):
        partition = assigned(next_offset=2)
        partition.buffer.offset = 2
        partition.add(no_readings(), [Reject(0, 5, "contract", "", b"")], 5, 6)
        assert partition.next_offset == 6
        _, emitted = partition.buffer.emit(0)
        assert (emitted.first, emitted.last, emitted.number, emitted.gap) == (2, 5, 1, 3)

    def test_what_was_read_before_is_a_bug(self):
        with pytest.raises(RuntimeError, match=r"city\.t \[0\] gave offset 1 after 1"):
            assigned(next_offset=2).add(no_readings(), [], 1, 2)

    def test_offsets_that_the_broker_does_not_have_are_skipped(self):
        partition = assigned(end=4)
        partition.skip_to(4)
        assert (partition.next_offset, partition.finished) == (4, True)
        partition.skip_to(4)
        _, emitted = partition.buffer.emit(0)
        assert (emitted.first, emitted.last, emitted.gap) == (0, 3, 4)

    def test_a_full_buffer_pauses_until_half_of_it_has_gone(self):
        partition = assigned()

        def buffered(count):
            partition.buffer = PartitionBuffer(0)
            partition.next_offset = 0
            partition.add(no_readings(), [Reject(0, i, "contract", "", b"") for i in range(count)], 0, count)
            partition.paused = partition.should_pause(10, MUCH)
            return partition.paused

        assert [buffered(count) for count in (10, 11, 10, 5, 4, 10)] == [False, True, True, True, False, False]

    def test_a_few_large_messages_fill_a_buffer_too(self, make_readings):
        partition = assigned()
        for offset in range(3):
            partition.add(make_readings([(0, SLOT_US * offset, {})], offset), [], offset, offset + 1, size=600_000)
            partition.paused = partition.should_pause(1000, 1_000_000)
        assert (partition.paused, partition.buffer.unreleased_bytes) == (True, 1_800_000)
        partition.buffer.release(ReleaseLimit(None, 0))
        assert not partition.should_pause(1000, 1_000_000)

    def test_a_bounded_one_that_was_read_is_paused(self):
        partition = assigned(end=0)
        partition.mark_read(0)
        assert partition.should_pause(10, MUCH)


def test_the_clock_counts_time_between_polls_only_so_far():
    clock = PollClock(max_tick_s=0.1, now_s=50.0)
    for now_s in (50.05, 50.1, 60.0, 60.02):
        clock.tick(now_s)
    assert clock.seconds == pytest.approx(0.05 + 0.05 + 0.1 + 0.02)


def test_lost_messages_end_the_run_unless_that_was_accepted(caplog):
    with pytest.raises(DataQualityError, match=r"t \[0\]: offsets 5 to 7 \(3 messages\) were deleted.*--accept-gaps"):
        lost_to_retention("t [0]", 5, 8, accepted=False)
    with caplog.at_level(logging.ERROR, "cityair"):
        lost_to_retention("t [0]", 5, 8, accepted=True)
    assert "the ledger counts them as gap" in caplog.text
