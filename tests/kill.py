"""Proof of exactly-once: kill -9 while a file is played, as often as asked, and compare with an undisturbed run.

    python -m tests.kill --kills 100 [--minutes N] [--seed N]

A recording of 50 stations, with late readings, duplicates and garbage, is played through the real command in epochs of
0.1 s. Processes die at planted points (``sinks/failpoints.py``) and at random times, most of them between start-up and the
first epochs; each restart goes on. Then every table, the books and the output files must equal an undisturbed run's.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.maintenance.audit import audit

COMMAND = Path(sys.executable).with_name("cityair")
EPOCH = "0.1s"
POINTS = ("lake.before_files", "lake.after_files", "lake.before_commit", "lake.after_commit", "files.after_sync")
SHARE = 0.08
"""Chance to die at each pass of a planted point: with five tables an epoch is survived about one time in three."""
MINUTES_A_KILL = 75
"""So much recorded air lasts for about one kill."""
SHORTEST = 4500
"""Three days: the grid holds little more than two, so it moves between kills."""
TIMED = 0.4
"""Share of starts that are killed by the clock and not at a planted point."""
LONGEST = 600
SEOUL = timezone(timedelta(hours=9))
BEGIN = datetime(2026, 3, 2, tzinfo=SEOUL)
FAST, HOURLY = 48, 2
PARAMETERS = {"pm10": (50, 1), "pm25": (28, 1), "o3": (0.03, 4), "no2": (0.02, 4), "co": (0.4, 2), "so2": (0.003, 4)}
GARBAGE = (
    b"\xff\xfe\x00 not text",
    b"{",
    b"[1, 2]",
    b"",
    b'{"station_id": "s-01"}',
    b'{"station_id": "nowhere", "observed_at": "2026-03-02T00:01:00+09:00", "pm10": 1}',
    b'{"station_id": "s-02", "observed_at": "2031-03-02T00:01:00+09:00", "pm10": 1}',
    b'{"station_id": "s-03", "observed_at": "2019-03-02T00:01:00+09:00", "pm10": 1}',
)
NEWEST = {
    "rolling": "zone, station_id, parameter, window_length, ended_at, mean, count, expected, coverage, suspect, valid",
    "flags": "zone, station_id, parameter, ended_at, flag, tests",
    "air_readings": "* EXCLUDE (received_at, dt)",
    "rejects": "topic, kpart, koff, reason, detail, payload",
    "ledger_totals": "* EXCLUDE (received_at)",
}
"""What of each view must be equal; a clock or a revision's size need not be."""


