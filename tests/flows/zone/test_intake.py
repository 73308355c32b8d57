"""The intake of a zone: runs of readings, the watermark behind them, and what is buffered or refused on the way."""

import pickle

import numpy as np
import pytest

from flows.decode.batch import InputPartition
from flows.zone.intake import Intake
from flows.zone.plan import Lateness
from schemas.measured import AIR
from schemas.slots import NEVER
from tests.support.records import REPORT, micros_of, report
from tests.support.zones import START

FIRST = START // 60
HORIZON, MAX_WAIT = 60, 30
EVERY = np.full(5, 60)


def new_intake(column=(0, 1, 2), capacity=100):
    """Intake of a zone with some of a flow's instruments; -1 for those of other zones."""
    stations = np.array([i for i, c in sorted(enumerate(column), key=lambda item: item[1]) if c >= 0], np.int32)
    return Intake(
        AIR, np.array(column, np.int32), stations, Lateness(HORIZON, MAX_WAIT, capacity), EVERY[: stations.size]
    )


def minutes(make_readings, *rows, first=0):
    """Readings of (instrument, minutes since the start)."""
    return make_readings([(s, START + 60 * minute, {"pm10": 1.0}) for s, minute in rows], first)


def steady(minute, until=None):
    return [(s, m) for m in range(minute, (until or minute) + 1) for s in range(3)]


def outcome(intake, readings):
    """Offsets of what goes to the grid, is too late, and has expired; in the order of the runs."""
    went, too_late, expired = [], [], []
    for admitted in intake.runs(readings):
        went += admitted.run.readings.offset.tolist()
        too_late += admitted.too_late.offset.tolist()
        expired += admitted.expired.offset.tolist()
    return went, too_late, expired


def test_in_time_is_one_run(make_readings):
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1))))
    [admitted] = intake.runs(minutes(make_readings, *steady(2, 4)))
    assert admitted.run.readings.offset.tolist() == list(range(9))
    assert admitted.run.row.tolist() == list(range(9))


def test_what_waited_for_the_watermark_comes_in_a_run_of_its_own(make_readings):
    intake = new_intake()
    runs = [a.run.readings.offset.tolist() for a in intake.runs(minutes(make_readings, *steady(1, 2)))]
    assert runs == [[2], [0, 1], [3, 4, 5]]
    assert intake.watermark.current == FIRST + 2


def test_the_watermark_advances_when_the_next_run_is_asked_for(make_readings):
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1))))
    runs = intake.runs(minutes(make_readings, *steady(2, 5)))
    admitted = next(runs)
    assert (intake.watermark.current, admitted.trace.watermark[-1]) == (FIRST + 1, FIRST + 5)
    assert list(runs) == []
    assert intake.watermark.current == FIRST + 5


@pytest.mark.parametrize(("behind", "too_late"), [(HORIZON, False), (HORIZON + 1, True)])
def test_too_late_is_older_than_the_horizon_behind_the_watermark(make_readings, behind, too_late):
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1), *steady(100))))
    went, late, _ = outcome(intake, minutes(make_readings, (1, 100 - behind), first=50))
    assert (went, late) == (([], [50]) if too_late else ([50], []))


def test_an_early_reading_goes_when_the_watermark_comes_near(make_readings):
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1))))
    assert outcome(intake, minutes(make_readings, (0, 90), first=10)) == ([], [], [])
    assert len(intake.early) == 1
    went, _, expired = outcome(intake, minutes(make_readings, *steady(29, 31), first=20))
    assert went == [20, 21, 22, 23, 24, 25, 10, 26, 27, 28], "behind the row that brings the watermark to 30"
    assert expired == []


def test_an_early_reading_in_vain_expires(make_readings):
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1))))
    outcome(intake, minutes(make_readings, (0, 9000), first=10))
    assert outcome(intake, minutes(make_readings, *steady(30), first=20))[2] == []
    assert outcome(intake, minutes(make_readings, *steady(31), first=30))[2] == [10]


