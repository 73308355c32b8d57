"""What ``cityair run air`` lands from recorded air, recomputed by the macros, and by the rules in plain Python."""

import csv
import gzip
import math
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from flows.resources import every_index
from sinks.catalog import catalog
from tests.support.recorded import DATA, SEOUL

COMMAND = Path(sys.executable).with_name("cityair")
BUSAN = "busan/choryang_2012-2021.csv.gz"
pytestmark = pytest.mark.data(SEOUL, BUSAN)
KST = timezone(timedelta(hours=9))
HOUR = timedelta(hours=1)
STATIONS = [f"seoul-{number}" for number in range(101, 126)]
GASES = ("o3", "no2", "co", "so2")
PM = ("pm10", "pm25")


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """Run lines of a recorded file through ``cityair run air``; a catalog of the lake."""
    opened = []

    def run(lines, name, stations):
        folder = tmp_path_factory.mktemp(name)
        places = "".join(
            f'[[stations]]\nid = "{s}"\nlat = 37.5\nlon = 127\nevery = "1h"\nkind = "reference"\n' for s in stations
        )
        (folder / "city.toml").write_text(f'[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n{places}')
        (folder / "air.csv").write_text("".join(lines))
        words = {"city": folder / "city.toml", "input": folder / "air.csv", "lake": folder / "lake"}
        words |= {"recovery": folder / "store", "output": folder / "out", "map": name}
        options = [str(word) for key, place in words.items() for word in (f"--{key}", place)]
        subprocess.run([COMMAND, "run", "air", *options], check=True, capture_output=True)
        connection = catalog.connect(folder / "lake")
        opened.append(connection)
        return connection.__enter__()

    yield run
    for connection in opened:
        connection.__exit__(None, None, None)


@pytest.fixture(scope="module")
def seoul(landed):
    """Eight days of 25 stations, with the yellow dust of 2017-05-06."""
    days = tuple(f"2017-05-{day:02d}" for day in range(3, 11))
    with gzip.open(DATA / SEOUL, "rt") as file:
        return landed([line for line in file if line.startswith(days)], "seoul", STATIONS)


def count(con, query):
    [[number]] = con.execute(query).fetchall()
    return number


def test_every_row_of_cai_is_what_the_macro_makes_of_its_own_inputs(seoul):
    columns = ["cai", "grade", "main_parameter", "added", "over_range", *(f"index_{p}" for p in (*PM, *GASES))]
    inputs = ", ".join(f"{name} := {name}" for name in ("pm10_24h", "pm25_24h", *GASES))
    differ = " OR ".join(f"{column} IS DISTINCT FROM twin.{column}" for column in columns)
    seoul.execute(f"CREATE OR REPLACE TEMP VIEW twins AS SELECT *, cai({inputs}) AS twin FROM cai")
    assert count(seoul, f"SELECT count(*) FROM twins WHERE {differ}") == 0
    rows, whole, added, stations = seoul.execute(
        "SELECT count(*), count(cai), count(*) FILTER (added > 0), count(DISTINCT station_id) FROM cai"
    ).fetchone()
    assert rows > 25 * 24 * 7
    assert whole > 0.9 * rows
    assert added > 100, "the dust is in"
    assert stations == 25


def hours_before(length):
    """SQL: the valid hourly means of ``length`` hours up to each row of ``h``, newest first, of parameter ``p``."""
    return f"""
        list_transform(
            range({length}),
            lambda back: map_extract_value(of_hours, epoch(ended_at) - 3600 * back)
        )"""


def with_hours(con, table, condition):
    """SQL of rows of a table, each with a map of its station's valid hours of the parameter."""
    return f"""
        SELECT t.*, m.of_hours FROM {table} t JOIN (
            SELECT station_id, parameter, map(list(epoch(ended_at)), list(mean)) AS of_hours
            FROM rolling WHERE window_length = '1h' AND valid GROUP BY ALL
        ) m ON t.station_id = m.station_id AND {condition}"""


@pytest.mark.parametrize("parameter", PM)
def test_predicted_means_are_what_the_macro_makes_of_the_hours_in_rolling(seoul, parameter):
    rows = with_hours(seoul, "cai", f"m.parameter = '{parameter}'")
    hours = hours_before(15)
    differ, compared, known, short = seoul.execute(f"""
        SELECT count(*) FILTER ({parameter}_24h IS DISTINCT FROM c24e({hours}, '{parameter}')
                   OR missing_{parameter} <> 12 - list_count({hours}[:12])),
               count(*), count({parameter}_24h), count(*) FILTER (missing_{parameter} > 0 AND {parameter}_24h > 0)
        FROM ({rows})
    """).fetchone()
    assert differ == 0
    assert compared == count(seoul, "SELECT count(*) FROM cai")
    assert known > 0.9 * compared
    assert short > 25


def test_gases_are_the_hours_in_rolling(seoul):
    for gas in GASES:
        differ, compared = seoul.execute(f"""
            SELECT count(*) FILTER (c.{gas} IS DISTINCT FROM r.mean), count(*)
            FROM cai c LEFT JOIN rolling r
            ON c.station_id = r.station_id AND c.ended_at = r.ended_at AND r.parameter = '{gas}'
                AND r.window_length = '1h' AND r.valid
        """).fetchone()
        assert differ == 0
        assert compared == count(seoul, "SELECT count(*) FROM cai")


