"""What goes out: every message as its contract, in the order of the firings, and dead letters of what was refused."""

import json
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from flows.analyses.base import Event
from flows.decode.batch import InputPartition
from flows.outputs.events import Events, dead_letters, without_ours
from flows.zone.result import ZoneResult
from flows.zone.zone import DEFAULT
from schemas.alert import Alert
from schemas.light import LightState
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, REASONS, Envelope, Reject, kept_part
from schemas.rolling import Rolling
from tests.support.results import few_readings
from tests.support.zones import START, new_zone

ROLLING = "env.air.rolling.v1"
PARTS = [InputPartition("env.air.reading.v1", 3)]


def at(second):
    return datetime.fromtimestamp(second, UTC)


@pytest.fixture(scope="module")
def city(make_city):
    return make_city(("1m", "1m", "1h"), zones="yyx")


def events_of(city):
    return Events(city, "air", [station.id for station in city.stations])


def sent(city, zone, result):
    """Messages of rolling means of what a zone decided."""
    outgoing = events_of(city).of_zone(zone.stations.tolist(), result)
    return [message for each in outgoing if each.topic == ROLLING for message in each.messages]


def test_messages_keep_their_contract(city, make_readings):
    zone = new_zone(city, DEFAULT, "y")
    out = sent(city, zone, zone.take(few_readings(make_readings), end_of_input=True))
    decoded = [msgspec.json.decode(message.value, type=Rolling) for message in out]
    assert [(each.station_id, each.ended_at) for each in decoded] == [
        (s, at(START + t)) for t in (600, 1200) for s in ("a", "b")
    ], "in time order"
    assert json.loads(out[0].value)["ended_at"] == "2026-01-01T09:10:00+09:00"
    assert [message.key for message in out] == [b"a", b"b", b"a", b"b"]
    assert [message.id for message in out] == [f"{s}:{START + t}" for t in (600, 1200) for s in ("a", "b")]
    headers = dict(out[0].headers)
    assert headers["ce_id"] == out[0].id.encode()
    assert headers["ce_type"] == b"env.air.rolling.v1"
    assert headers["ce_time"] == b"2026-01-01T09:10:00+09:00"
    last = decoded[-1]
    assert set(last.means) == {"pm10"}
    assert set(last.means["pm10"]) == {"10m", "1h", "2h"}
    assert msgspec.to_builtins(last.means["pm10"]["10m"]) == {"mean": 156.0, "coverage": 1.0, "valid": True}
    assert msgspec.to_builtins(last.means["pm10"]["2h"]) == {"mean": 106.0, "coverage": 20 / 120, "valid": False}


def test_what_late_readings_change_is_not_sent(city, make_readings):
    zone = new_zone(city, DEFAULT, "y")
    before = sent(city, zone, zone.take(few_readings(make_readings)))
    assert [msgspec.json.decode(message.value, type=Rolling).ended_at for message in before] == [
        at(START + t) for t in (600, 600, 1200, 1200)
    ]
    late = [(0, START + 90, {"pm10": 500.0}), (0, START + 1260, {}), (1, START + 1260, {})]
    again = zone.take(make_readings(late, 100), end_of_input=True)
    assert any(rows.table == "rolling" for rows in again.results.rows), "much is said again"
    assert sent(city, zone, again) == []


class Said:
    """Messages of a topic, given as they are."""

    def __init__(self, topic, *events):
        self.topic, self._events = topic, events

    def events(self, instruments):
        return [event._replace(key=instruments[int(event.key)]) for event in self._events]


def test_messages_of_a_topic_leave_in_the_order_of_the_firings(city):
    """However the analyses were asked: two cadences, of which the second fired first."""

    def event(column, firing, ended):
        return Event(str(column), f"{firing}-{ended}-{column}", "t", {}, order=(firing, ended, column))

    result = ZoneResult()
    result.results.messages = [
        Said(ROLLING, event(0, 2, 10), event(1, 2, 10), event(0, 3, 20)),
        Said("env.air.anomaly.v1"),
        Said(ROLLING, event(2, 1, 60), event(2, 3, 20)),
    ]
    [outgoing] = events_of(city).of_zone([2, 1, 0], result)
    assert outgoing.topic == ROLLING
    assert [message.id for message in outgoing.messages] == ["1-60-2", "2-10-0", "2-10-1", "3-20-0", "3-20-2"]
    assert [message.key for message in outgoing.messages] == [b"a", b"c", b"b", b"c", b"a"], "of the zone's instruments"


def light_state(light, seq):
    return LightState(
        light_id=light,
        seq=seq,
        color="gray",
        grade=None,
        parameter=None,
        pm10=None,
        pm25=None,
        as_of=at(START + 60 * seq),
        valid_until=at(START + 60 * seq + 900),
        stations=[],
        coverage=None,
        reason="no station is near enough",
        text=None,
    )


def test_lights_and_alerts_leave_as_they_were_decided(city):
    result = ZoneResult()
    result.signals.states = [light_state("light-2", 5), light_state("light-1", 7), light_state("light-2", 6)]
    result.signals.alerts = [
        Alert(
            alert_id="y-pm10-official-2026-01-01T00:00Z+0",
            zone="y",
            parameter="pm10",
            kind="official",
            stage="advisory",
            ended_at=at(START + 3600),
            value=160.0,
            stations=["a"],
        )
    ]
    lights, alerts = events_of(city).of_zone([0, 1], result)
    assert (lights.topic, alerts.topic) == ("env.light.state.v1", "env.air.alert.v1")
    assert [(m.id, m.key, m.sequence) for m in lights.messages] == [
        ("light-2:5", b"light-2", 5),
        ("light-1:7", b"light-1", 7),
        ("light-2:6", b"light-2", 6),
    ]
    assert dict(lights.messages[0].headers)["ce_sequence"] == b"5"
    [alert] = alerts.messages
    assert (alert.id, alert.key, alert.sequence) == ("y-pm10-official-2026-01-01T00:00Z+0", b"y", None)
    assert "ce_sequence" not in dict(alert.headers)
    assert msgspec.json.decode(alert.value, type=Alert) == result.signals.alerts[0]


