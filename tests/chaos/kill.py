"""Proof of exactly-once: kill -9 while a file is played, many times over, and compare with an undisturbed run.

    python -m tests.chaos.kill --kills 100 [--minutes N] [--seed N]

A recording of 50 stations, with late readings, duplicates and garbage, is played through the real command in epochs of
0.1 s. Processes die at failpoints (``sinks/failpoints.py``) and at random times, most of them between start-up and the
first epochs; each restart goes on. Then every table, the ledger and the output files must equal an undisturbed run's.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.city_air import file_city, record
from tests.chaos.compare import NEWEST, lake_faults, row_counts, view_differences

COMMAND = Path(sys.executable).with_name("cityair")
EPOCH = "0.1s"
FAILPOINTS = ("lake.before_files", "lake.after_files", "lake.before_commit", "lake.after_commit", "files.after_sync")
FAILPOINT_CHANCE = 0.08
"""Chance to die at each pass of a failpoint: with nine tables an epoch is survived about one time in three."""
MINUTES_A_KILL = 75
"""Recorded air that lasts for about one kill."""
MIN_MINUTES = 4500
"""Three days: the grid holds little more than two, so it moves between kills."""
TIMED_SHARE = 0.4
"""Share of starts that are killed by the clock and not at a failpoint."""
MAX_RUN_S = 600


def main(words: list[str] | None = None) -> int:
    """Play, kill, compare, and print the figures in the last line; 0 if all is equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kill", description="kill -9 while a file is played")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=int, help=f"length of the recording; {MINUTES_A_KILL} a kill if left out")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    minutes = options.minutes or max(MIN_MINUTES, MINUTES_A_KILL * options.kills)
    with tempfile.TemporaryDirectory(prefix="cityair-kill-") as folder:
        faults, figures = prove(Path(folder), options.kills, minutes, options.seed)
    for fault in faults:
        print(f"NOT EQUAL: {fault}")
    print(figures)
    return bool(faults)


def prove(folder: Path, kills: int, minutes: int, seed: int) -> tuple[list[str], str]:
    """Kill a run ``kills`` times; return its differences from an undisturbed run, and the figures in one line."""
    (folder / "city.toml").write_text(file_city())
    record(folder / "air.ndjson", minutes, seed)
    start_up_s = seconds_of_a_start(folder)
    began = time.monotonic()
    calm = subprocess.Popen(command(folder, "calm"), stderr=subprocess.PIPE, env=environment())
    try:
        deaths = play_and_kill(folder, kills, random.Random(seed), start_up_s)
        stderr = calm.communicate(timeout=MAX_RUN_S)[1].decode()
    finally:
        calm.kill()
    if calm.returncode:
        return [f"the undisturbed run ended with {calm.returncode}: {stderr[-2000:]}"], "nothing to compare"
    faults = [
        *view_differences(folder / "lake-calm", folder / "lake-killed", NEWEST),
        *file_differences(folder / "out-calm", folder / "out-killed"),
        *lake_faults(folder / "lake-killed"),
    ]
    readings, rejects, means = row_counts(folder / "lake-killed", "air_readings", "rejects", "rolling")
    return faults, (
        f"{shown(deaths)} in {time.monotonic() - began:.0f} s; "
        f"{readings} readings and {rejects} rejects once each, {means} means: {'DIFFERENT' if faults else 'equal'}"
    )


def shown(deaths: Counter[str]) -> str:
    """How many died where.

    >>> shown(Counter({"at random": 3, "at failpoints": 4}))
    '7 kills (4 at failpoints, 3 at random)'
    """
    return f"{deaths.total()} kills ({', '.join(f'{count} {where}' for where, count in sorted(deaths.items()))})"


def seconds_of_a_start(folder: Path) -> float:
    """Seconds that the real command takes over an empty recording."""
    (folder / "nothing.ndjson").touch()
    began = time.monotonic()
    subprocess.run(command(folder, "nothing", "nothing.ndjson"), check=True, capture_output=True, env=environment())
    return time.monotonic() - began


def command(folder: Path, name: str, recording: str = "air.ndjson") -> list[str]:
    """The real command with a lake, a store and an output of its own."""
    options = {
        "--city": "city.toml",
        "--input": recording,
        "--lake": f"lake-{name}",
        "--recovery": f"store-{name}",
        "--output": f"out-{name}",
    }
    words = [word for option, path in options.items() for word in (option, str(folder / path))]
    return [str(COMMAND), "run", "air", *words]


def environment(chance: float = 0.0) -> dict[str, str]:
    """Variables of a run that dies at each pass of a failpoint with this chance."""
    failpoints = ",".join(f"{point}:{chance}" for point in FAILPOINTS) if chance else ""
    return {**os.environ, "CITYAIR_EPOCH": EPOCH, "CITYAIR_CRASH": failpoints}


def play_and_kill(folder: Path, kills: int, dice: random.Random, start_up_s: float) -> Counter[str]:
    """Start until it has died so many times, then let it end; count the deaths by where they were.

    Raises:
        RuntimeError: a start ended by itself with an error.
    """
    deaths: Counter[str] = Counter()
    ended = False
    while True:
        unfinished = deaths.total() < kills
        timed = unfinished and (ended or dice.random() < TIMED_SHARE)
        chance = FAILPOINT_CHANCE if unfinished and not timed else 0.0
        process = subprocess.Popen(command(folder, "killed"), stderr=subprocess.PIPE, env=environment(chance))
        try:
            timeout_s = dice.uniform(0.7, 1.6) * start_up_s if timed else MAX_RUN_S
            stderr = process.communicate(timeout=timeout_s)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            deaths["at random after the end" if ended else "at random"] += 1
            continue
        if process.returncode == -9:
            deaths["at failpoints"] += 1
        elif process.returncode:
            raise RuntimeError(f"exit {process.returncode} after {deaths.total()} kills: {stderr[-2000:]}")
        elif unfinished:
            ended = True
        else:
            return deaths


def file_differences(calm: Path, killed: Path) -> Iterator[str]:
    """Output files that are not the same bytes, or empty."""
    for file in sorted(calm.glob("*.ndjson")):
        expected, actual = file.read_bytes(), (killed / file.name).read_bytes()
        if not expected or expected != actual:
            yield f"{file.name}: {len(expected):,} bytes and {len(actual):,}"


if __name__ == "__main__":
    sys.exit(main())
