"""Hostile input through the whole command: each message is a reject with its reason, and memory stays bounded."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.rejected import MAX_KEPT_BYTES
from sinks.catalog import catalog
from tests.support.runs import CITY, STATIONS, line

COMMAND = Path(sys.executable).with_name("cityair")
AT = '"observed_at": "2026-03-02T00:30:30+09:00"'
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
"""A process between: what the system calls the most memory of a child begins with that of its parent."""
HOSTILE = [
    (b"", "undecodable"),
    (b"null", "contract"),
    (b"[]", "contract"),
    (b"\xef\xbb\xbf{", "undecodable"),
    (b"\xff\xfe\x00\x01", "undecodable"),
    (b'{"station_id": "a\xff", ' + AT.encode() + b"}", "undecodable"),
    (b"[" * 100_000, "contract"),
    (b'{"x":' * 20_000, "undecodable"),
    (f'{{"station_id": "a", {AT}, "pm10": NaN}}'.encode(), "undecodable"),
    (f'{{"station_id": "a", {AT}, "pm10": "12#"}}'.encode(), "contract"),
    (f'{{"station_id": "a", {AT}, "pm10": 1, "pm10": 2}}'.encode(), "contract"),
    (f'{{"station_id": "../../x", {AT}, "pm10": 1}}'.encode(), "unknown_station"),
    (f'{{"station_id": "", {AT}, "pm10": 1}}'.encode(), "unknown_station"),
    (f'{{"station_id": 7, {AT}, "pm10": 1}}'.encode(), "contract"),
    (b'{"station_id": "a", "observed_at": "0001-01-01T00:00:00+23:59", "pm10": 1}', "contract"),
    (b'{"station_id": "a", "observed_at": "9999-12-31T23:59:59-23:59", "pm10": 1}', "contract"),
    (b'{"station_id": "a", "observed_at": "2026-03-02T00:30:00", "pm10": 1}', "contract"),
    (b'{"station_id": "a", "observed_at": "2099-03-02T00:00:00+09:00", "pm10": 1}', "future"),
    (b'{"station_id": "a", "observed_at": "1999-03-02T00:00:00+09:00", "pm10": 1}', "too_late"),
    (b'{"station_id": "a", "observed_at": "2026-03-02T00:01:00+09:00", "pm10": 1, "pm25": 1}', "superseded"),
    (b'{"station_id": "a", "padding": "' + b"x" * (1 << 20) + b'"}', "too_large"),
]
"""What no one should send, and the reason it is refused for."""


def good(minutes=120):
    return [
        line(name, m, pm10=20 + m % 7, pm25=9.5).strip().encode() for m in range(1, minutes + 1) for name in STATIONS
    ]


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Play lines, or a file, through the command: its lake, what it printed, and the most memory it took in MiB."""

    def play(lines):
        folder = tmp_path_factory.mktemp("play")
        (folder / "city.toml").write_text(CITY)
        source = folder / "air.ndjson"
        source.write_bytes(b"".join(text + b"\n" for text in lines))
        words = [
            COMMAND,
            "run",
            "air",
            "--json",
            "--city",
            folder / "city.toml",
            "--input",
            source,
            "--lake",
            folder / "lake",
        ]
        done = subprocess.run([sys.executable, "-c", MEASURED, *words], check=False, capture_output=True)
        *messages, memory = done.stderr.decode().splitlines()
        assert done.returncode == 0, messages
        source.unlink()
        return folder / "lake", json.loads(done.stdout), int(memory) / 1024

    return play


def rows(lake, query):
    with catalog.connect(lake) as con:
        return con.execute(query).fetchall()


MEANS = "SELECT station_id, parameter, window_length, ended_at, mean, count, coverage, valid FROM rolling ORDER BY ALL"


@pytest.fixture(scope="module")
def clean(play):
    return rows(play(good())[0], MEANS)


def test_hostile_lines_among_good_ones_cost_only_themselves(play, clean):
    dice = random.Random(5)
    lines = good()
    hostile = [text for text, _ in HOSTILE]
    # Behind the first minutes, so that the zone has a clock and a duplicate is the second of its kind.
    places = sorted(dice.randint(60, len(lines)) for _ in hostile)
    for place, text in zip(reversed(places), reversed(hostile), strict=True):
        lines.insert(place, text)
    lake, printed, memory = play(lines)
    found = rows(lake, "SELECT reason, detail, octet_length(payload), payload FROM rejects ORDER BY koff")
    assert sorted(row[0] for row in found) == sorted(reason for _, reason in HOSTILE)
    reason_of = {text[:MAX_KEPT_BYTES]: reason for text, reason in HOSTILE}
    for text, (reason, detail, size, payload) in zip(
        sorted(hostile), sorted(found, key=lambda row: row[3]), strict=True
    ):
        assert reason == reason_of[payload]
        assert detail
        assert size <= MAX_KEPT_BYTES
        assert payload == text[:MAX_KEPT_BYTES]
    assert printed["received"] == len(lines)
    assert printed["stored"] == len(good())
    assert rows(lake, MEANS) == clean
    assert memory < 600


def test_a_line_of_100_mb_is_one_reject_and_memory_stays_bounded(play, clean):
    lines = good()
    lines.insert(100, b'{"station_id": "a", "pm10": [' + b"1," * 50_000_000 + b"1]}")
    lake, printed, memory = play(lines)
    assert rows(lake, "SELECT koff, reason, octet_length(payload) FROM rejects") == [(100, "too_large", MAX_KEPT_BYTES)]
    assert printed["stored"] == len(lines) - 1
    assert rows(lake, MEANS) == clean
    assert memory < 600


def test_random_bytes_are_rejects_line_by_line(play):
    noise = random.Random(7).randbytes(2_000_000)
    lake, printed, memory = play([noise])
    lines = noise.count(b"\n") + 1
    [[count, least, most, detailed]] = rows(
        lake,
        "SELECT count(*), min(koff), max(koff), "
        "count(*) FILTER (detail <> '' AND reason IN ('undecodable', 'contract')) FROM rejects",
    )
    assert (count, least, most) == (lines, 0, lines - 1)
    assert detailed == lines
    assert printed["stored"] == 0
    assert memory < 600