def test_headers_are_those_of_cloudevents(city):
    message = events_of(city).message(ROLLING, Event("a", "a:1", "2026-01-01T09:00:00+09:00", {"x": 1.5}))
    assert message.value == b'{"x":1.5}'
    assert message.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"a:1"),
        ("ce_source", b"/cityair/tiny/air"),
        ("ce_type", b"env.air.rolling.v1"),
        ("ce_time", b"2026-01-01T09:00:00+09:00"),
        ("content-type", b"application/json"),
    )
    with pytest.raises(AssertionError, match="no topic of ours"):
        events_of(city).message("env.air.nothing.v1", Event("a", "a:1", "t", {}))


def test_nothing_decided_nothing_sent(city):
    assert events_of(city).of_zone([0, 1], ZoneResult()) == []
    assert dead_letters([], PARTS) == []


@pytest.mark.parametrize("reason", [*REASONS, "other"])
def test_a_dead_letter_is_the_original_and_why(reason):
    envelope = Envelope(b"a", (("trace", b"7"), ("cityair_reason", b"of an earlier time"), ("none", None)))
    letters = dead_letters([Reject(0, 41, reason, "because \ud800", b'{"x": 1}', envelope)], PARTS)
    if reason in ("duplicate", "other"):
        assert letters == [], "its values are in the lake, or another flow takes it"
        return
    [[topic, [letter]]] = letters
    assert topic == "env.air.reading.v1.dlq"
    assert (letter.id, letter.key, letter.value) == ("env.air.reading.v1:3:41", b"a", b'{"x": 1}')
    assert letter.headers[:2] == (("trace", b"7"), ("none", None)), "without those of an earlier dead letter"
    about = dict(letter.headers[2:])
    assert about.pop("cityair_version")
    assert about == {
        "cityair_id": b"env.air.reading.v1:3:41",
        "cityair_topic": b"env.air.reading.v1",
        "cityair_partition": b"3",
        "cityair_offset": b"41",
        "cityair_reason": reason.encode(),
        "cityair_detail": b"because ?",
    }


@pytest.mark.parametrize(("size", "cut"), [(MAX_MESSAGE_BYTES, False), (MAX_MESSAGE_BYTES + 1, True)])
def test_what_is_too_large_for_a_topic_is_cut(size, cut):
    [[_, [letter]]] = dead_letters([Reject(0, 1, "too_large", "", b"x" * size)], PARTS)
    assert len(letter.value) == (MAX_KEPT_BYTES if cut else size)
    assert dict(letter.headers).get("cityair_cut") == (str(size).encode() if cut else None)


@pytest.mark.parametrize(("size", "bare"), [(MAX_KEPT_BYTES - 3, False), (MAX_KEPT_BYTES - 2, True)])
def test_a_key_and_headers_that_are_too_large_are_left_out(size, bare):
    envelope = Envelope(b"k", (("hi", b"x" * size),))
    [[_, [letter]]] = dead_letters([Reject(0, 1, "contract", "", b"{}", envelope)], PARTS)
    assert (letter.key is None, "hi" not in dict(letter.headers)) == (bare, bare)
    assert ("cityair_bare" in dict(letter.headers)) == bare


def test_what_was_cut_while_it_was_early_says_so():
    """Else a redrive would send a part of it for the whole."""
    payload, envelope = kept_part(bytes(900_000), Envelope(b"k", (("hi", bytes(70_000)),)))
    [[_, [letter]]] = dead_letters([Reject(0, 1, "future", "", payload, envelope)], PARTS)
    headers = dict(letter.headers)
    assert (len(letter.value), headers["cityair_cut"]) == (MAX_KEPT_BYTES, b"900000")
    assert (letter.key, "hi" in headers, "cityair_bare" in headers) == (None, False, True)


def test_dead_letters_go_to_the_topic_of_their_partition():
    parts = [InputPartition("env.air.reading.v1", 0), InputPartition("env.light.message.v1", 2)]
    rejects = [Reject(i % 2, i, "contract", "", b"{}") for i in range(4)]
    letters = {topic: [message.id for message in messages] for topic, messages in dead_letters(rejects, parts)}
    assert letters == {
        "env.air.reading.v1.dlq": ["env.air.reading.v1:0:0", "env.air.reading.v1:0:2"],
        "env.light.message.v1.dlq": ["env.light.message.v1:2:1", "env.light.message.v1:2:3"],
    }


def test_only_our_own_headers_are_left_out():
    headers = [("cityair_id", b"1"), ("ce_id", b"2"), ("cityair", b"3"), ("cityair_new", None)]
    assert without_ours(headers) == (("ce_id", b"2"), ("cityair", b"3"))
    assert without_ours(iter([])) == ()


def test_a_replay_gives_the_same_ids(city, make_readings):
    def ids():
        zone = new_zone(city, DEFAULT, "y")
        readings = few_readings(make_readings)
        readings.values[:] += np.float64(0.5)
        outgoing = events_of(city).of_zone(zone.stations.tolist(), zone.take(readings, end_of_input=True))
        return [(each.topic, [message.id for message in each.messages]) for each in outgoing]

    assert ids() == ids()
    assert all(len(set(of_topic)) == len(of_topic) for _, of_topic in ids())