def test_no_hour_that_has_an_index_lacks_its_row(seoul):
    missing = count(
        seoul,
        f"""
        SELECT count(*) FROM rolling r ANTI JOIN cai c ON c.station_id = r.station_id AND c.ended_at = r.ended_at
        WHERE r.window_length = '1h' AND r.valid AND r.parameter IN {GASES}
    """,
    )
    assert missing == 0


def test_every_row_of_aqi_is_what_the_macros_make_of_it(seoul):
    differ, compared = seoul.execute("""
        SELECT count(*) FILTER (aqi IS DISTINCT FROM twin.aqi OR grade IS DISTINCT FROM twin.grade
            OR over_range IS DISTINCT FROM twin.over_range), count(*)
        FROM (SELECT *, aqi(index_name, parameter, concentration) AS twin FROM aqi)
    """).fetchone()
    assert differ == 0
    assert compared > 25 * 24 * 7 * 3
    assert {name for (name,) in seoul.execute("SELECT DISTINCT index_name FROM aqi").fetchall()} == {
        name for name in every_index() if name != "korea"
    }


@pytest.mark.parametrize("parameter", PM)
def test_nowcasts_are_what_the_macro_makes_of_the_hours_in_rolling(seoul, parameter):
    """The macro truncates, as EPA's index asks; the row keeps what there was before."""
    rows = with_hours(seoul, "aqi", "t.parameter = m.parameter")
    step = {"pm10": 1.0, "pm25": 0.1}[parameter]
    differ, compared = seoul.execute(f"""
        SELECT count(*) FILTER (floor(concentration / {step} + 1e-9) * {step} - twin NOT BETWEEN -1e-9 AND 1e-9
            OR twin IS NULL), count(*)
        FROM (
            SELECT concentration, nowcast_pm({hours_before(12)}, '{parameter}') AS twin
            FROM ({rows}) WHERE index_name = 'us-aqi' AND parameter = '{parameter}'
        )
    """).fetchone()
    assert differ == 0
    assert compared > 25 * 24 * 7


# ------------------------------------------------------------------------------------------------------- alerts

RULES = {
    # Stages of the province's table: issue and clear levels, hours in a row, digits as published.
    "PM10": ("pm10", (150, 300), (100, 150), 2, 0),
    "O3": ("o3", (0.12, 0.3, 0.5), (0.12, 0.3, 0.5), 1, 3),
}
FAIL = {"PM10": (-5, 2000), "O3": (-0.01, 0.5)}
STAGES = ("none", "advisory", "warning", "serious")


def replay(rows, column):
    """Stages of one station alone, hour by hour, from its published values."""
    name, issue, clear, hours, digits = RULES[column]
    stage, runs, said, before = 0, [0] * len(issue), [], None
    for row in rows:
        day, hour = row["Date"][:8], int(row["Date"][8:])
        ended = datetime.strptime(day, "%Y%m%d").replace(tzinfo=KST) + hour * HOUR
        value = float(row[column]) if row[column] not in {"", "-", "-999"} else math.nan
        if not FAIL[column][0] <= value <= FAIL[column][1]:
            value = math.nan
        figure = math.floor(value * 10**digits + 0.5 + 1e-6) / 10**digits if not math.isnan(value) else math.nan
        if before is not None and ended != before + HOUR:
            runs = [0] * len(issue)
        before = ended
        runs = [run + 1 if figure >= level else 0 for run, level in zip(runs, issue, strict=True)]
        reached = sum(run >= hours for run in runs)
        if reached > stage:
            stage = reached
        elif stage and figure < clear[stage - 1]:
            stage -= 1
        else:
            continue
        said.append((name, STAGES[stage], ended.astimezone(UTC), figure, ["busan-choryang"]))
    return said


def test_busan_gives_its_alert_history(landed):
    with gzip.open(DATA / BUSAN, "rt") as file:
        header, *lines = file
    lines = [line for line in lines if line.startswith(("201501", "201502", "201503", "201504"))]  # with the dust
    rows = list(csv.DictReader([header, *lines]))
    assert len(rows) == 120 * 24
    con = landed([header, *lines], "airkorea-year", ["busan-choryang"])
    found = defaultdict(list)
    for row in con.execute(
        "SELECT parameter, stage, ended_at, value, stations FROM alerts WHERE kind = 'official' ORDER BY ended_at"
    ).fetchall():
        parameter, stage, ended, value, stations = row
        found[parameter].append((parameter, stage, ended.astimezone(UTC), value, stations))
    for column, (name, *_) in RULES.items():
        expected = replay(rows, column)
        if name == "o3":  # the fall of ozone is told of every station, of which there is one
            assert [alert[:4] for alert in found[name]] == [alert[:4] for alert in expected]
        else:
            assert found[name] == expected
    assert len(found["pm10"]) > 4
    assert count(con, "SELECT count(DISTINCT alert_id) FROM alerts") == sum(map(len, found.values()))
    assert count(con, "SELECT count(*) FROM alerts WHERE kind <> 'official'") == 0
