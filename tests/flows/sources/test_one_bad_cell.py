"""One bad cell costs itself alone, by every way in which a reading may come."""

import csv
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.decode.batch import concatenate
from schemas.measured import AIR

WIDE = """
[station]
column = "station_id"
[time]
column = "observed_at"
format = "rfc3339"
[values]
pm10 = { column = "pm10" }
pm25 = { column = "pm25" }
o3 = { column = "o3" }
temperature = { column = "temperature" }
"""
LONG = """
[station]
column = "station_id"
[time]
column = "observed_at"
format = "rfc3339"
[long]
item = "item"
value = "value"
[values]
pm10 = { item = "pm10" }
pm25 = { item = "pm25" }
o3 = { item = "o3" }
temperature = { item = "temperature" }
"""
NAMES = ("pm10", "pm25", "o3", "temperature")


def as_json(path, cells):
    lines = (
        json.dumps({key: value for key, value in row.items() if value is not None}, ensure_ascii=False) for row in cells
    )
    path.write_text("".join(line + "\n" for line in lines))


def as_wide(path, cells):
    with path.open("w") as file:
        writer = csv.DictWriter(
            file, ["station_id", "observed_at", *NAMES], delimiter="\t" if ".tsv" in path.name else ","
        )
        writer.writeheader()
        writer.writerows(cells)


def as_long(path, cells):
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["station_id", "observed_at", "item", "value"])
        for row in cells:
            writer.writerows([row["station_id"], row["observed_at"], name, row[name]] for name in NAMES)


def as_parquet(path, cells):
    columns = {name: [row[name] for row in cells] for name in cells[0]}
    texts = {
        name: pa.array([None if value is None else str(value) for value in columns[name]], pa.string())
        for name in NAMES
    }
    pq.write_table(pa.table(columns | texts), path)


def as_parquet_dictionary(path, cells):
    as_parquet(path, cells)
    table = pq.read_table(path)
    for name in NAMES:
        place = table.schema.names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    pq.write_table(table, path)


WAYS = {
    "ndjson": ("x.ndjson", as_json, None),
    "csv": ("x.csv", as_wide, WIDE),
    "tsv": ("x.tsv", as_wide, WIDE),
    "long form": ("x.csv", as_long, LONG),
    "parquet": ("x.parquet", as_parquet, None),
    "parquet with a dictionary": ("x.parquet", as_parquet_dictionary, None),
}


@pytest.fixture
def taken(tmp_path, source):
    """What becomes of readings, given by the way in which they come and their cells: values, notes, rejects."""

    def take(way, cells):
        name, write, column_map = WAYS[way]
        write(tmp_path / name, cells)
        part = source(tmp_path / name, column_map).build_part("read", "input", None)
        batches = []
        try:
            while True:
                batches += [batch for _, batch in part.next_batch()]
        except StopIteration:
            pass
        readings = concatenate([batch.readings for batch in batches])
        notes = [None] * len(readings) if readings.notes is None else readings.notes.tolist()
        values = [[None if math.isnan(v) else v for v in row] for row in readings.values.tolist()]
        rejects = [(reject.offset, reject.reason) for batch in batches for reject in batch.rejects]
        return [dict(zip(AIR.values, row, strict=True)) for row in values], notes, rejects

    return take


def cells(**values):
    """A reading of ozone by the minute, and of what is given."""
    return {"station_id": "a", "observed_at": "2026-03-01T09:00:00+09:00", **dict.fromkeys(NAMES), "o3": 0.03} | values


@pytest.mark.parametrize(
    "text", ["통신장애", "<2.0", "34.2#", "34,2", "n.d.", "--", "#VALUE!", "1_000", "Infinity", "1e999"]
)
@pytest.mark.parametrize("way", WAYS)
def test_one_bad_cell_costs_its_value_and_no_neighbour(taken, way, text):
    values, (note,), rejects = taken(way, [cells(pm25=text, temperature=4.5)])
    assert rejects == []
    assert {name: value for name, value in values[0].items() if value is not None} == {"o3": 0.03, "temperature": 4.5}
    assert note.unreadable == 1
    assert text in note.text
    assert "pm25: " in note.text


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_cell_of_weather_costs_no_pollutant(taken, way):
    values, (note,), rejects = taken(way, [cells(temperature="warm", pm10=41.0)])
    assert rejects == []
    assert {name: value for name, value in values[0].items() if value is not None} == {"o3": 0.03, "pm10": 41.0}
    assert "temperature: " in note.text


@pytest.mark.parametrize("way", WAYS)
def test_a_reading_with_something_unreadable_and_nothing_readable_is_refused(taken, way):
    good = cells(observed_at="2026-03-01T09:01:00+09:00")
    values, _, rejects = taken(way, [cells(o3=None, pm10="x", pm25="-"), good])
    assert [reason for _, reason in rejects] == ["contract"]
    assert [row["o3"] for row in values] == [0.03]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "long form"])
def test_a_reading_of_nulls_alone_is_stored(taken, way):
    values, notes, rejects = taken(way, [cells(o3=None, pm10="-")])
    assert (rejects, len(values)) == ([], 1)
    assert set(values[0].values()) == {None}
    assert notes == [None]


@pytest.mark.parametrize("way", WAYS)
def test_a_sentinel_is_null_of_weather_too(taken, way):
    values, _, rejects = taken(way, [cells(temperature=-999, pm10=-999.0)])
    assert rejects == []
    assert {name: value for name, value in values[0].items() if value is not None} == {"o3": 0.03}


@pytest.mark.parametrize("spelling", ["-0", "-0.0", "0e-5", "-0e-5", "0"])
@pytest.mark.parametrize("way", WAYS)
def test_minus_nought_is_nought(taken, way, spelling):
    values, _, _ = taken(way, [cells(pm10=spelling, temperature=spelling)])
    assert [math.copysign(1, values[0][name]) for name in ("pm10", "temperature")] == [1, 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stamp", ["", " ", "0", "T"])
def test_an_empty_time_is_no_time_wherever_it_stands(taken, way, stamp):
    good = cells(observed_at="2026-03-01T09:01:00+09:00")
    odd = cells(observed_at=stamp)
    for rows in ([odd, good], [good, odd], [odd, odd], [odd]):
        values, _, rejects = taken(way, rows)
        assert {reason for _, reason in rejects} == {"contract"}
        assert len(values) == rows.count(good)
