"""The steps of a dataflow: readings parted by zone, zones in the engine's hands, and what they decided deferred."""

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main
from msgspec import structs

from flows.air import FLOW
from flows.analyses.base import Results
from flows.decode.batch import InputPartition, OffsetRange, SideBatch, SourceBatch
from flows.engine import steps
from flows.engine.steps import Clocks, ZoneBatch, ZoneContext, ZoneDecision, ZoneLogic, ZoneSideBatch
from flows.outputs.events import Events
from flows.outputs.lake_rows import LakeRows
from flows.zone.result import Accepted, ZoneResult
from schemas.city import DEFAULT_PARAMETERS, Light
from schemas.errors import ConfigurationError
from schemas.light import LightMessage
from schemas.rejected import Reject
from tests.support.records import REPORT, report
from tests.support.zones import START

PARTS = [InputPartition("env.air.reading.v1", 0)]


def through(step, items):
    """What comes out of a step, in a dataflow of its own."""
    dataflow, out = Dataflow("test"), []
    stream = op.input("in", dataflow, TestingSource(items))
    op.output("out", step(stream), TestingSink(out))
    run_main(dataflow)
    return out


def rows_of_minutes(last, first=1, stations=(0, 1, 2), **measured):
    return [
        (s, START + 60 * m, measured or {"pm10": 40.0, "pm25": 20.0}) for m in range(first, last + 1) for s in stations
    ]


def test_readings_are_parted_by_zone(make_city, make_readings):
    city = make_city(("1m",) * 4, zones="yxyx")
    first = SourceBatch(PARTS, 7, make_readings([(s, START, {}) for s in (3, 0, 1, 2, 0)]))
    second = SourceBatch(PARTS, 8, make_readings([(2, START, {})], 5))
    end = SourceBatch(PARTS, 9, end_of_input=True)
    found = through(lambda stream: steps.by_zone("by_zone", stream, FLOW, city), [first, second, end])
    plain = [
        (key, batch.zone, batch.readings.offset.tolist(), batch.received, batch.end_of_input) for key, batch in found
    ]
    assert plain == [
        ("x", "x", [0, 2], 7, False),
        ("y", "y", [1, 3, 4], 7, False),
        ("y", "y", [5], 8, False),
        ("x", "x", [], 9, True),
        ("y", "y", [], 9, True),
    ]


def test_readings_of_one_zone_alone_are_handed_on_as_they_are(make_city, make_readings):
    batch = SourceBatch(PARTS, 7, make_readings([(0, START, {}), (1, START, {})]))
    [(_, parted)] = through(lambda stream: steps.by_zone("by_zone", stream, FLOW, make_city()), [batch])
    assert parted.readings is batch.readings


def test_records_go_to_every_zone(make_city, make_readings):
    city, flow = make_city(("1m",) * 2, zones="yx"), dataclasses.replace(FLOW, recorded=(REPORT,))
    readings = make_readings([(0, START, {}), (-1, START, {}), (1, START, {})])
    readings.records = np.array([None, report("r-1"), None], object)
    readings.records[1] = report("r-1")
    found = through(lambda stream: steps.by_zone("by_zone", stream, flow, city), [SourceBatch(PARTS, 7, readings)])
    assert [(key, batch.readings.offset.tolist()) for key, batch in found] == [("x", [1, 2]), ("y", [0, 1])]


def test_messages_of_the_side_input_go_to_every_zone(make_city):
    city = make_city(("1m",) * 2, zones="yx")
    message = LightMessage(light_id="light-1", text="x", valid_until=datetime(2026, 3, 1, tzinfo=UTC))
    found = through(lambda stream: steps.to_every_zone("words", stream, FLOW, city), [SideBatch(PARTS, [message], [])])
    assert found == [(zone, ZoneSideBatch(zone, [message])) for zone in ("x", "y")]


def test_rows_are_deferred_with_what_they_will_take(make_city, make_readings):
    rows = LakeRows("air", FLOW.measured, FLOW.instruments(make_city()))
    reject = Reject(0, 1, "contract", "", b"{}")
    batches = [
        SourceBatch(PARTS, 7, rejects=[reject], offsets=[OffsetRange(0, 0, 9, 10)]),
        SourceBatch(PARTS, 8),
    ]
    busy, idle = through(lambda stream: steps.source_rows("receipts", stream, rows), batches)
    assert ((busy.rows, busy.idle), (idle.rows, idle.idle)) == ((1, False), (0, True))
    assert [table for table, _ in busy.build().rows] == ["rejects"]

    readings = make_readings([(0, START, {"pm10": 1.0})])
    accepted = Accepted(readings, np.ones((1, 6), np.uint8))
    result = ZoneResult(PARTS, accepted=[accepted], rejects=[reject], results=Results())
    decision = ZoneDecision("city", np.arange(3, dtype=np.int32), result, 9)
    [deferred] = through(lambda stream: steps.zone_rows("landings", stream, rows), [("city", decision)])
    assert (deferred.rows, deferred.idle) == (2, False)
    lake = deferred.build()
    assert ([table for table, _ in lake.rows], lake.received) == (["air_readings", "rejects"], 9)


