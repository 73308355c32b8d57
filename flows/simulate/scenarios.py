"""What goes wrong in an invented city: when, where, and how it changes the air or what instruments send.

Every event is fixed by the seed and the day it begins on, whichever other scenarios run and however long a run is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flows.arrays import B1, F64, I64
from flows.signals.light_rules import preference
from flows.simulate.air import PM10, PM25, distances, generator, kilometres
from schemas.city import City
from schemas.durations import seconds
from schemas.errors import UsageError
from schemas.measured import AIR
from schemas.slots import DAY_SLOTS, DAY_US, HOUR_SLOTS, SECOND_US, SLOT_US

HOUR_US = HOUR_SLOTS * SLOT_US

SCENARIOS: dict[str, str] = {
    "dust_front": "dust over the whole region, PM10 fivefold, sweeping from west to east in 3 h",
    "plume": "smoke around one place, PM2.5 fourfold there, for 2 h",
    "stuck": "a sensor repeats one PM2.5 value for 8 h",
    "drift": "a sensor's PM2.5 grows by 60 % a day for five days",
    "spikes": "a sensor sends six single PM10 values that are 400 µg/m³ too high",
    "dead": "a station sends nothing any more",
    "silent": "a station sends nothing for 3 h",
    "outage": "a group of stations is cut off for 3 h, then sends all it kept at once",
    "future_clock": "a station's clock runs 400 days ahead for an hour",
    "duplicates": "5 % of readings come again, up to an hour later",
    "garbage": "1 % of lines are no readings: broken bytes, broken contracts, unknown stations",
    "blackout": "a power cut silences for 3.5 h every station that the loneliest light may follow",
}
MIXES: dict[str, tuple[str, ...]] = {"clear": (), "trouble": tuple(SCENARIOS)}
INTERVAL_DAYS = {
    "dust_front": 7,
    "plume": 3,
    "stuck": 3,
    "drift": 10,
    "spikes": 2,
    "dead": 0,
    "silent": 2,
    "outage": 3,
    "future_clock": 5,
}
"""Days until a scenario strikes again, at another station; 0: only once. All begin on a run's first day."""
BLACKOUT_DAYS = 7
"""Likewise of the blackout, which strikes the same place at the same hour and draws no random number."""

FUTURE_US = 400 * DAY_US
"""Far enough that no run of a year catches up with it: its readings are refused, however long one waits."""
FRONT_US, PLATEAU_US, DECAY_US = 3 * HOUR_US, 2 * HOUR_US, 4 * HOUR_US
DUST_RISE_US, PLUME_RISE_US = 30 * SLOT_US, 10 * SLOT_US
DUST_FACTOR, PLUME_FACTOR = 5, 4
PLUME_KM = 1.2
DRIFT_PER_DAY = 0.6
SPIKE_UGM3 = 400
SPIKES = 6
OUTAGE_NEIGHBOURS = 7
BURST_MINUTES = 5
"""Time that stations take to send what an outage made them keep."""


@dataclass(frozen=True, slots=True)
class ScenarioEvent:
    """One occurrence of a scenario.

    Attributes:
        scenario: its name in ``SCENARIOS``.
        stations: affected stations, as indices into the city's.
        parameter: the affected value, None where whole readings are.
        start: microseconds since 1970 UTC; readings in (start, end] are affected.
        end: likewise, None where it never ends.
        detail: what a test needs to find it.

    """

    scenario: str
    stations: tuple[int, ...]
    parameter: str | None
    start: int
    end: int | None
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Samples:
    """Readings of a day as instruments take them: columns of n rows, before they are sent.

    Attributes:
        station: index into the city's stations, shape (n,).
        sampled: end of the interval in true time, microseconds since 1970 UTC, shape (n,).
        observed: the same by the instrument's clock, shape (n,).
        arrival: when the reading reaches the pipeline, shape (n,).
        values: in the order of ``AIR.values``, shape (n, 8); NaN where not measured.
        sent: whether it is sent at all, shape (n,).
        late: whether an outage delays it, shape (n,).

    """

    station: I64
    sampled: I64
    observed: I64
    arrival: I64
    values: F64
    sent: B1
    late: B1


