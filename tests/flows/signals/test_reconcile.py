"""What lights were told: the topic stands, whatever the recovery store knew; the timer grays, and air brings back."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from flows.signals.reconcile import IDLE_REASON
from schemas.city import DEFAULT_PARAMETERS, Light
from schemas.light import LightMessage
from tests.support.zones import new_zone

START = 1_767_225_600
MINUTE = timedelta(minutes=1)


def at(minute):
    return datetime.fromtimestamp(START, UTC) + minute * MINUTE


@pytest.fixture
def city(make_city):
    lights = [Light(id="light-1", lat=35.2, lon=128.9, stations=["a"]), Light(id="light-2", lat=35.2, lon=128.9)]
    limits = {name: msgspec.structs.replace(DEFAULT_PARAMETERS[name], flat_line=None) for name in ("pm10", "pm25")}
    return msgspec.structs.replace(make_city(("1m",) * 3, limits=limits), lights=lights)


@pytest.fixture
def air(make_readings):
    """Readings of all three stations from one minute to before another."""

    def make(begin, end, pm25=20.0):
        rows = [(s, START + 60 * m, {"pm10": 40.0, "pm25": pm25}) for m in range(begin, end) for s in range(3)]
        return make_readings(rows, 3 * begin)

    return make


def states(result, light="light-1"):
    return [state for state in result.signals.states if state.light_id == light]


def lit(city, air, minutes=120):
    zone = new_zone(city)
    return zone, zone.take(air(0, minutes))


def test_without_air_the_timer_grays_a_light_once_its_air_is_too_old(city, air):
    zone, result = lit(city, air)
    last = states(result)[-1]
    assert last.color == "green"
    assert zone.on_idle(14).signals.states == [], "its air is young enough, and nobody repeats it"
    (gray,) = states(zone.on_idle(15))
    assert (gray.color, gray.seq) == ("gray", last.seq + 1)
    assert gray.reason.startswith(IDLE_REASON)
    assert gray.as_of == at(119 + 15)
    assert zone.on_idle(16).signals.states == [], "told already"
    assert [s.seq for s in states(zone.on_idle(20))] == [last.seq + 2], "a heartbeat"


def test_air_that_comes_again_brings_the_color_back(city, air):
    zone, _ = lit(city, air)
    zone.on_idle(15)
    back = states(zone.take(air(140, 200)))
    assert next(s.color for s in back if s.color != "gray") == "green"
    assert [s.seq for s in back] == list(range(back[0].seq, back[0].seq + len(back)))


def test_states_of_the_topic_that_the_store_forgot_are_taken_over_and_not_decided_again(city, air):
    zone, _ = lit(city, air)
    kept = zone.snapshot()
    said = [*zone.on_idle(15).signals.states, *zone.on_idle(20).signals.states]
    again = new_zone(city)
    again.restore(kept)
    assert again.signals.load_published(said) == [], "they go on from the snapshot without a hole"
    result = again.take(air(150, 153))
    mine = states(result)
    of_topic = [s for s in said if s.light_id == "light-1"]
    assert mine[: len(of_topic)] == of_topic, "into the lake as they stand"
    assert [s.seq for s in mine] == list(range(of_topic[0].seq, of_topic[0].seq + len(mine)))


def test_a_decision_with_a_number_that_the_topic_has_gives_way_to_the_topic(city, air):
    zone, _ = lit(city, air, 100)
    kept = zone.snapshot()
    first = zone.take(air(100, 140))
    again = new_zone(city)
    again.restore(kept)
    assert again.signals.load_published(first.signals.states) == []
    # another text would have been decided, had people not spoken earlier in the first life
    again.signals.set_messages([LightMessage(light_id="light-1", text="불조심", valid_until=at(300))])
    mine = states(again.take(air(100, 140)))
    assert mine[: len(states(first))] == states(first)
    assert mine[-1].text == "불조심", "what the topic does not have is decided as it is now"
    assert [s.seq for s in mine] == list(range(mine[0].seq, mine[0].seq + len(mine)))


def test_a_new_store_goes_on_from_the_newest_of_the_topic(city, air):
    _, result = lit(city, air)
    newest = {state.light_id: state for state in result.signals.states}
    again = new_zone(city)
    recalled = again.signals.load_published(newest.values())
    assert sorted(s.light_id for s in recalled) == ["light-1", "light-2"]
    later = states(again.take(air(60, 200)))
    assert later[0].seq == newest["light-1"].seq + 1
    assert all(state.as_of > newest["light-1"].as_of for state in later)


def test_words_of_people_show_until_their_end_and_can_be_withdrawn(city, air):
    zone, _ = lit(city, air)
    zone.signals.set_messages([LightMessage(light_id="light-1", text="산불 조심", valid_until=at(130))])
    zone.signals.set_messages([LightMessage(light_id="light-9", text="nobody's", valid_until=at(130))])
    shown = {s.as_of: s.text for s in states(zone.take(air(120, 140)))}
    assert shown[at(120)] == "산불 조심"
    assert shown[at(129)] is None, "the next state would come after its end"
    zone.signals.set_messages([LightMessage(light_id="light-2", text="x", valid_until=at(300))])
    zone.signals.set_messages([LightMessage(light_id="light-2", text="", valid_until=at(300))])
    assert {s.text for s in states(zone.take(air(140, 150)), "light-2")} == {None}


def test_words_survive_a_restart(city, air):
    zone, _ = lit(city, air)
    zone.signals.set_messages([LightMessage(light_id="light-1", text="산불 조심", valid_until=at(300))])
    again = new_zone(city)
    again.restore(zone.snapshot())
    assert states(again.take(air(120, 122)))[0].text == "산불 조심"
