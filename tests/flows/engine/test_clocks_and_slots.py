"""Clocks, wild times and slots by whole runs: the smallest input of each kind, and what is stored, refused and shown."""

import json
from datetime import datetime, timedelta

import pytest

from flows.air import FLOW
from flows.engine.observe import RunObserver
from flows.engine.run import RunOptions
from flows.engine.run import run as run_flow
from schemas.city import CityError
from sinks.catalog import catalog
from tests.support import runs

START = datetime.fromisoformat("2026-03-02T00:00:00+09:00")
WILD = datetime.fromisoformat("2036-01-01T00:00:00+09:00")


def write_city(place, stations, every="1h", more=""):
    entries = "".join(f'[[stations]]\nid = "{name}"\nlat = 35.2\nlon = 128.8\nevery = "{every}"\n' for name in stations)
    text = f'[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n{entries}{more}'
    (place / "city.toml").write_text(text)


def reading(station, at, value=20.0):
    return {"station_id": station, "observed_at": at.isoformat(), "pm25": value}


def hours(station, first, last):
    """Hourly readings of a station, both ends included."""
    return [reading(station, START + timedelta(hours=hour), 10.0 + hour % 7) for hour in range(first, last + 1)]


def in_order(*series):
    return sorted((row for rows in series for row in rows), key=lambda row: (row["observed_at"], row["station_id"]))


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(place, source):
    """Run to the end; readings stored, and how many were refused for which reason."""
    options = RunOptions(str(source))
    assert not run_flow(FLOW, runs.city_of(place), options, place / "lake", place / "store", RunObserver())
    with catalog.connect(place / "lake") as con:
        stored = con.execute("SELECT count(*) FROM air_readings").fetchone()[0]
        return stored, dict(con.execute("SELECT reason, count(*) FROM rejects GROUP BY 1").fetchall())


def means(place, length="1h"):
    """Ends of the windows of each station, in hours since the start, with their means."""
    with catalog.connect(place / "lake") as con:
        rows = con.execute(
            "SELECT station_id, date_diff('minute', ?::TIMESTAMPTZ, ended_at) / 60, mean FROM rolling "
            "WHERE window_length = ? AND parameter = 'pm25' ORDER BY ALL",
            [START, length],
        ).fetchall()
    found = {}
    for station, hour, mean in rows:
        found.setdefault(station, {})[hour] = mean
    return found


GONE = {
    "gone after two days": [("a", 1, 120), ("b", 1, 120), ("c", 1, 48)],
    "back after ten days": [("a", 1, 340), ("b", 1, 340), ("c", 1, 48), ("c", 288, 340)],
    "never installed": [("a", 1, 120), ("b", 1, 120)],
    "one of three installed": [("a", 1, 120)],
    "one left": [("a", 1, 120), ("b", 1, 30), ("c", 1, 20)],
    "one left, not for two horizons": [("a", 1, 90), ("b", 1, 48), ("c", 1, 48)],
    "all away for ten days, two come back": [*((s, 1, 48) for s in "abc"), ("a", 288, 291), ("b", 288, 291)],
    "in turn": [("a", 1, 100), ("b", 1, 50), ("b", 150, 250), ("c", 60, 250)],
}


def series(kind):
    return [hours(*part) for part in GONE[kind]]


@pytest.mark.parametrize("kind", GONE)
@pytest.mark.parametrize("way", ["one file in order of time", "a file for each station"])
def test_a_clock_by_agreement_that_can_shrink_in_time(tmp_path, kind, way):
    write_city(tmp_path, "abc")
    rows = in_order(*series(kind))
    if way == "one file in order of time":
        write(tmp_path / "in.ndjson", rows)
        source = tmp_path / "in.ndjson"
    else:
        source = tmp_path / "in"
        for station in {row["station_id"] for row in rows}:
            write(source / f"{station}.ndjson", [row for row in rows if row["station_id"] == station])
    assert run(tmp_path, source) == (len(rows), {})
    expected = {}
    for row in rows:
        hour = (datetime.fromisoformat(row["observed_at"]) - START) / timedelta(hours=1)
        expected.setdefault(row["station_id"], {})[hour] = row["pm25"]
    assert means(tmp_path) == expected


def test_means_come_while_one_is_gone(tmp_path):
    """Stopped as by a signal, with all that is open left open: what has come by then is what the clock has passed."""
    write_city(tmp_path, "abc")
    write(tmp_path / "in.ndjson", in_order(*series("gone after two days")))
    runs.run_stopped(tmp_path, "lake", items=2)
    ended = means(tmp_path)
    assert max(ended["a"]) >= 118
    assert len(ended["a"]) == max(ended["a"])