@pytest.mark.parametrize(("heard", "enough"), [((0, 1), 61), ((0,), 121)])
def test_where_the_quorum_falls_what_waits_is_looked_at_again(make_readings, heard, enough):
    """Few of five report: once they have walked for long enough without the others, all that waited goes, in order."""
    intake = new_intake(column=(0, 1, 2, 3, 4), capacity=1000)
    rows = [(s, m) for m in range(1, enough) for s in heard]
    assert outcome(intake, minutes(make_readings, *rows)) == ([], [], [])
    more = [(s, enough) for s in heard]
    went, too_late, _ = outcome(intake, minutes(make_readings, *more, first=len(rows)))
    assert (sorted(went), too_late) == (list(range(len(rows) + len(more))), [])
    assert intake.watermark.quorum == len(heard)
    assert len(intake.early) == 0


def test_at_the_end_of_the_input_few_instruments_are_enough(make_readings):
    intake = new_intake(column=(0, 1, 2, 3, 4))
    assert outcome(intake, minutes(make_readings, (0, 1), (1, 1), (0, 2), (1, 2)))[0] == []
    went = [offset for admitted in intake.finish() for offset in admitted.run.readings.offset.tolist()]
    assert sorted(went) == [0, 1, 2, 3]
    assert list(intake.finish()) == [], "the watermark is set"


def test_records_alone_set_no_watermark(make_readings):
    intake = new_intake()
    readings = minutes(make_readings, (0, 1))
    readings.records = np.array([None], object)
    readings.records[0], readings.station[0] = report("r-1"), -1
    readings.observed[0] = micros_of(readings.records[0])
    assert outcome(intake, readings) == ([], [], [])
    assert list(intake.finish()) == []
    assert (intake.watermark.current, len(intake.early)) == (NEVER, 1)


def test_partitions_are_known_by_name(make_readings):
    intake, (a, b) = new_intake(), (InputPartition("air", 0), InputPartition("air", 1))
    one = minutes(make_readings, (0, 1))
    assert intake.of_known_partitions(one, [a]) is one
    assert intake.of_known_partitions(one, [b, a]).part.tolist() == [1]
    assert one.part.tolist() == [0], "a source's readings are its own"
    assert intake.partitions.known == [a, b]


def restarted(intake, again, ours, theirs, column_now):
    kept = pickle.loads(pickle.dumps(intake.snapshot()))
    again.restore(kept, ours, theirs, np.array(column_now, np.int32), {REPORT.topic: REPORT})
    return again


def plain(state):
    """A snapshot with lists for arrays."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return [plain(value) for value in state] if isinstance(state, list) else np.asarray(state).tolist()


def test_a_restart_goes_on_where_it_was(make_readings):
    intake = new_intake()
    intake.of_known_partitions(minutes(make_readings, (0, 1)), [InputPartition("air", 3)])
    list(intake.runs(minutes(make_readings, *steady(1, 9), (1, 90))))
    again = restarted(intake, new_intake(), [0, 1, 2], [0, 1, 2], [0, 1, 2])
    assert again.partitions.known == [InputPartition("air", 3)]
    more = minutes(make_readings, *steady(10, 40), first=50)
    assert outcome(again, more) == outcome(intake, more)
    assert len(again.take_orphaned()) == 0
    assert plain(again.snapshot()) == plain(intake.snapshot())


def test_early_readings_of_instruments_that_left_are_handed_out_once(make_readings):
    """Instruments 0 and 2 stay, as columns 1 and 0; what 1 had sent is an orphan."""
    intake = new_intake()
    list(intake.runs(minutes(make_readings, *steady(1, 9))))
    outcome(intake, minutes(make_readings, (1, 90), (2, 90), first=40))
    again = restarted(intake, new_intake(column=(1, -1, 0)), [1, 0], [0, 2], [1, -1, 0])
    assert again.take_orphaned().offset.tolist() == [40]
    assert len(again.take_orphaned()) == 0
    assert again.early.readings.offset.tolist() == [41]
    assert again.early.readings.station.tolist() == [2]
