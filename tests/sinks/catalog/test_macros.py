"""Macros give what the kernels give, to the last bit, on random and on recorded air."""

import gzip
import math
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.kernels import bands, cai, nowcast
from flows.resources import every_index, index
from schemas import indices
from schemas.measured import AIR
from sinks.catalog import catalog, macros
from tests.support.recorded import DATA, SEOUL

KOREA = index("korea")


@pytest.fixture(scope="module")
def con():
    with duckdb.connect(config={"threads": 1}) as connection:
        macros.install(connection)
        yield connection


def one(con, expression):
    return con.execute(f"SELECT {expression}").fetchone()[0]


def test_the_worked_examples(con):
    made = one(con, "cai(so2 := .003, co := .8, o3 := .012, no2 := .061, pm10_24h := 66, pm25_24h := 40)")
    assert made == {
        "cai": 166,
        "grade": 3,
        "main_parameter": "pm25",
        "added": 50,
        "index_pm10": 86,
        "index_pm25": 116,
        "index_o3": 20,
        "index_no2": 101,
        "index_co": 20,
        "index_so2": 8,
        "over_range": False,
    }
    assert one(con, "c24e([60, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20], 'pm25')") == pytest.approx(
        80 / 3
    )
    assert one(con, "c24e(list_transform(range(15), lambda h: 60), 'pm25')") == 52.5
    assert one(con, "nowcast_pm([30, NULL, 28, 25, 25, 24, 22, 20, 20, 20, 20, 20], 'pm25')") == 27.2
    assert [one(con, f"aqi_pm25({value})") for value in (35.49, 45.3, 12)] == [100, 125, 56]
    assert one(con, "aqi('us-aqi', 'o3', 0.3)") == {"aqi": 300, "grade": 5, "over_range": True}
    assert [one(con, f"grade('pm25', {value})") for value in (15, 16, 35, 36, 75, 76)] == [1, 2, 2, 3, 3, 4]


def test_the_day_chooses_the_table(con):
    def o3(at):
        return one(con, f"cai(o3 := 0.042, at := {at}).index_o3")

    assert [o3("NULL"), o3("'2024-12-31'"), o3("'2025-01-01'"), o3("'1990-01-01'")] == [60, 60, 61, 60]
    assert o3("TIMESTAMP '2026-08-12 14:00:00'") == o3("TIMESTAMPTZ '2026-08-12 14:00:00+00'") == 61
    assert one(con, "cai(o3 := 0.042).index_o3") == 60
    assert one(con, "aqi('korea four-decimal', 'o3', 0.042).aqi") == 61
    column = con.execute("SELECT cai(o3 := 0.042, at := d).index_o3 FROM (VALUES (NULL), (DATE '2025-06-01')) t(d)")
    assert column.fetchall() == [(60,), (61,)]


def test_null_is_missing(con):
    nothing = one(con, "cai()")
    assert nothing.pop("over_range") is False
    assert set(nothing.values()) == {None}
    inputs = {"so2": 0.003, "co": 0.8, "o3": 0.012, "no2": 0.061, "pm10_24h": 66, "pm25_24h": 40}
    for name in inputs:
        left = ", ".join(f"{key} := {value}" for key, value in inputs.items() if key != name)
        assert one(con, f"cai({left}).cai") == (166 if name in {"so2", "co"} else None)
        assert one(con, f"cai({left}, {name} := 'nan'::DOUBLE)") == one(con, f"cai({left}, {name} := NULL)")
    for call in (
        "c24e(NULL, 'pm25')",
        "c24e([], 'pm25')",
        "c24e([20, 20], 'pm25')",
        "c24e([20, 20, 20, 20, 20, 20, 20, 20, 20], NULL)",
        "nowcast_pm(NULL, 'pm25')",
        "nowcast_pm([NULL, NULL, 3], 'pm25')",
        "nowcast_pm([20, 20], NULL)",
        "grade('pm25', NULL)",
        "grade(NULL, 20)",
        "aqi_pm25(NULL)",
        "aqi_pm25('nan'::DOUBLE)",
        "aqi(NULL, 'pm25', 20).aqi",
        "aqi_pm25('inf'::DOUBLE)",
    ):
        assert one(con, call) is None, call


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("c24e([20, 20], 'o3')", "o3 is none of: pm10, pm25"),
        ("grade('pm1', 20)", "korea pm1 is none of"),
        ("nowcast_pm([20, 20], 'o2')", "us-aqi o2 is none of"),
        ("aqi('mars', 'pm25', 20)", "mars pm25 is none of"),
    ],
)
def test_a_name_that_there_is_not_is_told(con, call, message):
    with pytest.raises(duckdb.Error, match=message):
        one(con, call)


