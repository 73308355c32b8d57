"""What a flow is, told by the air flow and by one with records."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest
from msgspec import structs

from flows.air import FLOW
from schemas.city import Light
from schemas.light import LightMessage
from schemas.topics import TOPICS
from tests.support.records import ACK, REPORT

WITH_RECORDS = dataclasses.replace(FLOW, recorded=(REPORT, ACK))


def test_what_is_booked_are_readings_and_each_kind_of_record():
    assert FLOW.inputs == ("env.air.reading.v1",)
    assert WITH_RECORDS.inputs == ("env.air.reading.v1", "env.odor.report.v1", "env.patrol.ack.v1")
    assert set(FLOW.inputs) | set(FLOW.outputs) <= TOPICS.keys()


def test_zones_are_those_with_an_instrument_of_the_flow(make_city):
    city = make_city(("1m",) * 3, zones="yxy")
    assert FLOW.zones(city) == ["x", "y"]
    first = dataclasses.replace(FLOW, instruments=lambda city: FLOW.instruments(city)[:1])
    assert first.zones(city) == ["y"]


def test_what_is_made_of_a_zone_is_its_own(make_city):
    city = make_city(("1m", "1h", "1m"), zones="yyx")
    zone = FLOW.zone(city, "y")
    assert (zone.id, zone.stations.tolist(), zone.grid.instruments) == ("y", [0, 1], ["a", "b"])
    assert [cadence.every for cadence in zone.cadences] == [60, 3600]
    assert FLOW.zone(city, "y").grid is not zone.grid


def test_records_are_booked_in_the_first_zone_alone(make_city):
    city = make_city(("1m",) * 3, zones="yxy")
    assert [WITH_RECORDS.plan(city, zone).books_records for zone in ("x", "y")] == [True, False]


def lines(*messages):
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


READING = {"station_id": "a", "observed_at": "2026-03-01T09:00:00+09:00", "pm10": 41.0}
REPORTED = {"report_id": "r-1", "reported_at": "2026-03-01T09:00:00+09:00", "lat": 35.2, "lon": 128.9}


def test_the_decoder_takes_what_the_flow_takes(make_city):
    readings, rejects, _ = WITH_RECORDS.decoder(make_city()).lines(0, 0, lines(READING, REPORTED))
    assert ([r.offset for r in rejects], readings.station.tolist()) == ([], [0, -1])
    assert readings.records[1].kind is REPORT
    readings, rejects, _ = FLOW.decoder(make_city()).lines(0, 0, lines(READING, REPORTED))
    assert (readings.offset.tolist(), [(r.offset, r.reason) for r in rejects]) == ([0], [(1, "contract")])


def test_of_an_input_that_flows_share_the_others_messages_are_passed_over(make_city):
    decoder = FLOW.decoder(make_city(), shared_input=True)
    _, rejects, _ = decoder.lines(0, 0, lines(READING, REPORTED, {"nobody": 1}))
    assert [(r.offset, r.reason) for r in rejects] == [(1, "other"), (2, "contract")]


@pytest.mark.parametrize(("light", "refused"), [("light-1", ""), ("light-9", "'light-9' is no light of the city file")])
def test_words_for_a_light_that_is_not_there_are_refused(make_city, light, refused):
    city = structs.replace(make_city(), lights=[Light(id="light-1", lat=35.2, lon=128.9)])
    message = LightMessage(light_id=light, text="x", valid_until=datetime(2026, 3, 1, tzinfo=UTC))
    said = FLOW.side_input.refuse(city, message)
    assert said.startswith(refused)
    assert bool(said) == bool(refused)


def test_a_flow_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FLOW.name = "other"