def main(words: list[str] | None = None) -> int:
    """Play, kill, compare, and say in the last line what was seen; 0 if all is equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description="kill -9 while a file is played")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=int, help=f"length of the recording; {MINUTES_A_KILL} a kill if left out")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    minutes = asked.minutes or max(SHORTEST, MINUTES_A_KILL * asked.kills)
    with tempfile.TemporaryDirectory(prefix="cityair-kill-") as folder:
        faults, figures = prove(Path(folder), asked.kills, minutes, asked.seed)
    for fault in faults:
        print(f"NOT EQUAL: {fault}")
    print(figures)
    return bool(faults)


def prove(folder: Path, kills: int, minutes: int, seed: int) -> tuple[list[str], str]:
    """Return what differs between a run killed ``kills`` times and an undisturbed one, and the figures in one line."""
    city, recording = folder / "city.toml", folder / "air.ndjson"
    city.write_text(city_file())
    record(recording, minutes, seed)
    start_up = seconds_of_a_start(folder)
    began = time.monotonic()
    calm = subprocess.Popen(command(folder, "calm"), stderr=subprocess.PIPE, env=environment())
    try:
        landed = play_and_kill(folder, kills, random.Random(seed), start_up)
        said = calm.communicate(timeout=LONGEST)[1].decode()
    finally:
        calm.kill()
    if calm.returncode:
        return [f"the undisturbed run ended with {calm.returncode}: {said[-2000:]}"], "nothing to compare"
    faults = [*differences(folder), *books(folder / "lake-killed")]
    with catalog.connect(folder / "lake-killed") as con:
        readings, rejects, means = (
            con.execute(f"SELECT count(*) FROM {view}").fetchone()[0] for view in ("air_readings", "rejects", "rolling")
        )
    at = ", ".join(f"{count} {what}" for what, count in sorted(landed.items()))
    return faults, (
        f"{landed.total()} kills ({at}) in {time.monotonic() - began:.0f} s; "
        f"{readings} readings and {rejects} rejects once each, {means} means: {'DIFFERENT' if faults else 'equal'}"
    )


def city_file() -> str:
    """Write a city of 48 stations by the minute and two by the hour."""
    stations = [
        {"id": f"s-{i:02d}", "lat": 35.1 + i / 100, "lon": 128.8, "every": "1m" if i < FAST else "1h"}
        for i in range(FAST + HOURLY)
    ]
    lines = ["[city]", 'id = "kill"', 'name = "Kill"', 'timezone = "Asia/Seoul"']
    for station in stations:
        lines += ["[[stations]]", *(f"{key} = {json.dumps(value)}" for key, value in station.items())]
    return "\n".join(lines) + "\n"


def record(path: Path, minutes: int, seed: int) -> None:
    """Write readings in the order they came: 2 % hours late, 3 % twice, 1 % garbage among them."""
    dice = random.Random(seed)
    held: dict[int, list[bytes]] = {}
    with path.open("wb") as file:
        for minute in range(1, minutes + 1):
            for line in [*readings(minute, dice), *held.pop(minute, [])]:
                chance = dice.random()
                if chance < 0.02:
                    held.setdefault(minute + dice.randint(1, 180), []).append(line)
                else:
                    file.write(line + b"\n")
                if 0.02 < chance < 0.05:
                    held.setdefault(minute + dice.randint(1, 30), []).append(line)
                if 0.05 < chance < 0.06:
                    file.write(dice.choice(GARBAGE) + b"\n")
        file.write(b'{"station_id": "s-00", "padding": "' + b"x" * (1 << 20) + b'"}\n')


def readings(minute: int, dice: random.Random) -> Iterator[bytes]:
    """Yield what stations say in a minute; 2 % say nothing, and one reading in 2,000 is out of range."""
    at = (BEGIN + timedelta(minutes=minute)).isoformat()
    for station in range(FAST + HOURLY if minute % 60 == 0 else FAST):
        if dice.random() < 0.02:
            continue
        values = {name: round(level * dice.uniform(0.8, 1.2), digits) for name, (level, digits) in PARAMETERS.items()}
        if dice.random() < 0.0005:
            values["pm10"] = dice.choice((-400.0, 300.0, 5000.0))
        yield json.dumps({"station_id": f"s-{station:02d}", "observed_at": at, **values}).encode()


def seconds_of_a_start(folder: Path) -> float:
    """Seconds that the real command takes over a recording in which nothing is."""
    (folder / "nothing.ndjson").touch()
    began = time.monotonic()
    subprocess.run(command(folder, "nothing", "nothing.ndjson"), check=True, capture_output=True, env=environment())
    return time.monotonic() - began


def command(folder: Path, name: str, recording: str = "air.ndjson") -> list[str]:
    """Name the real command with a lake, store and output of its own."""
    places = {"--city": "city.toml", "--input": recording}
    places |= {
        option: f"{short}-{name}"
        for option, short in (("--lake", "lake"), ("--recovery", "store"), ("--output", "out"))
    }
    return [
        str(COMMAND),
        "run",
        "air",
        *(word for option, place in places.items() for word in (option, str(folder / place))),
    ]


def environment(share: float = 0.0) -> dict[str, str]:
    """Plant crashes with this share of chance."""
    planted = ",".join(f"{point}:{share}" for point in POINTS) if share else ""
    return {**os.environ, "CITYAIR_EPOCH": EPOCH, "CITYAIR_CRASH": planted}


def play_and_kill(folder: Path, kills: int, dice: random.Random, start_up: float) -> Counter[str]:
    """Start until so many kills have landed, then let it end; count what landed where.

    Raises:
        RuntimeError: a start ended by itself and not well.
    """
    landed: Counter[str] = Counter()
    ended = False
    while True:
        more = landed.total() < kills
        timed = more and (ended or dice.random() < TIMED)
        process = subprocess.Popen(
            command(folder, "killed"), stderr=subprocess.PIPE, env=environment(SHARE if more and not timed else 0.0)
        )
        try:
            said = process.communicate(timeout=dice.uniform(0.7, 1.6) * start_up if timed else LONGEST)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            landed["at random after the end" if ended else "at random"] += 1
            continue
        if process.returncode == -9:
            landed["at planted points"] += 1
        elif process.returncode:
            raise RuntimeError(f"exit {process.returncode} after {landed.total()} kills: {said[-2000:]}")
        elif more:
            ended = True
        else:
            return landed


def differences(folder: Path) -> Iterator[str]:
    """Find what the killed run has and the undisturbed has not, or the other way round."""
    with catalog.connect(folder / "lake-calm") as calm, catalog.connect(folder / "lake-killed") as killed:
        for view, columns in NEWEST.items():
            one, other = (
                con.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table() for con in (calm, killed)
            )
            if not one.num_rows:
                yield f"{view} is empty: nothing was proved"
            if not one.equals(other):
                yield f"{view}: {one.num_rows} rows and {other.num_rows}, first {first_difference(one, other)}"
    for file in sorted((folder / "out-calm").glob("*.ndjson")):
        one, other = file.read_bytes(), (folder / "out-killed" / file.name).read_bytes()
        if not one or one != other:
            yield f"{file.name}: {len(one):,} bytes and {len(other):,}"


def first_difference(one: Any, other: Any) -> str:
    """Show a row that only one of two tables has."""
    with duckdb.connect() as con:
        con.register("one", one)
        con.register("other", other)
        return str(
            con.execute(
                "(FROM one EXCEPT ALL FROM other) UNION ALL (FROM other EXCEPT ALL FROM one) ORDER BY ALL LIMIT 2"
            ).fetchall()
        )


def books(lake: Path) -> Iterator[str]:
    """Find books that do not balance, doubles, holes, and data files that no log knows."""
    yield from audit(lake).faults
    with catalog.connect(lake) as con:
        everything = "(SELECT koff FROM air_readings UNION ALL SELECT koff FROM rejects)"
        count, distinct, last = con.execute(
            f"SELECT count(*), count(DISTINCT koff), max(koff) FROM {everything}"
        ).fetchone()
        if not count == distinct == last + 1:
            yield f"offsets up to {last}: {count} rows of {distinct} offsets"
        twice = con.execute(
            "SELECT count(*) FROM (FROM rolling_history SELECT count(*) AS n "
            "GROUP BY station_id, parameter, window_length, ended_at, revision HAVING n > 1)"
        ).fetchone()[0]
        if twice:
            yield f"{twice} revisions of means are there twice"
    for table in TABLES:
        listed = set(DeltaTable(str(lake / table)).file_uris())
        strays = [path for path in (lake / table).glob("dt=*/*.parquet") if str(path) not in listed]
        if strays:
            yield f"{table}: {len(strays)} stray files, first {strays[0].name}"


if __name__ == "__main__":
    sys.exit(main())
