"""The shipped city file: complete, in its place, and its limits written out with their reasons."""

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from schemas.city import DEFAULT_PARAMETERS, Late, QualitySettings, Station, WindowSettings, parse

FILE = Path(__file__).parents[2] / "config" / "gimhae.toml"
TEXT = FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def city():
    return parse(TEXT.encode(), FILE.name)


def test_counts(city):
    kinds = Counter((s.kind, s.every) for s in city.stations)
    assert kinds == {("reference", "1h"): 6, ("low_cost", "1m"): 42}
    assert [s.id for s in city.stations] == [f"gimhae-{i:02d}" for i in range(1, 49)]
    assert [light.id for light in city.lights] == [f"light-{i:02d}" for i in range(1, 14)]
    odor = Counter(s.complex for s in city.odor_sensors)
    assert odor == {"juchon": 12, "jinyeong": 8, "hanlim": 6, "jangyu": 4}
    assert {w.complex for w in city.weather_stations} == set(odor)
    assert {source.id.split("-")[0] for source in city.odor_sources} == set(odor)


def test_alerts_are_of_the_whole_city(city):
    assert {s.zone for s in city.stations} == {"city"}


def test_only_published_places_are_not_synthetic(city):
    things = [*city.stations, *city.lights, *city.odor_sensors, *city.odor_sources, *city.weather_stations]
    assert [thing.id for thing in things if not thing.synthetic] == [f"gimhae-{i:02d}" for i in range(1, 7)]
    assert len({(thing.lat, thing.lon) for thing in things}) == len(things)


def test_places_lie_in_gimhae(city):
    for thing in [*city.stations, *city.lights, *city.odor_sensors, *city.odor_sources, *city.weather_stations]:
        assert 35.14 <= thing.lat <= 35.42, thing.id
        assert 128.65 <= thing.lon <= 129.05, thing.id


def test_every_limit_is_written_out_and_equals_its_default(city):
    raw = msgspec.toml.decode(TEXT)
    assert city.parameters == DEFAULT_PARAMETERS
    for name, limits in DEFAULT_PARAMETERS.items():
        given = {key for key, value in msgspec.to_builtins(limits).items() if value is not None}
        assert set(raw["parameters"][name]) == given
    for table, shape in {"windows": WindowSettings, "late": Late, "quality": QualitySettings}.items():
        assert getattr(city, table) == shape()
        assert set(raw[table]) == set(shape.__struct_fields__)


def test_every_value_has_its_reason_above_it():
    above = ""
    for number, line in enumerate(TEXT.splitlines(), 1):
        if re.match(r"[\w.]+ = ", line):
            assert above.startswith("# "), f"line {number} has no comment: {line}"
        above = line


def test_what_is_unusual_about_a_place_is_explained(city):
    """Every kind, cadence and zone that is not the default is named in a comment."""
    comments = "\n".join(line for line in TEXT.splitlines() if line.lstrip().startswith("#"))
    usual = {field.name: field.default for field in msgspec.structs.fields(Station)}
    unusual = {(key, getattr(s, key)) for s in city.stations for key in ("kind", "every", "zone")} - usual.items()
    assert unusual == {("kind", "reference"), ("every", "1h")}
    for key, value in unusual:
        assert f'{key} = "{value}"' in comments
    assert {s.every for s in city.odor_sensors} == {"1m"}
