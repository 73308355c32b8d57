"""Column maps: typos are refused with file and key, and every shipped map reads the data it was written for."""

import pytest

from flows.resources import shipped
from flows.sources.tables.column_map import MapError, known_maps, load_map, parse
from schemas.city import DEFAULT_PARAMETERS, CityError
from schemas.city import parse as parse_city
from schemas.measured import AIR, Measured

WHOLE = """
[station]
column = "s"
[time]
column = "t"
format = "%Y-%m-%d %H:%M"
timezone = "Asia/Seoul"
[values]
o3 = { column = "O3" }
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[station]", "[statoin]"), "statoin"),
        (('column = "s"', ""), "station: give either column or id"),
        (('column = "s"', 'column = "s"\nlowre = true'), "station: .*lowre"),
        (("Asia/Seoul", "Asia/Soul"), "time: unknown timezone 'Asia/Soul'"),
        (('timezone = "Asia/Seoul"', ""), "time: timezone is needed"),
        (("%Y-%m-%d %H:%M", "rfc3339"), "time: timezone is not used"),
        (("%Y-%m-%d %H:%M", "%Y-%m-%d %Q"), "time: format"),
        (('column = "t"', 'column = "t"\nmarks = "start"'), "time: interval is needed"),
        (('column = "t"', 'column = "t"\nmarks = "begin"'), "time: .*begin"),
        (('o3 = { column = "O3" }', 'ozone = { column = "O3" }'), "values.ozone: unknown; known are pm10"),
        (('o3 = { column = "O3" }', "o3 = { scale = 2.0 }"), "values.o3: give one of"),
        (('o3 = { column = "O3" }', 'o3 = { item = "1" }'), "values.o3: item belongs to a long form"),
        (('o3 = { column = "O3" }', ""), "values: name at least one"),
        (("[station]", 'encoding = "utf-16"\n[station]'), "encoding: 'utf-16'"),
        (("[station]", 'encoding = "klingon"\n[station]'), "encoding: unknown encoding"),
        (("[station]", "[station"), "test.toml: "),
        (("[values]", '[long]\nitem = "i"\nvalue = "v"\n[values]'), "values.o3: a long form needs item"),
        (("[station]", "[[files]]\nskip = true\n[station]"), r"files\[0\] \('no match'\)"),
    ],
)
def test_a_mistake_is_named(change, message):
    toml = WHOLE.replace(*change)
    assert toml != WHOLE
    with pytest.raises(MapError, match=f"test.toml: .*{message}" if message != "test.toml: " else message):
        parse(toml.encode(), "test.toml")


def test_files_change_the_map():
    column_map = parse(
        (WHOLE + '[[files]]\nmatch = "x*"\nstation = { prefix = "p-" }\nvalues.co = { column = "CO" }\n'
         '[[files]]\nmatch = "*.md"\nskip = true\n').encode(), "test.toml"
    )  # fmt: skip
    first, other = column_map.layout("deep/x1.csv"), column_map.layout("y.csv")
    assert (first.station.column, first.station.prefix, list(first.values)) == ("s", "p-", ["co"])
    assert (other.station.prefix, list(other.values)) == ("", ["o3"])
    assert column_map.skips("README.md")
    assert not column_map.skips("x1.csv")


def test_a_map_makes_another_kind_of_reading():
    odor = Measured("env.odor.v1", "odors", "sensor_id", gridded=("h2s",), carried=("wind",))
    toml = WHOLE.replace("o3 = {", "h2s = {")
    assert list(parse(toml.encode(), "test.toml", odor).layout("x.csv").values) == ["h2s"]
    with pytest.raises(MapError, match=r"test\.toml: values\.o3: unknown; known are h2s, wind"):
        parse(WHOLE.encode(), "test.toml", odor)
    with pytest.raises(MapError, match=r"values\.wind: status is for pollutants"):
        parse((WHOLE.replace("o3 = {", "wind = { status = 's',")).encode(), "test.toml", odor)


def test_a_map_may_bring_the_limits_of_its_instruments():
    toml = WHOLE + "[parameters.no2]\nfail = [-0.2, 2.0]\n"
    tables = parse(toml.encode(), "test.toml").parameters
    city = parse_city(
        b'stations = []\n[city]\nid = "t"\nname = "T"\ntimezone = "UTC"\n[parameters.no2]\nspike = 0.07\n'
    )
    limits = dict(zip(AIR.gridded, city.with_parameters(tables).limits(), strict=True))
    assert (limits["no2"].fail, limits["no2"].spike) == ((-0.2, 2.0), 0.07)
    assert limits["o3"] == DEFAULT_PARAMETERS["o3"]
    assert city.with_parameters({}) is city
    with pytest.raises(MapError, match=r"test\.toml: parameters\.nox: unknown; known are pm10"):
        parse((WHOLE + "[parameters.nox]\n").encode(), "test.toml")
    with pytest.raises(MapError, match=r"test\.toml: parameters\.no2: .*fail must enclose suspect"):
        parse((WHOLE + "[parameters.no2]\nfail = [0, 1]\n").encode(), "test.toml")
    with pytest.raises(CityError, match=r"column map with this city file: parameters\.no2"):
        city.with_parameters({"no2": {"fail": [0, 1]}})


def test_without_a_whole_base_each_file_needs_an_entry():
    toml = (
        WHOLE.replace('[values]\no3 = { column = "O3" }', "")
        + '[[files]]\nmatch = "x*"\nvalues.co = { column = "CO" }\n'
    )
    column_map = parse(toml.encode(), "test.toml")
    assert list(column_map.layout("x.csv").values) == ["co"]
    with pytest.raises(
        MapError, match=r"y\.csv: map test\.toml has no \[\[files\]\] entry for it; its patterns are 'x\*'"
    ):
        column_map.layout("y.csv")


def test_every_shipped_map_loads_by_its_name():
    assert set(known_maps()) == {
        "airkorea-year", "beijing", "pittsburgh", "purpleair", "seoul", "seoul-status", "toucan",
    }  # fmt: skip
    for name in known_maps():
        assert load_map(name).name == name
        assert load_map(shipped(f"maps/{name}.toml")) is not None


def test_an_unknown_map_names_those_that_ship(tmp_path):
    with pytest.raises(MapError, match=r"no column map 'soul'.*beijing.*seoul"):
        load_map("soul")
    (tmp_path / "soul.toml").write_text(WHOLE)
    assert load_map(tmp_path / "soul.toml").base is not None
