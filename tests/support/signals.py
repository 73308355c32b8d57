"""What the tests of lights and alerts of a zone share: air that jumps between grades, and what is said of it."""

from datetime import timedelta

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from flows.decode.batch import no_readings
from schemas.durations import seconds
from schemas.slots import EPOCH
from tests.support.zones import HOUR, SMALL, START, crashed, new_zone

BANDS = {"pm10": (30, 80, 150), "pm25": (15, 35, 75)}
"""Upper ends of the grades 1 to 3, as the province's lights have them."""
HEAVY = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CITIES = [
    ("1m", "1m", "1m"),
    ("1m",),
    ("1h",),
    ("1h", "1h", "1h"),
    ("1m", "1m", "1h"),
    ("10m", "10m", "1h", "1h"),
    ("10s", "1m", "5m", "1m"),
    ("1m", "1h", "1m", "1h", "5m", "1m"),
]


class SignalLog:
    """All that a zone says of lights and alerts, and the offsets of the readings that it accepted."""

    def __init__(self):
        self.states, self.alerts, self.accepted = [], [], []

    def add(self, result):
        self.states += result.signals.states
        self.alerts += result.signals.alerts
        for accepted in result.accepted:
            self.accepted += accepted.readings.offset.tolist()

    def signals(self):
        return self.states, self.alerts

    def of(self, light):
        return [state for state in self.states if state.light_id == light]


def play(city, make_readings, rows, cuts=(), *, crash=(), last=True, settings=SMALL):
    """Take rows in batches cut before ``cuts``; crash after some."""
    zone, log = new_zone(city, settings), SignalLog()
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        final = i == len(bounds) - 2
        readings = make_readings(rows[begin:end], begin) if end > begin else no_readings()
        log.add(zone.take(readings, end_of_input=last and final))
        if i in crash:
            zone = crashed(zone, city, settings)
    return log


def air(seed, every, hours, *, drop=0.05, calm=False, start=START):
    """Rows of stations in the order of their times: levels that jump between grades, outages, faults, empty values."""
    random = np.random.default_rng(seed)
    rows = []
    for station, cadence in enumerate(every):
        level, silent, blind = 20.0, 0, 0
        for second in range(start + seconds(cadence), start + int(hours * HOUR) + 1, seconds(cadence)):
            each = seconds(cadence) / 60
            if random.random() < each / 60:
                level = float(random.choice([8.0, 15.4, 15.6, 20.0, 35.5, 60.0, 75.5, 90.0, 160.0, 320.0]))
            if not calm and random.random() < each / 120:
                silent = second + 60 * int(random.choice([5, 14, 16, 40, 90]))
            if not calm and random.random() < each / 120:
                blind = second + 60 * int(random.choice([5, 14, 16, 40]))
            pm10 = round(level * 1.9 + random.normal(0, 0.2), 2)
            measured = {"pm10": pm10, "pm25": round(level, 2), "o3": round(level / 800, 4)}
            if second < blind:
                measured["pm25"] = 9999.0  # outside its own range: it fails, and is in no mean
            if second >= silent and random.random() > drop * (not calm):
                rows.append((station, second, measured))
    return sorted(rows, key=lambda row: row[1])


@st.composite
def anyhow(draw, longest=90):
    """Rows that a sane network would never send: back and forth, far ahead, in bursts, twice, empty."""
    every = draw(st.sampled_from(CITIES))
    steps = st.sampled_from([0, 0, 1, 30, 60, 60, 60, 120, 600, 600, 1800, 3600, 3600, 7200, -60, -600, -3600, 86400])
    wild = st.sampled_from([0] * 12 + [-7200, -3600, 3600, 7200, 7260, 86400 * 2, -86400 * 2])
    value = st.sampled_from([10.0, 15.4, 15.5, 40.0, 90.0, 160.0, 310.0, 5000.0, -3.0])
    rows, at = [], START + draw(st.sampled_from([0, 1800, 3599]))
    for station, step, far, pm25, full in draw(
        st.lists(
            st.tuples(st.integers(0, len(every) - 1), steps, wild, value, st.integers(0, 9)),
            min_size=1,
            max_size=longest,
        )
    ):
        at += step
        rows.append((station, at + far, {"pm10": 2 * pm25, "pm25": pm25, "o3": 0.13} if full else {"humidity": 1.0}))
    return every, rows


def steady(every, hours, pm25=20.0, *, start=START):
    """Every station reports every time; ``pm25`` may be a function of the station and the minute."""
    level = pm25 if callable(pm25) else lambda *_: pm25
    rows = []
    for station, cadence in enumerate(every):
        for second in range(start + seconds(cadence), start + int(hours * HOUR) + 1, seconds(cadence)):
            value = level(station, (second - start) / 60)
            if value is not None:
                rows.append((station, second, {"pm10": round(1.5 * value, 4), "pm25": value, "o3": 0.01}))
    return sorted(rows, key=lambda row: row[1])


def when(second):
    return EPOCH + timedelta(seconds=second)