def resolve(names: Sequence[str]) -> tuple[str, ...]:
    """Replace mixes by their scenarios; each once, in the order of ``SCENARIOS``.

    Raises:
        UsageError: a name that is not known.

    >>> resolve(["stuck", "dust_front", "stuck"])
    ('dust_front', 'stuck')
    """
    chosen: set[str] = set()
    for name in names:
        if name not in SCENARIOS and name not in MIXES:
            raise UsageError(f"no scenario named {name!r}; known: {', '.join([*MIXES, *SCENARIOS])}")
        chosen.update(MIXES.get(name, (name,)))
    return tuple(name for name in SCENARIOS if name in chosen)


class Schedule:
    """When and where scenarios strike a city.

    Args:
        city: its stations and lights.
        first: start of the first day, microseconds since 1970 UTC.
        seed: of everything random.
        scenarios: names as ``resolve`` returns them.
    """

    def __init__(self, city: City, first: int, seed: int, scenarios: Sequence[str]) -> None:
        self._first, self._seed, self._scenarios = first, seed, tuple(scenarios)
        self._ids = [station.id for station in city.stations]
        self._cadence_us = np.array([seconds(station.every) for station in city.stations]) * SECOND_US
        self._xy = kilometres(city.stations)
        self._distance = distances(self._xy)
        low_cost = [i for i, station in enumerate(city.stations) if station.kind == "low_cost"]
        order = generator(seed, 2).permutation(low_cost or len(city.stations))
        followed = [order for order in preference(city, city.light_rules.nearest_within_km).stations if order.size]
        fewest = min(followed, key=len, default=np.arange(len(city.stations)))
        self._blackout = tuple(sorted(fewest.tolist()))
        self._lasting, self._passing = order[:2], order[2:] if order.size > 2 else order
        """Two stations are reserved for what lasts, the others take turns; in a tiny city they must share."""

    def events_on(self, day: int) -> list[ScenarioEvent]:
        """Events that begin on a day, counted from 0, in the order of ``SCENARIOS``."""
        draw = generator(self._seed, 3, day)
        turn = np.resize(draw.permutation(self._passing), max(len(INTERVAL_DAYS), self._passing.size))
        stations = dict(zip(INTERVAL_DAYS, turn, strict=False)) | {"dead": self._lasting[0], "drift": self._lasting[-1]}
        jitter = dict(zip(INTERVAL_DAYS, draw.integers(-15, 16, len(INTERVAL_DAYS)) * SLOT_US, strict=True))
        spikes = np.sort(draw.choice(np.arange(3 * HOUR_SLOTS, 21 * HOUR_SLOTS), SPIKES, replace=False)) * SLOT_US
        midnight = self._first + day * DAY_US
        events: list[ScenarioEvent] = []
        for name in self._scenarios:
            interval = INTERVAL_DAYS.get(name)
            if interval is not None and (day % interval == 0 if interval else day == 0):
                station = int(stations[name])
                if name == "spikes":
                    events += [self._spike(station, midnight + int(at)) for at in spikes]
                else:
                    events.append(self._event(name, station, midnight + int(jitter[name]), turn[len(INTERVAL_DAYS) :]))
        if "blackout" in self._scenarios and day % BLACKOUT_DAYS == 0:
            start = midnight + 18 * HOUR_US + 10 * SLOT_US
            events.append(ScenarioEvent("blackout", self._blackout, None, start, start + 7 * HOUR_US // 2))
        return events

    def _event(self, name: str, station: int, day_start: int, unused: I64) -> ScenarioEvent:
        """One event of a scenario; ``day_start`` is midnight give or take minutes, ``unused`` are free stations."""

        def between(start: int, end: int | None) -> tuple[int, int | None]:
            return day_start + start * HOUR_US, None if end is None else day_start + end * HOUR_US

        alone = (station,)
        match name:
            case "dust_front":
                start = day_start + 13 * HOUR_US
                every = tuple(range(len(self._ids)))
                detail: dict[str, object] = {"factor": DUST_FACTOR, "from": "west", "to": "east"}
                return ScenarioEvent(name, every, "pm10", start, start + FRONT_US + PLATEAU_US + DECAY_US, detail)
            case "plume":
                smoke = (PLUME_FACTOR - 1) * np.exp(-((self._distance[station] / PLUME_KM) ** 2))
                reached = tuple(np.flatnonzero(smoke >= 0.5).tolist())
                detail = {"factor": PLUME_FACTOR, "center": self._ids[station]}
                return ScenarioEvent(name, reached, "pm25", *between(5, 7), detail)
            case "stuck":
                return ScenarioEvent(name, alone, "pm25", *between(2, 10))
            case "drift":
                return ScenarioEvent(name, alone, "pm25", *between(1, 1 + 5 * 24), {"growth_per_day": DRIFT_PER_DAY})
            case "dead":
                return ScenarioEvent(name, alone, None, *between(15, None))
            case "silent":
                return ScenarioEvent(name, alone, None, *between(9, 12))
            case "outage":
                near = np.argsort(self._distance[station, unused], kind="stable")[:OUTAGE_NEIGHBOURS]
                group = tuple(sorted({station, *unused[near].tolist()}))
                return ScenarioEvent(name, group, None, *between(16, 19), {"burst_minutes": BURST_MINUTES})
            case "future_clock":
                return ScenarioEvent(name, alone, None, *between(10, 11), {"ahead_days": FUTURE_US // DAY_US})
        raise AssertionError(f"no event is written for scenario {name!r}")

    def _spike(self, station: int, at: int) -> ScenarioEvent:
        """A spike in the station's first reading after ``at``."""
        cadence = int(self._cadence_us[station])
        start = -(-at // cadence) * cadence
        return ScenarioEvent("spikes", (station,), "pm10", start, start + cadence, {"added": SPIKE_UGM3})

    def apply_weather(self, air: F64, start: int, events: Sequence[ScenarioEvent]) -> None:
        """Add dust and smoke to the air of the day from ``start``, in place. ``air`` has the shape (1440, n, 8)."""
        ends = start + SLOT_US * np.arange(1, DAY_SLOTS + 1)
        for event in events:
            if event.scenario == "dust_front":
                east = self._xy[:, 0] - self._xy[:, 0].min()
                hit = event.start + FRONT_US * (east / max(float(east.max()), 1e-9))
                since = ends[:, None] - hit
                fade = np.minimum(1, np.exp(-3 * (since - PLATEAU_US) / DECAY_US))
                shape = np.clip(since / DUST_RISE_US, 0, 1) * fade * (ends[:, None] <= (event.end or 0))
                air[..., PM10] *= 1 + (DUST_FACTOR - 1) * shape
                air[..., PM25] *= 1 + 0.5 * shape
            elif event.scenario == "plume":
                center = self._ids.index(str(event.detail["center"]))
                inside = np.clip(np.minimum(ends - event.start, (event.end or 0) - ends) / PLUME_RISE_US, 0, 1)
                near = np.exp(-((self._distance[center] / PLUME_KM) ** 2))
                smoke = (PLUME_FACTOR - 1) * inside[:, None] * near
                air[..., PM10] += air[..., PM25] * smoke
                air[..., PM25] *= 1 + smoke


def apply_faults(samples: Samples, events: Sequence[ScenarioEvent]) -> None:
    """Change samples in place as faulty instruments, clocks and modems do."""
    for event in events:
        if event.scenario in ("dust_front", "plume"):
            continue
        end = np.iinfo(np.int64).max if event.end is None else event.end
        rows = np.flatnonzero(
            np.isin(samples.station, event.stations) & (samples.sampled > event.start) & (samples.sampled <= end)
        )
        column = AIR.values.index(event.parameter) if event.parameter else -1
        values = samples.values
        match event.scenario:
            case "stuck":
                measured = rows[~np.isnan(values[rows, column])]
                values[measured, column] = values[measured[:1], column]
            case "drift":
                growth = DRIFT_PER_DAY * (samples.sampled[rows] - event.start) / DAY_US
                values[rows, column] = np.round(values[rows, column] * (1 + growth), 1)
            case "spikes":
                samples.sent[rows] = True
                values[rows, column] = np.round(np.nan_to_num(values[rows, column]) + SPIKE_UGM3, 1)
            case "dead" | "silent" | "blackout":
                samples.sent[rows] = False
            case "outage":
                order = rows[np.lexsort((samples.station[rows], samples.sampled[rows]))]
                burst = SLOT_US * BURST_MINUTES * np.arange(1, order.size + 1) // max(order.size, 1)
                samples.arrival[order] = end + burst
                samples.late[rows] = True
            case "future_clock":
                samples.observed[rows] += FUTURE_US
