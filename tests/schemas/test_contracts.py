"""Contracts on the wire: golden bytes are never edited. A contract that breaks one needs a new version of its topic."""

from pathlib import Path

import msgspec
import pytest

from schemas.export import json_schemas, text
from schemas.reading import AirReading
from schemas.topics import TOPICS

HERE = Path(__file__).parent
WEATHER = ("o3", "temperature", "humidity")
JSON = HERE.parents[1] / "schemas" / "json"
GOLDEN = [
    pytest.param(name, line, id=f"{name}-{i}")
    for name in TOPICS
    for i, line in enumerate((HERE / "golden" / f"{name}.ndjson").read_bytes().splitlines())
]


def decode(topic, line):
    return msgspec.json.decode(line, type=TOPICS[topic].contract)


@pytest.mark.parametrize(("topic", "line"), GOLDEN)
def test_golden_bytes_come_back(topic, line):
    assert msgspec.json.encode(decode(topic, line)) == line


def test_a_state_of_before_lights_showed_weather_is_read():
    line = next(param.values[1] for param in GOLDEN if param.values[0] == "env.light.state.v1")
    older = {name: value for name, value in msgspec.json.decode(line).items() if name not in WEATHER}
    state = decode("env.light.state.v1", msgspec.json.encode(older))
    assert [getattr(state, name) for name in WEATHER] == [None] * 3


@pytest.mark.parametrize(("topic", "line"), GOLDEN)
def test_fields_of_newer_firmware_are_ignored(topic, line):
    newer = msgspec.json.encode({"firmware": {"build": [7]}} | msgspec.json.decode(line) | {"x": None})
    assert decode(topic, newer) == decode(topic, line)


@pytest.mark.parametrize(("topic", "line"), GOLDEN)
def test_the_key_is_required(topic, line):
    message = msgspec.json.decode(line)
    assert message.pop(TOPICS[topic].key)
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{TOPICS[topic].key}`"):
        decode(topic, msgspec.json.encode(message))


@pytest.mark.parametrize("name", TOPICS)
def test_out_messages_write_every_field_and_in_messages_only_what_is_there(name):
    line = (HERE / "golden" / f"{name}.ndjson").read_bytes().splitlines()[0]
    written = set(msgspec.json.decode(msgspec.json.encode(decode(name, line))))
    if TOPICS[name].direction == "out":
        assert written == set(TOPICS[name].contract.__struct_fields__)
    else:
        assert written == set(msgspec.json.decode(line))


def test_null_and_absent_mean_the_same():
    line = b'{"station_id":"a","observed_at":"2026-11-22T09:31:00+09:00"'
    absent = msgspec.json.decode(line + b"}", type=AirReading)
    null = msgspec.json.decode(line + b',"pm10":null,"humidity":null,"status":null}', type=AirReading)
    assert absent == null
    assert absent.pm10 is None


@pytest.mark.parametrize(
    ("topic", "change", "complaint"),
    [
        ("env.air.reading.v1", {"observed_at": "2026-11-22T09:31:00"}, "timezone"),
        ("env.light.state.v1", {"color": "blue"}, "color 'blue' does not belong to grade 2"),
        ("env.light.state.v1", {"grade": 5}, "<= 4"),
        ("env.light.state.v1", {"color": "gray", "grade": None}, "a gray light has"),
        ("env.light.state.v1", {"coverage": 1.1}, "<= 1.0"),
        ("env.air.alert.v1", {"stage": "panic"}, "Invalid enum value"),
        ("env.air.alert.v1", {"parameter": "co"}, "Invalid enum value"),
        ("env.air.rolling.v1", {"means": {"pm1": {}}}, "Invalid enum value"),
        ("env.air.anomaly.v1", {"label": "ghost"}, "Invalid enum value"),
        ("env.odor.episode.v1", {"state": "closed"}, "does not fit ended_at"),
        ("env.odor.episode.v1", {"wind_from": 400.0}, "<= 360"),
        ("env.patrol.task.v1", {"expires_at": "2026-11-22T00:00:00Z"}, "expires_at lies before"),
        ("env.light.message.v1", {"text": "x" * 201}, "length <= 200"),
        ("env.patrol.ack.v1", {"state": "open"}, "Invalid enum value"),
    ],
)
def test_what_breaks_a_contract_is_refused(topic, change, complaint):
    line = (HERE / "golden" / f"{topic}.ndjson").read_bytes().splitlines()[0]
    broken = msgspec.json.encode(msgspec.json.decode(line) | change)
    with pytest.raises(msgspec.ValidationError, match=complaint):
        decode(topic, broken)


def test_exported_schemas_are_those_of_the_contracts():
    stored = {path.name: path.read_bytes() for path in JSON.iterdir()}
    made = {f"{name}.json": text(schema) for name, schema in json_schemas()}
    assert stored == made, "run `python -m schemas.export`"


def test_exported_schemas_carry_units_and_limits():
    schemas = dict(json_schemas())
    reading = schemas["env.air.reading.v1"]["$defs"]["AirReading"]
    assert reading["required"] == ["station_id", "observed_at"]
    assert {"description": "µg/m³", "type": "number"} in reading["properties"]["pm25"]["anyOf"]
    state = schemas["env.light.state.v1"]["$defs"]["LightState"]
    assert state["properties"]["valid_until"]["format"] == "date-time"


def test_only_the_lights_are_compacted():
    assert [name for name, topic in TOPICS.items() if topic.compacted] == ["env.light.state.v1"]