@pytest.mark.parametrize("rejects", [True, False])
def test_dead_letters_go_out_where_they_are_wanted(make_city, rejects):
    city = make_city()
    result = ZoneResult(PARTS, rejects=[Reject(0, 1, "too_late", "", b"{}")])
    decision = ZoneDecision("city", np.arange(3, dtype=np.int32), result, 9)
    events = Events(city, "air", [station.id for station in city.stations])
    found = through(lambda stream: steps.messages("messages", stream, events, rejects=rejects), [("city", decision)])
    assert [each.topic for each in found] == (["env.air.reading.v1.dlq"] if rejects else [])


@pytest.fixture
def lit(make_city):
    lights = [Light(id="light-1", lat=35.2, lon=128.9, stations=["a"])]
    limits = {name: structs.replace(DEFAULT_PARAMETERS[name], flat_line=None) for name in ("pm10", "pm25")}
    return structs.replace(make_city(limits=limits), lights=lights)


def logic_of(city, kept=None, **context):
    return ZoneLogic(ZoneContext(FLOW, city, **context), kept)


def batch_of(make_readings, rows, first=0, *, end_of_input=False):
    return ZoneBatch("city", make_readings(rows, first), PARTS, 7, end_of_input)


def states(decisions):
    return [(state.as_of, state.seq, state.color, state.text) for d in decisions for state in d.result.signals.states]


def restarted(logic, city, **context):
    return logic_of(city, pickle.loads(pickle.dumps(logic.snapshot())), **context)


def test_a_zone_goes_on_from_its_snapshot(lit, make_readings):
    rows = rows_of_minutes(150)
    whole = logic_of(lit)
    decisions, retain = whole.on_batch([batch_of(make_readings, rows)])
    assert (len(decisions), retain, decisions[0].zone, decisions[0].received) == (1, False, "city", 7)
    one = logic_of(lit)
    parts = one.on_batch([batch_of(make_readings, rows[:200])])[0]
    two = restarted(one, lit)
    parts += two.on_batch([batch_of(make_readings, rows[200:300], 200), batch_of(make_readings, rows[300:], 300)])[0]
    assert states(parts) == states(decisions)


def test_what_was_not_opened_is_kept_as_it_was(lit, make_readings):
    logic = logic_of(lit)
    assert logic.snapshot() == {}
    logic.on_batch([batch_of(make_readings, rows_of_minutes(20))])
    kept = logic.snapshot()
    assert (kept["v"], kept["zone"]) == (1, "city")
    assert logic_of(lit, kept).snapshot() is kept
    assert not restarted(logic_of(lit), lit).on_eof()[0]


def test_a_snapshot_of_another_version_is_refused(lit, make_readings):
    with pytest.raises(ConfigurationError, match="snapshot of zone city has version 7"):
        logic_of(lit, {"v": 7, "state": {}}).on_batch([batch_of(make_readings, rows_of_minutes(1))])


def test_only_the_last_item_of_a_bounded_input_closes_what_is_open(lit, make_readings):
    logic = logic_of(lit)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(15))])
    assert logic.on_eof() == ([], ZoneLogic.RETAIN)
    [decision] = logic.on_batch([batch_of(make_readings, [], 45, end_of_input=True)])[0]
    assert logic._zone.cadences[0].evaluated_until == START // 60 + 15
    assert decision.result.rejects == []


def message(text, minutes):
    until = datetime.fromtimestamp(START, UTC) + timedelta(minutes=minutes)
    return LightMessage(light_id="light-1", text=text, valid_until=until)


def test_words_take_effect_where_they_come_and_before_any_air(lit, make_readings):
    logic = logic_of(lit, side=[message("산불 조심", 80)])
    early, late = rows_of_minutes(70), rows_of_minutes(90, first=71)
    decisions = logic.on_batch(
        [
            batch_of(make_readings, early),
            ZoneSideBatch("city", [message("대피", 300)]),
            batch_of(make_readings, late, 210),
        ]
    )[0]
    assert len(decisions) == 2, "words alone decide nothing"
    texts = [[text for *_, color, text in states([decision]) if color == "green"] for decision in decisions]
    assert (set(texts[0]), set(texts[1])) == ({"산불 조심"}, {"대피"})


def published(lit, make_readings):
    """What a light was told up to minute 90, of which the store knows nothing."""
    return logic_of(lit).on_batch([batch_of(make_readings, rows_of_minutes(90))])[0][0].result.signals.states


