"""``cityair run`` from outside: what it refuses, how it stops, and how it goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from flows import cli
from sinks import recovery_store as store
from sinks.catalog import catalog
from tests.support.commands import stdout_of
from tests.support.mounts import mount, unmount

COMMAND = Path(sys.executable).with_name("cityair")
STATIONS = ("a", "b", "c", "d")
CITY = '[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n' + "".join(
    f'[[stations]]\nid = "{name}"\nlat = 35\nlon = 128\n' for name in STATIONS
)
MIDNIGHT = datetime.fromisoformat("2026-03-02T00:00:00+09:00")
TOPIC = "env.air.rolling.v1.ndjson"
NEWEST = "station_id, parameter, window_length, ended_at, mean, count, coverage, valid"


def lines(first, last):
    """Readings of all stations from minute ``first`` to ``last``."""
    return [
        json.dumps(
            {
                "station_id": name,
                "observed_at": (MIDNIGHT + timedelta(minutes=m)).isoformat(),
                "pm10": 20 + m % 7 + i,
                "pm25": 9.5 + i,
            }
        )
        for m in range(first, last + 1)
        for i, name in enumerate(STATIONS)
    ]


def write(path, texts):
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def state_of(folder):
    """Every file of a folder with its bytes, but for locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and "recovery" not in path.parts
    }


def newest(lake):
    with catalog.connect(lake) as con:
        return con.execute(f"SELECT {NEWEST} FROM rolling ORDER BY ALL").fetchall()


def count(lake, table):
    with catalog.connect(lake) as con:
        return con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def run(monkeypatch, capfd):
    """Run ``cityair run air`` here: its exit status and what it said on stderr."""

    def run(*words, **places):
        options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
        monkeypatch.setattr(sys, "argv", ["cityair", "run", "air", *map(str, words), *options])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capfd.readouterr().err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of two hours: city, input, lake, store and output; made once, copied by each test."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "city.toml").write_text(CITY)
    write(folder / "air.ndjson", lines(1, 120))
    stdout_of("run", "air", *(word for name, place in places_in(folder).items() for word in (f"--{name}", place)))
    return folder


def places_in(folder):
    return {
        "city": folder / "city.toml",
        "input": folder / "air.ndjson",
        "lake": folder / "lake",
        "recovery": folder / "store",
        "output": folder / "out",
    }


@pytest.fixture
def places(made, tmp_path):
    """The finished run, at a place of this test's own."""
    shutil.copytree(made, tmp_path / "run")
    return places_in(tmp_path / "run")


@pytest.fixture
def fresh(tmp_path):
    """Nothing but a city and an input of two hours."""
    (tmp_path / "city.toml").write_text(CITY)
    write(tmp_path / "air.ndjson", lines(1, 120))
    return places_in(tmp_path)