@pytest.mark.parametrize(
    "wild",
    [
        {50: [WILD]},
        {50: [WILD, WILD + timedelta(days=400), WILD + timedelta(hours=1)]},
        {10: [WILD], 80: [WILD + timedelta(days=400)], 200: [WILD]},
        {0: [WILD]},
        {239: [WILD]},
        {50: [START - timedelta(days=4000)]},
        {50: [START + timedelta(days=30)]},
    ],
    ids=["one", "three together", "three", "first", "last", "long ago", "a month ahead"],
)
@pytest.mark.parametrize("other", ["abc", "a"])
def test_a_wild_time_holds_back_nothing_of_its_file(tmp_path, wild, other):
    """Of three stations in files of their own, and of a city's only one, whose first stamp cannot be known as wild."""
    write_city(tmp_path, other)
    for station in other:
        rows = hours(station, 1, 240)
        if station == "a":
            for at in sorted(wild, reverse=True):
                rows[at:at] = [reading("a", stamp) for stamp in wild[at]]
        write(tmp_path / "in" / f"{station}.ndjson", rows)
    number = sum(map(len, wild.values()))
    stamps = [stamp for of in wild.values() for stamp in of]
    if other == "a" and 0 in wild:
        return
    reason = "future" if stamps[0] > START else "too_late"
    assert run(tmp_path, tmp_path / "in") == (240 * len(other), {reason: number})
    assert {station: len(of) for station, of in means(tmp_path).items()} == dict.fromkeys(other, 240)


def test_stamps_some_seconds_past_a_slow_cadences_end(tmp_path):
    write_city(tmp_path, "a")
    stamps = [(7200, 10.0), (10803, 15.0), (14398, 20.0)]
    write(tmp_path / "in.ndjson", [reading("a", START + timedelta(seconds=second), value) for second, value in stamps])
    assert run(tmp_path, tmp_path / "in.ndjson") == (3, {})
    assert means(tmp_path) == {"a": {2: 10.0, 3: 15.0, 4: 20.0}}
    with catalog.connect(tmp_path / "lake") as con:
        sent = con.execute("SELECT epoch(observed_at)::BIGINT FROM air_readings ORDER BY 1").fetchall()
    assert [second - int(START.timestamp()) for (second,) in sent] == [second for second, _ in stamps]


@pytest.mark.parametrize(
    ("every", "seconds", "ended"),
    [
        ("1h", 3600 + 180, 1),  # a twentieth
        ("1h", 3600 + 181, 2),
        ("1h", 7200 - 180, 2),
        ("1h", 3600 - 600, 1),
        ("10m", 600 + 30, 1 / 6),
        ("10m", 600 + 31, 2 / 6),
        ("1m", 3600 + 2, 7 / 6),  # by the minute nothing is moved
    ],
)
def test_a_stamp_lies_on_the_multiple_that_it_is_near(tmp_path, every, seconds, ended):
    write_city(tmp_path, "a", every, '[windows]\nlengths = ["10m", "1h"]')
    write(tmp_path / "in.ndjson", [reading("a", START + timedelta(seconds=second)) for second in (seconds, 3 * 3600)])
    assert run(tmp_path, tmp_path / "in.ndjson") == (2, {})
    assert min(means(tmp_path, "1h" if every == "1h" else "10m")["a"]) == pytest.approx(ended)


def test_a_second_stamp_near_the_same_multiple_is_a_second_value_of_it(tmp_path):
    write_city(tmp_path, "a")
    rows = [reading("a", START + timedelta(seconds=second), value) for second, value in [(3598, 10.0), (3603, 15.0)]]
    write(tmp_path / "in.ndjson", rows)
    stored, refused = run(tmp_path, tmp_path / "in.ndjson")
    assert (stored, sum(refused.values())) == (1, 1)
    assert means(tmp_path) == {"a": {1: 10.0}}


@pytest.mark.parametrize("share", [0, 0.25])
def test_how_near_is_a_setting(tmp_path, share):
    write_city(tmp_path, "a", more=f"[late]\nsnap = {share}")
    write(
        tmp_path / "in.ndjson", [reading("a", START + timedelta(seconds=second)) for second in (3600 + 800, 3 * 3600)]
    )
    run(tmp_path, tmp_path / "in.ndjson")
    assert list(means(tmp_path)["a"]) == [1 if share else 2, 3]


@pytest.mark.parametrize(("key", "value"), [("timezone", "Asia/Kolkata"), ("every", "25m")])
def test_what_fits_nothing_is_refused_where_it_is_read(tmp_path, key, value):
    write_city(tmp_path, "a", every=value if key == "every" else "1h")
    if key == "timezone":
        path = tmp_path / "city.toml"
        path.write_text(path.read_text().replace("Asia/Seoul", value))
    with pytest.raises(CityError, match=f"city.toml.*{value}.*give"):
        runs.city_of(tmp_path)