def test_what_was_published_and_the_lake_lacks_goes_out_with_the_first_readings(lit, make_readings):
    newest = published(lit, make_readings)[-1:]
    logic = logic_of(lit, published=newest)
    assert logic.on_batch([ZoneSideBatch("city", [])]) == ([], ZoneLogic.RETAIN)
    again = restarted(logic, lit, published=newest)
    first, second = again.on_batch(
        [
            batch_of(make_readings, rows_of_minutes(100, first=91), 270),
            batch_of(make_readings, rows_of_minutes(200, first=101), 300),
        ]
    )[0]
    assert first.result.signals.states[0] == newest[0], "though a snapshot lies between"
    assert newest[0] not in second.result.signals.states
    numbers = [seq for _, seq, *_ in states([first, second])]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class SetClocks:
    """A wall clock and a monotonic one that a test sets."""

    def __init__(self):
        self.wall, self.now = START + 90 * 60.0, 1000.0

    def __call__(self):
        return Clocks(self.wall, self.now)

    def wait(self, seconds):
        self.wall, self.now = self.wall + seconds, self.now + seconds


@pytest.fixture
def clock():
    return SetClocks()


def test_where_no_air_comes_lights_are_grayed(lit, make_readings, clock):
    logic = logic_of(lit, live=True, clocks=clock)
    assert logic.on_notify() == ([], ZoneLogic.RETAIN), "there is no zone"
    logic.on_batch([batch_of(make_readings, rows_of_minutes(90))])
    clock.wait(14 * 60)
    assert logic.on_notify()[0] == []
    clock.wait(60)
    [decision] = logic.on_notify()[0]
    assert [color for *_, color, _ in states([decision])] == ["gray"]
    assert decision.received == int(clock.wall * 1_000_000)
    clock.wait(10)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(95, first=91), 270)])
    clock.wait(59)
    assert logic.on_notify()[0] == [], "a slot fired"


def test_lights_are_grayed_where_the_wall_clock_goes_back_an_hour(lit, make_readings, clock):
    """The engine wakes nobody then: the source's empty batches do, by a monotonic clock."""
    logic = logic_of(lit, live=True, clocks=clock)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(90))])
    clock.wall -= 3600
    colors = []
    for _ in range(16 * 3):
        clock.wait(20)
        colors += [color for *_, color, _ in states(logic.on_batch([batch_of(make_readings, [])])[0])]
    assert colors == ["gray"]


def test_lights_are_grayed_where_readings_come_and_no_slot_fires(lit, make_readings, clock):
    """Instruments whose clocks went back an hour send what was sent before: that is no air of now."""
    logic = logic_of(lit, live=True, clocks=clock)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(90))])
    colors = []
    for minute in range(31, 48):
        clock.wait(60)
        again = batch_of(make_readings, rows_of_minutes(minute, first=minute, pm10=41.0), 3 * minute + 300)
        colors += [color for *_, color, _ in states(logic.on_batch([again])[0])]
    assert colors == ["gray"]


@pytest.mark.parametrize("back", [0, 3600])
def test_a_text_ends_by_the_monotonic_clock(lit, make_readings, clock, back):
    """The air stands still, and the wall clock may go back: the text is withdrawn when its time has passed."""
    logic = logic_of(lit, live=True, clocks=clock)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(90))])
    end = datetime.fromtimestamp(START + 100 * 60, UTC)
    logic.on_batch([ZoneSideBatch("city", [LightMessage(light_id="light-1", text="산불 조심", valid_until=end)])])
    logic.on_batch([batch_of(make_readings, rows_of_minutes(91, first=91), 270)])
    clock.wait(20)
    logic.on_batch([batch_of(make_readings, [])])
    clock.wall -= back
    out = []
    for _ in range(9 * 3):
        clock.wait(20)
        decided = states(logic.on_batch([batch_of(make_readings, [])])[0])
        out += [(clock.now - 1000, color, text) for _, _, color, text in decided]
    assert [(color, text) for _, color, text in out] == [("green", None)]
    assert 8 * 60 < out[0][0] < 10 * 60


def test_what_was_published_goes_out_with_a_silence_too(lit, make_readings, clock):
    logic = logic_of(lit)
    logic.on_batch([batch_of(make_readings, rows_of_minutes(60))])
    told = logic._zone.signals.lights.reconciler.state.seq[0]
    ahead = [state for state in published(lit, make_readings) if state.seq > told + 3][-1:]
    again = restarted(logic, lit, live=True, published=ahead, clocks=clock)
    again.on_batch([ZoneSideBatch("city", [])])
    clock.wait(70 * 60)
    [decision] = again.on_notify()[0]
    assert [(seq, color) for _, seq, color, _ in states([decision])] == [
        (ahead[0].seq, "green"),
        (ahead[0].seq + 1, "gray"),
    ]


def test_only_a_live_zone_wakes_up(lit):
    assert logic_of(lit).notify_at() is None
    before = datetime.now(UTC)
    assert before < logic_of(lit, live=True).notify_at() <= datetime.now(UTC) + steps.IDLE_CHECK
