"""The kill script, shortened: a file played under kill -9 gives what an undisturbed run gives."""

import pickle
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from flows import air
from flows.zone.zone import Zone
from schemas.city import parse

STATIONS = "abcd"
CITY = '[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n' + "".join(
    f'[[stations]]\nid = "{name}"\nlat = 35\nlon = 128\n' for name in STATIONS
)
MIDNIGHT = datetime.fromisoformat("2026-03-02T00:00:00+09:00")


def test_kill_9_loses_nothing_and_doubles_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill", "--kills", "6"],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    *_, figures = done.stdout.splitlines()
    assert figures.startswith("6 kills"), figures
    assert figures.endswith("means: equal"), figures


def test_a_zone_restored_between_any_two_batches_gives_the_same_means():
    """Four days, so that the grid moves between snapshots."""
    city = parse(CITY.encode())
    lines = b"".join(
        b'{"station_id": "%c", "observed_at": "%s", "pm10": %d}\n'
        % (name, (MIDNIGHT + timedelta(minutes=minute)).isoformat().encode(), 20 + minute % 7)
        for minute in range(1, 5761)
        for name in STATIONS.encode()
    ).splitlines(keepends=True)
    found = []
    for restored in (False, True):
        zone, decoder, newest = Zone(city, "city"), air.decoder(city), {}
        for begin in range(0, len(lines), 4096):
            readings, _, count = decoder.lines(0, begin, b"".join(lines[begin : begin + 4096]))
            for means in zone.take(readings, last=begin + count == len(lines)).evaluated.means:
                names = zip(
                    *(getattr(means, name).tolist() for name in ("ended", "station", "window", "parameter")),
                    strict=True,
                )
                newest |= dict(zip(names, zip(means.total.tolist(), means.count.tolist(), strict=True), strict=True))
            if restored:
                kept = pickle.loads(pickle.dumps(zone.snapshot()))
                zone = Zone(city, "city")
                zone.restore(kept)
        found.append(newest)
    assert found[0] == found[1]