def bits(values):
    """Floats as they are, None and NaN alike."""
    return np.array([math.nan if value is None else value for value in values], float).tobytes()


def check_cai(con, inputs, table, at="NULL"):
    """Compare CAI of inputs of shape (n, 6), as they are, with the macro's."""
    made = cai.combine(inputs, bands.bands_of(table))
    rows = pa.table({p: pa.array(inputs[:, i], from_pandas=True) for i, p in enumerate(AIR.gridded)})
    call = f"cai(so2 := so2, co := co, o3 := o3, no2 := no2, pm10_24h := pm10, pm25_24h := pm25, at := {at})"
    found = con.execute(f"SELECT unnest({call}) FROM rows").df()
    del rows

    def told(column, none):
        return pd.array(column, dtype="Int64").fillna(none).to_numpy(int)

    np.testing.assert_array_equal(told(found["cai"], bands.NONE), made.cai)
    np.testing.assert_array_equal(told(found["grade"], bands.NO_GRADE), made.grade)
    np.testing.assert_array_equal(told(found["added"], bands.NONE), made.added)
    for i, parameter in enumerate(AIR.gridded):
        np.testing.assert_array_equal(told(found[f"index_{parameter}"], bands.NONE), made.index[:, i])
    assert [None if pd.isna(name) else name for name in found["main_parameter"]] == [
        AIR.gridded[i] if i >= 0 else None for i in made.main
    ]
    assert found["over_range"].tolist() == made.over_range.tolist()
    return made


