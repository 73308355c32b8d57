"""Records in a zone: accepted once, early, late or in time, and counted in their step, however they came."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import air as air_flow
from flows.analyses.base import Analysis, Results
from flows.decode.batch import Record
from tests.support import zones
from tests.support.records import ACK, REPORT, ack, micros_of, report
from tests.support.zones import HEAVY, HOUR, SMALL, START, ZoneLog, anyhow, handling, steady


class Counting(Analysis):
    """The reports of each step of each cadence: an analysis that reads records and no cells."""

    name, tables = "counting", ("counts",)

    def close(self, view, cadence, first, last, revision):
        counts = self._counts(view, cadence, self.steps(cadence, first, last))
        return Results(rows=[CountRows(cadence.every, {e: n for e, n in counts.items() if n}, 0)])

    def measure(self, view, span):
        return self._counts(view, span.cadence, self._touched(span))

    def revise(self, view, span, before):
        now = self._counts(view, span.cadence, self._touched(span))
        return Results(
            rows=[CountRows(span.cadence.every, {e: n for e, n in now.items() if n != before[e]}, span.revision)]
        )

    def _touched(self, span):
        return self.steps(span.cadence, span.cadence.floor(span.first - 1), span.cadence.evaluated_until)

    @staticmethod
    def _counts(view, cadence, ends):
        return {
            end: sum(1 for _ in view.records.between(REPORT.topic, end - cadence.step, end)) for end in ends.tolist()
        }


@dataclasses.dataclass
class CountRows:
    every: int
    counts: dict
    revision: int
    table: str = "counts"

    @property
    def size(self):
        return len(self.counts)

    def columns(self):
        return {}


FLOW = dataclasses.replace(
    air_flow.FLOW, recorded=(REPORT, ACK), analyses=lambda city: [*air_flow.analyses(city), Counting()]
)


def reporting(city, settings=SMALL, name="city"):
    return FLOW.zone(city, name, settings)


class RecordLog(ZoneLog):
    """What a zone says of readings, and of records: those accepted, and the newest count of each step."""

    def __init__(self, zone, city):
        super().__init__(zone, city)
        self.records, self.counts = [], {}

    def add(self, result):
        super().add(result)
        for accepted in result.records:
            self._judge(accepted.offset, "accepted")
            self.records.append(accepted.record)
        for rows in result.results.rows:
            if isinstance(rows, CountRows):
                for end, count in rows.counts.items():
                    assert (rows.every, end) in self.counts or count > 0
                    assert self.counts.get((rows.every, end), 0) != count, "only what differs is said again"
                    self.counts[rows.every, end] = count

    def reasons(self, *offsets):
        return [self.verdict.get(offset, "waits") for offset in offsets]


@pytest.fixture(scope="module")
def mixed(make_readings):
    """Readings of rows, some of which are records."""

    def make(rows, first=0, part=0):
        plain = [(-1, 0, {}) if isinstance(row, Record) else row for row in rows]
        readings = make_readings(plain, first, part)
        if any(isinstance(row, Record) for row in rows):
            readings.records = np.full(len(rows), None)
            for i, row in enumerate(rows):
                if isinstance(row, Record):
                    readings.records[i], readings.observed[i] = row, micros_of(row)
        return readings

    return make


@pytest.fixture(scope="module")
def play(mixed):
    def play(city, rows, cuts=(), **how):
        return zones.play(city, mixed, rows, cuts, make=reporting, log_of=RecordLog, **how)

    return play


def at(second):
    return datetime.fromtimestamp(second, UTC)


def expected(log, zone):
    """Reports of each step that has fired, from those accepted alone."""
    counts = {}
    for record in log.records:
        slot = -(-micros_of(record) // 60_000_000)
        for cadence in zone.cadences:
            end = -(-slot // cadence.step) * cadence.step
            if record.kind is REPORT and end <= cadence.evaluated_until:
                counts[cadence.every, end] = counts.get((cadence.every, end), 0) + 1
    return counts


def newest(log):
    return {key: count for key, count in log.counts.items() if count}


def same(log, other):
    zones.same(log, other)
    assert [record.id for record in log.records] == [record.id for record in other.records]
    assert newest(log) == newest(other)


@st.composite
def with_records(draw, rows):
    """Rows with records among them, whose times are those of the rows near them, or hours and days before and behind."""
    apart = st.sampled_from([0, 0, 30, -60, -600, -3600, -7200, -7260, 600, 3600, 7200, 7260, 86400 * 2, -86400 * 2])
    kinds = st.sampled_from([report, report, ack])
    records = draw(st.lists(st.tuples(st.integers(0, len(rows)), apart, kinds, st.integers(0, 9)), max_size=15))
    mixed = list(rows)
    for place, seconds, kind, number in sorted(records, key=lambda record: -record[0]):
        mixed.insert(place, kind(f"r-{number}", at=at(rows[max(0, place - 1)][1] + seconds)))
    return mixed


@settings(HEAVY, max_examples=15)
@given(anyhow(longest=50), st.data())
def test_no_cut_and_no_crash_changes_anything(make_city, play, case, data):
    every, rows = case
    rows = data.draw(with_records(rows))
    city = make_city(every)
    one, zone = play(city, rows)
    two, _ = play(city, rows, **data.draw(handling(len(rows))))
    each, _ = play(city, rows, range(1, len(rows)), crash=range(0, len(rows), 3))
    assert len(one.verdict) == len(rows)
    same(one, two)
    same(one, each)
    assert newest(one) == expected(one, zone)
    assert one.newest() == zones.expected(city, one, zone)


@settings(HEAVY, max_examples=10)
@given(st.data(), st.sampled_from([("1m",) * 3, ("1m", "1m", "1h"), ("10m", "10m", "1h", "1h")]))
def test_no_order_within_the_horizon_changes_a_count(make_city, play, data, every):
    city, rows = make_city(every), steady(every, 4)
    reports = [report(f"r-{i}", at=at(START + 60 + data.draw(st.integers(0, 3 * HOUR)))) for i in range(8)]
    in_time = sorted([*rows, *reports], key=second_of)
    late = sorted([*rows, *reports], key=lambda row: second_of(row) + isinstance(row, Record) * 110 * 60)
    one, zone = play(city, in_time)
    other, _ = play(city, late, **data.draw(handling(len(late))))
    assert newest(one) == newest(other) == expected(one, zone)
    assert sum(newest(one).values()) == 8 * len(zone.cadences)
    assert one.newest() == other.newest() == zones.expected(city, one, zone)


def second_of(row):
    return micros_of(row) / 1e6 if isinstance(row, Record) else row[1]


def hour_of(rows, *records):
    """An hour of three stations, with records in it where they are in time."""
    return sorted([*rows, *records], key=second_of)


def test_a_report_counts_in_the_step_in_which_its_time_lies(make_city, play):
    first, second = report("r-1", at=at(START + 600)), report("r-2", at=at(START + 600) + timedelta(microseconds=1))
    log, _ = play(make_city(), hour_of(steady(("1m",) * 3, 1), first, second))
    assert newest(log) == {(60, START // 60 + 10): 1, (60, START // 60 + 20): 1}


def test_a_second_record_of_the_same_id_is_a_duplicate_wherever_it_waits(make_city, play):
    """In time twice; late twice before the next firing; and after a crash."""
    rows = steady(("1m",) * 3, 2)
    once = report("r-1", at=at(START + 90 * 60))
    late = report("r-2", at=at(START + 30 * 60))
    arriving = [*rows[:310], once, once, late, late, *rows[310:], once, late]
    for how in ({}, {"cuts": range(1, len(arriving)), "crash": range(0, len(arriving), 2)}):
        log, zone = play(make_city(), arriving, **how)
        n = len(arriving)
        assert log.reasons(310, 311, 312, 313, n - 2, n - 1) == [
            "accepted", "duplicate", "accepted", "duplicate", "duplicate", "duplicate",
        ]  # fmt: skip
        assert newest(log) == expected(log, zone) == {(60, START // 60 + 30): 1, (60, START // 60 + 90): 1}


def test_an_early_record_waits_until_the_watermark_comes_near(make_city, play):
    rows = steady(("1m",) * 3, 3)
    early = report("r-1", at=at(START + 170 * 60))
    arriving = [*rows[:90], early, *rows[90:]]
    for how in ({}, {"cuts": range(1, len(arriving)), "crash": range(0, len(arriving), 5)}):
        log, _ = play(make_city(), arriving, **how)
        assert log.reasons(90) == ["accepted"]
        assert newest(log) == {(60, START // 60 + 170): 1}
    waiting, _ = play(make_city(), arriving[:150], last=False)
    assert waiting.reasons(90) == ["waits"], "it is still two hours and more ahead"


@pytest.mark.parametrize(("minutes", "reason"), [(120, "accepted"), (121, "too_late")])
def test_a_record_may_be_as_late_as_a_reading(make_city, play, minutes, reason):
    rows = steady(("1m",) * 3, 4)
    log, zone = play(make_city(), [*rows, report("r-1", at=at(START + (240 - minutes) * 60))])
    assert log.reasons(len(rows)) == [reason]
    assert newest(log) == expected(log, zone)


def test_a_record_ahead_for_ever_is_of_the_future(make_city, play):
    rows = steady(("1m",) * 3, 3)
    log, _ = play(make_city(), [*rows[:90], report("r-1", at=at(START + 86400 * 9)), *rows[90:]])
    assert log.reasons(90) == ["future"]
    assert log.counts == {}


def test_a_record_moves_no_watermark_and_closes_nothing(make_city, play):
    """Three people report from an hour ahead, as a quorum of instruments would."""
    rows = steady(("1m",) * 3, 1)
    people = [report(f"r-{i}", at=at(START + 2 * HOUR)) for i in range(3)]
    log, zone = play(make_city(), [*rows, *people], last=False)
    alone, _ = play(make_city(), rows, last=False)
    assert zone.watermark.current == START // 60 + 60
    assert log.rows == alone.rows
    assert log.reasons(*range(180, 183)) == ["accepted"] * 3
    assert log.counts == {}


def test_before_the_watermark_is_set_records_wait(make_city, play):
    rows = steady(("1m",) * 3, 1)
    for how in ({}, {"cuts": [1], "crash": [0]}):
        log, zone = play(make_city(), [report("r-1", at=at(START + 61)), *rows], **how)
        assert log.reasons(0) == ["accepted"]
        assert newest(log) == expected(log, zone) == {(60, START // 60 + 10): 1}


def test_records_are_forgotten_with_the_slots_they_lie_in(make_city, play):
    """Days later the same id is new: it would be too late at the time it had."""
    rows = [*steady(("1m",) * 3, 1), *steady(("1m",) * 3, 1, start=START + 72 * HOUR)]
    again = report("r-1", at=at(START + 72 * HOUR + 600))
    log, zone = play(make_city(), hour_of(rows, report("r-1", at=at(START + 600)), again))
    assert [record.id for record in log.records] == ["r-1", "r-1"]
    assert len(list(zone.records.between(REPORT.topic, 0, 1 << 60))) == 1


def test_of_a_report_in_the_state_no_text_stays(make_city, play):
    rows = hour_of(steady(("1m",) * 3, 1), report("r-1", at=at(START + 600), text="my neighbour at number 7"))
    log, zone = play(make_city(), rows)
    [record] = log.records
    assert record.data.text == "my neighbour at number 7", "the lake gets it"
    assert b"neighbour" not in repr(zone.snapshot()["records"]).encode()
