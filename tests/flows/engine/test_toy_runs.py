"""The toy flow beside the air flow, as processes over one input: alone, killed, and rebuilt, the rows are the same."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.maintenance.audit import audit
from tests.support import toy
from tests.support.toy_air import air
from tests.support.until import until

ROOT = Path(__file__).parents[3]
TOY = "tests.support.toy_deployed:FLOW"
UNLIKE = {"ledger", "rejects"}
"""Tables that tell of one run, and not of the air."""
CITY = """
[city]
id = "t"
name = "T"
timezone = "Asia/Seoul"
[[stations]]
id = "a"
lat = 35.2
lon = 128.9
every = "10m"
zone = "city"
[[lights]]
id = "toy-1"
lat = 35.2
lon = 128.9
stations = ["d", "e"]
"""
STATION = '[[stations]]\nid = "{}"\nlat = 35.2\nlon = 128.9\nevery = "{}"\nzone = "toy"\n'


@pytest.fixture(scope="module", autouse=True)
def _deployed():
    with pytest.MonkeyPatch.context() as patch:
        for name, table in toy.TOY_TABLES.items():
            patch.setitem(TABLES, name, table)
        yield


def lines():
    """Lines of both flows in the order of their times, with what both refuse and what each refuses."""
    listed = []
    for second, name, measured in air(days=5):
        at = datetime.fromtimestamp(second, UTC).isoformat()
        if measured is None:
            listed.append({"report_id": name, "reported_at": at, "lat": 35.2, "lon": 128.9, "text": "stinks"})
            continue
        listed.append({"sensor_id": name, "observed_at": at, **measured})
        if name == "d":
            listed.append({"station_id": "a", "observed_at": at, **measured})
    listed.insert(100, {"nobody": 1})
    listed.insert(101, {"station_id": "z", "observed_at": "2026-01-01T09:00:00Z"})
    listed.insert(102, {"sensor_id": "z", "observed_at": "2026-01-01T09:00:00Z"})
    listed.insert(103, {"report_id": "bad", "reported_at": "noon"})
    return [json.dumps(line) for line in listed]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    names = "".join(
        STATION.format(name, every) for name, every in (("d", "10m"), ("e", "10m"), ("f", "1h"), ("g", "1h"))
    )
    (folder / "city.toml").write_text(CITY.replace("[[lights]]", f"{names}[[lights]]"))
    (folder / "input").mkdir()
    (folder / "input" / "1.ndjson").write_text("\n".join(lines()) + "\n")
    return folder


def command(*words):
    return [sys.executable, "-c", "from flows.cli import main; main()", *map(str, words)]


def start(place, lake, *flows, input=None, epoch="5s"):
    words = (
        "run",
        *flows,
        "--city",
        place / "city.toml",
        "--input",
        input or place / "input",
        "--lake",
        lake,
        "--json",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CITYAIR_EPOCH": epoch}
    return subprocess.Popen(
        command(*words), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*args, **options):
    process = start(*args, **options)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out)


def newest(lake):
    """Newest rows of every table, without what tells of the run."""
    rows = {}
    with catalog.connect(lake) as con:
        for name, table in TABLES.items():
            if name in UNLIKE:
                continue
            left_out = [column for column in ("received_at", "revision") if column in table.schema.names]
            columns = f"* EXCLUDE ({', '.join(left_out)})" if left_out else "*"
            chosen = "WHERE NOT withdrawn" if name == "toy_objects" else ""
            if listed := con.sql(f"SELECT {columns} FROM {name} {chosen}").fetchall():
                rows[name] = sorted(listed, key=repr)
        rows["rejects"] = sorted(con.sql("SELECT flow, koff, reason, detail FROM rejects").fetchall(), key=repr)
    return rows


@pytest.fixture(scope="module")
def alone(place):
    """Rows of each flow alone."""
    reports = {flow: run(place, place / name, flow) for flow, name in (("air", "air"), (TOY, "toy"))}
    return {flow: newest(place / name) for flow, name in (("air", "air"), (TOY, "toy"))}, reports


def test_each_gives_beside_the_other_what_it_gives_alone(place, alone):
    rows, reports = alone
    both = run(place, place / "both", "air", TOY)
    for flow, report in both.items():
        assert {**report, "seconds": 0} == {**reports[flow], "seconds": 0}
    together = newest(place / "both")
    tables = rows["air"].keys() | rows[TOY].keys()
    assert together == {
        name: sorted([*rows["air"].get(name, []), *rows[TOY].get(name, [])], key=repr) for name in tables
    }
    assert [(flow, reason) for flow, _, reason, _ in together["rejects"]] == [
        *[("air", "contract"), ("air", "unknown_station")],
        *[("toy", "contract"), ("toy", "unknown_station"), ("toy", "contract")],
    ]
    n = len(lines())
    for report in both.values():
        assert report["received"] + report["other"] == n
    assert audit(place / "both").faults == []


def count_files(lake):
    return sum(len(files) for _, _, files in os.walk(lake))


def test_killed_again_and_again_the_rows_are_the_same(place, alone):
    lake, chance, kills = place / "killed", random.Random(1), 0
    while True:
        files = count_files(lake)
        process = start(place, lake, TOY, epoch="0.05s")
        wanted = files + (chance.randrange(1, 25) if kills < 5 else 1_000_000)
        while process.poll() is None and count_files(lake) < wanted:
            time.sleep(0.002)
        ended = process.poll()
        process.kill()
        _, err = process.communicate()
        if ended is not None:
            assert ended == 0, err
            break
        kills += 1
    assert kills > 3
    assert newest(lake) == alone[0][TOY]
    assert audit(lake).faults == []


def test_a_lost_store_is_rebuilt_and_goes_on(place, alone, tmp_path):
    text, folder, lake = lines(), tmp_path / "input", tmp_path / "lake"
    folder.mkdir()
    cut = int(len(text) * 0.9)
    (folder / "1.ndjson").write_text("\n".join(text[:cut]) + "\n")
    run(place, lake, TOY, input=folder)
    shutil.rmtree(lake / "_cityair" / "recovery" / "toy")
    words = ("rebuild", TOY, "--city", place / "city.toml", "--input", folder, "--lake", lake, "--json")
    rebuilt = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, check=False)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert json.loads(rebuilt.stdout)["replayed"] > 1000
    with (folder / "1.ndjson").open("a") as file:
        file.write("\n".join(text[cut:]) + "\n")
    run(place, lake, TOY, input=folder)
    expected = alone[0][TOY]
    found = newest(lake)
    for table in expected:
        if table not in ("light_states",):  # a light goes on from what it was last told
            assert found[table] == expected[table], table
    assert audit(lake).faults == []


def wait_for_stores(lake, *flows):
    """Wait until these flows have opened their recovery stores."""
    stores = [lake / "_cityair" / "recovery" / flow for flow in flows]
    until(lambda: all(store.is_dir() for store in stores), lambda: "a flow has not opened its recovery store")


def test_a_signal_goes_to_all(place, tmp_path):
    process = start(place, tmp_path / "lake", "air", TOY, epoch="0.2s")
    wait_for_stores(tmp_path / "lake", "air", "toy")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode in (0, 130), err
    assert (process.returncode == 130) == any(
        report is None or report["stopped"] for report in json.loads(out).values()
    )


def test_one_that_cannot_start_does_not_stop_the_others(place, tmp_path):
    lake = tmp_path / "lake"
    run(place, lake, TOY)
    shutil.rmtree(lake / "_cityair" / "recovery" / "toy")
    process = start(place, lake, "air", TOY)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    assert json.loads(out)["air"]["received"] > 0
    assert json.loads(out)[TOY] is None
    assert f"{TOY}: cityair: " in err
    assert f"{TOY}: ended with exit status 3" in err


def test_a_flow_that_is_not_there_is_named(place, tmp_path):
    process = start(place, tmp_path / "lake", "air", "tests.support.toy_deployed:LOST")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 2
    assert "no flow at 'tests.support.toy_deployed:LOST'" in err