def edges(table, rng, n):
    """Concentrations of shape (n, 6): around and on the ends of bands, below zero, above all, and missing."""
    made = np.empty((n, 6))
    for i, parameter in enumerate(AIR.gridded):
        ends = np.array(table.parameters[parameter].bands).ravel()
        near = rng.choice(ends, n) * rng.choice([1, 1 - 1e-15, 1 + 1e-15, 0.99, 1.01, 1.3], n)
        made[:, i] = np.where(rng.random(n) < 0.5, near, rng.uniform(-0.02, 0.4, n) * ends[-1])
    made[: n // 8] = [rng.uniform(0, table.parameters[p].bands[0][1]) for p in AIR.gridded]  # all good
    made[rng.random(made.shape) < 0.04] = np.nan
    return made


@pytest.mark.parametrize("version", ["three-decimal", "four-decimal"])
def test_cai_is_the_kernels(con, version):
    table = KOREA.table(version)
    made = check_cai(
        con, edges(table, np.random.default_rng(1), 4000), table, "NULL" if version[0] == "t" else "'2025-06-01'"
    )
    assert set(made.added.tolist()) == {-1, 0, 50, 75}
    assert set(made.grade.tolist()) == {0, 1, 2, 3, 4}
    assert made.over_range.any()
    assert set(made.main.tolist()) == {-1, 0, 1, 2, 3, 4, 5}


def hours_of(rng, n):
    """Hourly PM of n stretches of 15 hours, oldest first: whole numbers and not, jumps, gaps, noise below zero."""
    hours = rng.gamma(2, 25, (n, 15)) + rng.choice([0, 60], (n, 1))
    hours[: n // 2] = np.round(hours[: n // 2])
    hours[rng.random(hours.shape) < 0.1] *= 3
    hours[rng.random(hours.shape) < 0.15] = np.nan
    hours[rng.random(hours.shape) < 0.02] = -3.5
    return hours


def newest_first(hours):
    """As a relation of lists, None where there is none."""
    lists = [[None if math.isnan(h) else h for h in row[::-1]] for row in hours.tolist()]
    return pa.table({"hours": pa.array(lists, pa.list_(pa.float64()))})


@pytest.mark.parametrize("parameter", ["pm10", "pm25"])
def test_means_of_pm_are_the_kernels_to_the_last_bit(con, parameter):
    hours = hours_of(np.random.default_rng(2), 3000)
    rows = newest_first(hours)
    query = f"SELECT c24e(hours, '{parameter}'), nowcast_pm(hours, '{parameter}') FROM rows"
    predicted, nowcasts = zip(*con.execute(query).fetchall(), strict=True)
    del rows
    assert bits(predicted) == cai.c24e(hours, 14, parameter).mean[:, 0].tobytes()
    scale = bands.bands_of(index("us-aqi").table())[parameter]
    assert bits(nowcasts) == bands.taken(nowcast.nowcast_pm(hours, 14)[:, 0], scale).tobytes()
    assert 0.1 < np.isnan(np.array(predicted, float)).mean() < 0.6


def test_every_scale_is_the_kernels(con):
    rng = np.random.default_rng(3)
    for name, known in every_index().items():
        for table in known.tables:
            for parameter, scale in bands.bands_of(table).items():
                ends = np.concatenate([scale.low, scale.high])
                spread = [ends, ends * (1 + 1e-15), ends * (1 - 1e-15), rng.uniform(-0.1, 1.2, 300) * ends.max()]
                values = np.concatenate([*spread, [np.nan, np.inf]])
                rows = pa.table({"value": values})
                call = f"aqi('{macros.prefix(name, known, table).strip()}', '{parameter}', value)"
                found = con.execute(f"SELECT unnest({call}) FROM rows").fetchall()
                del rows
                numbers, grades, over = zip(*found, strict=True)
                assert [bands.NONE if n is None else n for n in numbers] == bands.index(values, scale).tolist()
                assert [n or 0 for n in grades] == bands.grade(values, scale).tolist()
                assert [bool(n) for n in over] == bands.beyond(values, scale).tolist()


def test_other_bands_are_a_file_in_sql_too():
    eu = indices.parse(
        b"""
name = "eu"
title = "European air quality index"
grades = ["good", "fair", "poor"]
default = "now"
[[tables]]
version = "now"
source = "a test"
[tables.parameters]
pm25 = { average = "24h", bands = [[0, 10], [10, 20], [20, inf]] }
o3 = { average = "8h", factor = 1995.7, digits = 0, bands = [[0, 50], [50, 100]] }
"""
    )
    with duckdb.connect() as con:
        for statement in macros.create_macros({**every_index(), "eu": eu}):
            con.execute(statement)
        for parameter, scale in bands.bands_of(eu.table()).items():
            values = np.array([0, 10, 10.01, 20, 20.01, 1e9, np.nan]) / scale.factor * (5 if scale.power else 1)
            rows = pa.table({"value": values})
            found = con.execute(f"SELECT unnest(aqi('eu', '{parameter}', value)) FROM rows").fetchall()
            del rows
            assert [number for number, _, _ in found] == [None] * 7
            assert [grade or 0 for _, grade, _ in found] == bands.grade(values, scale).tolist()
            assert [bool(over) for _, _, over in found] == bands.beyond(values, scale).tolist()


@pytest.mark.data(SEOUL)
def test_seoul_can_be_recomputed_in_sql(con):
    """Three weeks of five stations, from their hours to the index: nothing is taken from the kernels but to compare."""
    with gzip.open(DATA / SEOUL, "rt") as file:
        names = ["time", "station", "so2", "no2", "co", "o3", "pm10", "pm25"]
        air = pd.read_csv(file, sep="\t", names=names, na_values=["null", "-1"])
    air["time"] = pd.to_datetime(air["time"], format="%Y-%m-%d %H:%M")
    air = air[(air["time"] < "2017-01-22") & air["station"].isin(sorted(air["station"].unique())[:5])]
    every = pd.date_range(air["time"].min(), air["time"].max(), freq="h")
    stations = sorted(air["station"].unique())
    index_of = pd.MultiIndex.from_product([stations, every], names=["station", "time"])
    full = air.drop_duplicates(["station", "time"]).set_index(["station", "time"]).reindex(index_of)
    hours = full[list(AIR.gridded)].to_numpy(float).reshape(len(stations), len(every), 6)
    made = cai.rows(hours, 0, KOREA.table())

    rows = pa.Table.from_pandas(full[list(AIR.gridded)].reset_index())
    found = con.execute(
        """
        SELECT p10, p25, unnest(cai(so2 := so2, co := co, o3 := o3, no2 := no2, pm10_24h := p10, pm25_24h := p25))
        FROM (
            SELECT *, c24e(list_reverse(list(pm10) OVER hours), 'pm10') AS p10,
                c24e(list_reverse(list(pm25) OVER hours), 'pm25') AS p25
            FROM rows
            WINDOW hours AS (PARTITION BY station ORDER BY time ROWS 14 PRECEDING)
        )
        ORDER BY station, time
        """
    ).fetchall()
    del rows
    p10, p25, number, grade, main, added, *sub, over = zip(*found, strict=True)
    assert bits(p10) == made.inputs[..., 0].tobytes()
    assert bits(p25) == made.inputs[..., 1].tobytes()
    for told, kernel in ((number, made.result.cai), (added, made.result.added)):
        assert [bands.NONE if n is None else n for n in told] == kernel.ravel().tolist()
    assert [n or 0 for n in grade] == made.result.grade.ravel().tolist()
    assert [AIR.gridded.index(name) if name else bands.NONE for name in main] == made.result.main.ravel().tolist()
    for i, told in enumerate(sub):
        assert [bands.NONE if n is None else n for n in told] == made.result.index[..., i].ravel().tolist()
    assert [*over] == made.result.over_range.ravel().tolist()
    assert (made.result.cai >= 0).mean() > 0.9


def test_a_lake_has_every_macro(lake):
    with catalog.connect(lake.root) as con:
        assert one(con, "grade('pm25', 22)") == 2
        made = con.execute(
            "SELECT function_name FROM duckdb_functions() WHERE function_type = 'macro' AND NOT internal"
        )
        assert {name for (name,) in made.fetchall()} == {macro.name for macro in macros.macros()}
        con.refresh()
        assert con.cursor().execute("SELECT aqi_pm25(35.49)").fetchone() == (100,)
    with duckdb.connect() as plain:
        for statement in catalog.portable_views(lake.root).split(";\n"):
            if "MACRO" in statement:
                plain.execute(statement)
        assert one(plain, "cai(o3 := 0.042, at := '2025-08-28').index_o3") == 61


def test_macros_say_what_they_answer_and_how_they_are_called():
    known = {macro.name: macro for macro in macros.macros()}
    assert {name for name in known if name[0] != "_"} == {"cai", "c24e", "grade", "nowcast_pm", "aqi_pm25", "aqi"}
    for macro in known.values():
        assert "?" in macro.doc
        assert macro.call.startswith(f"{macro.name}(")
    assert known["cai"].call == (
        "cai(so2 := NULL, co := NULL, o3 := NULL, no2 := NULL, pm10_24h := NULL, pm25_24h := NULL, at := NULL)"
    )
    assert [known[name].call for name in ("c24e", "grade", "nowcast_pm", "aqi_pm25")] == [
        "c24e(list, parameter)",
        "grade(parameter, value)",
        "nowcast_pm(list, parameter)",
        "aqi_pm25(value)",
    ]


def test_on_a_day_sql_and_files_choose_alike(con):
    for day in (date(1990, 1, 1), date(2024, 12, 31), date(2025, 1, 1), date(2030, 1, 1)):
        scale = bands.bands_of(KOREA.on(day))["o3"]
        assert one(con, f"cai(o3 := 0.0904, at := DATE '{day}').index_o3") == bands.index(np.array([0.0904]), scale)[0]
