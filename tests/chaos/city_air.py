"""What an invented city of 50 stations sends, as files and topics bring it: with late readings, duplicates and garbage.

The same seed sends the same bytes.
"""

import json
import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

SEOUL = timezone(timedelta(hours=9))
BEGIN = datetime(2026, 3, 2, tzinfo=SEOUL)
FAST, HOURLY = 48, 2
"""Stations that send by the minute, and by the hour."""
LIGHTS = 3
PARAMETERS = {"pm10": (50, 1), "pm25": (28, 1), "o3": (0.03, 4), "no2": (0.02, 4), "co": (0.4, 2), "so2": (0.003, 4)}
"""Level and decimals of each pollutant."""
SWING_MINUTES = 720
"""A rise and fall of dust, through all colors and an alert."""
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
TOO_LARGE = b'{"station_id": "s-00", "padding": "' + b"x" * (1 << 20) + b'"}'

Message = tuple[bytes | None, bytes, Any]
"""Key, value and headers."""


def file_city() -> str:
    """City file of 48 stations by the minute and two by the hour."""
    lines = ["[city]", 'id = "kill"', 'name = "Kill"', 'timezone = "Asia/Seoul"']
    for i in range(FAST + HOURLY):
        station = {"id": f"s-{i:02d}", "lat": 35.1 + i / 100, "lon": 128.8, "every": "1m" if i < FAST else "1h"}
        lines += ["[[stations]]", *(f"{key} = {json.dumps(value)}" for key, value in station.items())]
    return "\n".join(lines) + "\n"


def kafka_city() -> str:
    """City file of 48 stations by the minute, every eighth a reference station, and three lights."""
    lines = ["[city]", 'id = "kill"', 'name = "Kill"', 'timezone = "Asia/Seoul"']
    for i in range(FAST):
        lines += ["[[stations]]", f'id = "s-{i:02d}"', f"lat = {35.1 + i / 100:.2f}", "lon = 128.8"]
        lines += ['kind = "reference"'] if i % 8 == 0 else []
    for i in range(LIGHTS):
        lines += ["[[lights]]", f'id = "light-{i}"', f"lat = {35.1 + 16 * i / 100:.2f}", "lon = 128.8"]
    return "\n".join(lines) + "\n"


def record(path: Path, minutes: int, seed: int) -> None:
    """Write a file of readings in their order of arrival: 2 % hours late, 3 % twice, 1 % garbage among them."""
    dice = random.Random(seed)
    delayed: dict[int, list[bytes]] = {}
    with path.open("wb") as file:
        for minute in range(1, minutes + 1):
            for line in [*_lines(minute, dice), *delayed.pop(minute, [])]:
                chance = dice.random()
                if chance < 0.02:
                    delayed.setdefault(minute + dice.randint(1, 180), []).append(line)
                else:
                    file.write(line + b"\n")
                if 0.02 < chance < 0.05:
                    delayed.setdefault(minute + dice.randint(1, 30), []).append(line)
                if 0.05 < chance < 0.06:
                    file.write(dice.choice(GARBAGE) + b"\n")
        file.write(TOO_LARGE + b"\n")


def _lines(minute: int, dice: random.Random) -> Iterator[bytes]:
    """Readings of a minute; 2 % are missing, and one in 2,000 is out of range."""
    at = (BEGIN + timedelta(minutes=minute)).isoformat()
    for station in range(FAST + HOURLY if minute % 60 == 0 else FAST):
        if dice.random() < 0.02:
            continue
        values = {name: round(level * dice.uniform(0.8, 1.2), digits) for name, (level, digits) in PARAMETERS.items()}
        if dice.random() < 0.0005:
            values["pm10"] = dice.choice((-400.0, 300.0, 5000.0))
        yield json.dumps({"station_id": f"s-{station:02d}", "observed_at": at, **values}).encode()


def minutes_of_messages(dice: random.Random, late_share: float) -> Iterator[list[Message]]:
    """Messages of each minute, without end.

    2 % of readings are missing, and now and then a station is silent for up to two hours; 2 % come twice, at once or up
    to half an hour later; 1 % of messages are garbage; ``late_share`` of them come hours late.
    """
    delayed: dict[int, list[Message]] = {}
    silent_until = [0] * FAST
    minute = 0
    while True:
        minute += 1
        messages: list[Message] = []
        for station in range(FAST):
            if dice.random() < 0.0005:
                silent_until[station] = minute + dice.randint(1, 120)
            chance = dice.random()
            if silent_until[station] > minute or chance < 0.02:
                continue
            message = _message(station, minute, dice)
            if dice.random() < late_share:
                delayed.setdefault(minute + dice.randint(2, 180), []).append(message)
            else:
                messages.append(message)
            if chance < 0.04:
                delayed.setdefault(minute + dice.randint(0, 30), []).append(message)
            if chance > 0.99:
                key = dice.choice((message[0], b"\xffno station", None, b""))
                messages.append((key, dice.choice(GARBAGE), [("origin", b"gateway-3"), ("null", None)]))
        yield messages + delayed.pop(minute, [])


def _message(station: int, minute: int, dice: random.Random) -> Message:
    """A reading of a station, with dust that rises and falls; one in 1,000 is out of range."""
    swing = 0.4 + 3 * max(0.0, math.sin(2 * math.pi * minute / SWING_MINUTES))
    values = {
        name: round(level * dice.uniform(0.8, 1.2) * (swing if name.startswith("pm") else 1), digits)
        for name, (level, digits) in PARAMETERS.items()
    }
    if dice.random() < 0.001:
        values["pm10"] = dice.choice((-400.0, 300.0, 5000.0))
    name, at = f"s-{station:02d}", (BEGIN + timedelta(minutes=minute)).isoformat()
    return name.encode(), json.dumps({"station_id": name, "observed_at": at, **values}).encode(), None