# Words that do not fit


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["odour"], "no flow named 'odour'; known: air"),
        (["--lake", "lake"], "no input; give --input"),
        (["--input", "air.ndjson"], "no lake; give --lake"),
    ],
)
def test_words_that_do_not_fit_are_usage(run, words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run(*words)
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert says in said


def test_a_bad_city_file_is_named_with_its_key(run, fresh):
    fresh["city"].write_text(CITY.replace("lat = 35", "lat = 135", 1))
    status, said = run(**fresh)
    assert status == 3
    assert str(fresh["city"]) in said
    assert "stations[0] (" in said
    assert "$.lat" in said


def test_an_input_that_is_not_there(run, fresh):
    status, said = run(**{**fresh, "input": "nowhere.ndjson"})
    assert status == 3
    assert "nowhere.ndjson: no such file or folder" in said


@pytest.mark.parametrize("place", ["lake", "recovery", "output"])
def test_a_file_where_a_folder_should_be(run, fresh, place):
    fresh[place].write_text("mine")
    status, said = run(**fresh)
    assert status == 3
    assert str(fresh[place]) in said
    assert "cannot be" in said
    assert fresh[place].read_text() == "mine"


# Stores and lakes that do not belong together


@pytest.mark.parametrize(("place", "what"), [("lake", "lake"), ("recovery", "recovery store")])
def test_the_second_process_is_refused(run, places, tmp_path, place, what):
    with store.locked(
        places[place] / "air.lock" if place == "recovery" else places[place] / "_cityair" / "air.lock", "first"
    ):
        before = state_of(places["lake"])
        other = (
            {**places, "recovery": tmp_path / "other"} if place == "lake" else {**places, "lake": tmp_path / "other"}
        )
        status, said = run(**other)
    assert status == 3
    assert f"{what} {places[place]} is in use by another process (pid {os.getpid()})" in said
    assert state_of(places["lake"]) == before


def test_a_lost_store_is_refused_and_nothing_is_wiped(run, places):
    shutil.rmtree(places["recovery"])
    del places["output"]
    before = state_of(places["lake"])
    for _ in range(2):  # the empty store that the first try leaves must not be taken for the right one
        status, said = run(**places)
        assert status == 3
        assert "this recovery store is empty" in said
        assert "cityair rebuild --recovery" in said
        assert state_of(places["lake"]) == before


def test_output_of_another_store_is_refused_and_not_cut(run, places, tmp_path):
    before = (places["output"] / TOPIC).read_bytes()
    assert before
    status, said = run(**{**places, "lake": tmp_path / "lake", "recovery": tmp_path / "store"})
    assert status == 3
    assert "was written with another recovery store" in said
    assert (places["output"] / TOPIC).read_bytes() == before


def test_an_older_store_is_refused_and_nothing_is_cut(run, places, tmp_path):
    shutil.copytree(places["recovery"], tmp_path / "older")
    write(places["input"], lines(1, 180))
    assert run(**places)[0] == 0
    lake, output = state_of(places["lake"]), state_of(places["output"])
    status, said = run(**{**places, "recovery": tmp_path / "older"})
    assert status == 3
    assert "do not belong together" in said
    assert "cityair rebuild --recovery" in said
    assert state_of(places["lake"]) == lake
    assert state_of(places["output"]) == output
    assert run(**places)[0] == 0, "the right store still fits"


def test_a_store_of_another_lake_is_refused(run, places, fresh):
    assert run(**fresh)[0] == 0
    write(fresh["input"], lines(1, 180))
    before = state_of(places["lake"])
    status, said = run(**{**fresh, "lake": places["lake"]})
    assert status == 3
    assert "do not belong together" in said
    assert str(places["lake"]) in said
    assert state_of(places["lake"]) == before


def test_a_lake_deleted_under_its_store_is_refused(run, places):
    shutil.rmtree(places["lake"])
    output = state_of(places["output"])
    status, said = run(**places)
    assert status == 3
    assert "do not belong together" in said
    assert str(places["lake"]) in said
    assert state_of(places["output"]) == output


# Input that changed under the store


def test_an_input_changed_truncated_or_vanished(run, places, tmp_path):
    whole = places["input"].read_text()
    before = state_of(places["lake"])
    for text, says in (
        (whole.replace("20", "30", 1), "its head differs"),
        (whole[:-100], "changed under this recovery store"),
    ):
        places["input"].write_text(text)
        status, said = run(**places)
        assert status == 3
        assert str(places["input"]) in said
        assert says in said
    status, said = run(**{**places, "input": "-"})
    assert status == 3
    assert "standard input cannot be read a second time" in said
    assert state_of(places["lake"]) == before


# Going on


def test_a_finished_run_started_again_changes_nothing(run, places):
    before, means = state_of(places["lake"]), newest(places["lake"])
    status, said = run(**places)
    assert status == 0
    assert "0 readings" in said
    assert state_of(places["lake"]) == before
    assert newest(places["lake"]) == means
    assert len(means) > 300


def test_a_file_that_grew_goes_on(run, places, fresh):
    longer = lines(1, 200)
    for upto in (500, len(longer)):
        write(places["input"], longer[:upto])
        status, said = run(**places)
        assert status == 0
    assert "300 readings" in said
    write(fresh["input"], longer)
    assert run(**fresh)[0] == 0
    assert newest(places["lake"]) == newest(fresh["lake"])
    assert count(places["lake"], "air_readings") == len(longer)


def test_too_many_rejects_are_a_status_of_their_own(run, fresh):
    write(fresh["input"], [*lines(1, 10), *["{"] * 10])
    status, said = run("--max-rejects", "0.1", **fresh)
    assert status == 6
    assert "20.00% of 50 readings were refused, more than 10.00%" in said


def start(**places):
    """Start the command by itself, in short epochs."""
    words = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    environment = {**os.environ, "CITYAIR_EPOCH": "50ms", "RUST_BACKTRACE": "0"}
    return subprocess.Popen([COMMAND, "run", "air", *words], stderr=subprocess.PIPE, env=environment)


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.005)


def test_sigterm_stops_midway_and_closes_no_window(run, fresh, tmp_path):
    texts = lines(1, 16_000)
    write(fresh["input"], texts)
    process = start(**fresh)
    wait_for(lambda: any(fresh["lake"].glob("ledger/dt=*/*.parquet")), process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=240)[1].decode()
    assert process.returncode == 130, said
    so_far = count(fresh["lake"], "air_readings")
    assert 0 < so_far < len(texts), "the signal came midway"
    assert max(row[3] for row in newest(fresh["lake"])) < MIDNIGHT + timedelta(minutes=-(-so_far // len(STATIONS)))
    assert run(**fresh)[0] == 0
    calm = {**fresh, **{name: tmp_path / "calm" / name for name in ("lake", "recovery", "output")}}
    assert run(**calm)[0] == 0
    assert newest(fresh["lake"]) == newest(calm["lake"])
    assert count(fresh["lake"], "air_readings") == len(texts)
    assert (fresh["output"] / TOPIC).read_bytes() == (calm["output"] / TOPIC).read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 1 MB, and a way to make it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    mount(place, "1m")
    yield place, lambda: mount(place, "64m", "remount")
    unmount(place)


@pytest.mark.mount
@pytest.mark.parametrize("full", [("lake", "output"), ("recovery",)], ids="+".join)
def test_a_full_disk_stops_clearly_and_loses_nothing(run, fresh, tmp_path, small_disk, full):
    disk, enlarge = small_disk
    texts = lines(1, 3000)
    write(fresh["input"], texts)
    (disk / "ballast").write_bytes(bytes(900_000 if "recovery" in full else 500_000))
    places = {**fresh, **{name: disk / name for name in full}}
    process = start(**places)
    said = process.communicate(timeout=240)[1].decode()
    assert process.returncode == 3, said[-3000:]
    assert "No space left on device" in said
    assert "free some space and start again" in said
    enlarge()
    assert run(**places)[0] == 0
    calm = {**fresh, **{name: tmp_path / "calm" / name for name in ("lake", "recovery", "output")}}
    assert run(**calm)[0] == 0
    assert newest(places["lake"]) == newest(calm["lake"])
    assert count(places["lake"], "air_readings") == len(texts)
    assert (places["output"] / TOPIC).read_bytes() == (calm["output"] / TOPIC).read_bytes()
