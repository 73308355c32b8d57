"""What goes wrong in an invented city: when, where, and how it changes the air or what instruments send.

Every event is fixed by the seed and the day it begins on, whatever else is asked for and however long a run is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I64
from flows.signals.light_rules import preference
from flows.simulate.air import MINUTE_US, MINUTES, PM10, PM25, distances, generator, kilometres
from schemas.city import City
from schemas.durations import seconds
from schemas.errors import UsageError
from schemas.measured import AIR

HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

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
EVERY_DAYS = {
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
"""How many days until it happens again, to another station; 0: once. All begin on a run's first day."""
BLACKOUT_DAYS = 7
"""Likewise. It strikes the same place at the same hour and draws nothing."""

FUTURE_US = 400 * DAY_US
"""Far enough that no run of a year catches up with it: its readings are refused, however long one waits."""
FRONT_US, PLATEAU_US, DECAY_US = 3 * HOUR_US, 2 * HOUR_US, 4 * HOUR_US
PLUME_KM = 1.2


@dataclass(frozen=True, slots=True)
class Event:
    """Something that goes wrong.

    Attributes:
        scenario: its name in ``SCENARIOS``.
        stations: whom it touches, as indices into the city's stations.
        parameter: the value it shows in, none for whole readings.
        start: microseconds since 1970 UTC; readings in (start, end] show it.
        end: none where it never ends.
        detail: what a test needs to find it.

    """

    scenario: str
    stations: tuple[int, ...]
    parameter: str | None
    start: int
    end: int | None
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Sent:
    """Readings of a day as instruments sample them: columns of n rows, before they go on their way.

    Attributes:
        station: index into the city's stations, shape (n,).
        sampled: end of the interval in true time, microseconds since 1970 UTC, shape (n,).
        observed: the same by the instrument's clock, shape (n,).
        arrival: when it reaches us, shape (n,).
        values: in the order of ``VALUES``, shape (n, 8); NaN where not measured.
        kept: whether it is sent at all, shape (n,).
        late: whether it was held back, shape (n,).

    """

    station: I64
    sampled: I64
    observed: I64
    arrival: I64
    values: F64
    kept: NDArray[np.bool_]
    late: NDArray[np.bool_]


def resolve(names: Sequence[str]) -> tuple[str, ...]:
    """Put mixes in the place of their names; each scenario once, in the order of ``SCENARIOS``.

    Raises:
        UsageError: a name that is not known.
    """
    asked: set[str] = set()
    for name in names:
        if name not in SCENARIOS and name not in MIXES:
            raise UsageError(f"no scenario named {name!r}; known: {', '.join([*MIXES, *SCENARIOS])}")
        asked.update(MIXES.get(name, (name,)))
    return tuple(name for name in SCENARIOS if name in asked)


class Plan:
    """When and where scenarios strike."""

    def __init__(self, city: City, first: int, seed: int, scenarios: Sequence[str]) -> None:
        self._first, self._seed, self._scenarios = first, seed, tuple(scenarios)
        self._ids = [station.id for station in city.stations]
        self._every = np.array([seconds(station.every) for station in city.stations]) * 1_000_000
        self._xy = kilometres(city.stations)
        self._distance = distances(self._xy)
        low_cost = [i for i, station in enumerate(city.stations) if station.kind == "low_cost"]
        order = generator(seed, 2).permutation(low_cost or len(city.stations))
        near = [order for order in preference(city, city.light_rules.nearest_within_km).stations if order.size]
        lonely = min(near, key=len, default=np.arange(len(city.stations)))
        self._dark = tuple(sorted(lonely.tolist()))
        self._for_ever, self._others = order[:2], order[2:] if order.size > 2 else order
        """Two stations are kept for what lasts, the rest takes turns; in a tiny city they must share."""

    def begin(self, day: int) -> list[Event]:
        """Say which events begin on a day, in the order of ``SCENARIOS``."""
        draw = generator(self._seed, 3, day)
        turn = np.resize(draw.permutation(self._others), max(len(EVERY_DAYS), self._others.size))
        places = dict(zip(EVERY_DAYS, turn, strict=False)) | {"dead": self._for_ever[0], "drift": self._for_ever[-1]}
        jitter = dict(zip(EVERY_DAYS, draw.integers(-15, 16, len(EVERY_DAYS)) * MINUTE_US, strict=True))
        spikes = np.sort(draw.choice(np.arange(3 * 60, 21 * 60), 6, replace=False)) * MINUTE_US
        start = self._first + day * DAY_US
        events: list[Event] = []
        for name in self._scenarios:
            again = EVERY_DAYS.get(name)
            if again is not None and (day % again == 0 if again else day == 0):
                begun = start + int(jitter[name])
                where = int(places[name])
                if name == "spikes":
                    events += [self._spike(where, start + int(at)) for at in spikes]
                else:
                    events.append(self._event(name, where, begun, turn[len(EVERY_DAYS) :]))
        if "blackout" in self._scenarios and day % BLACKOUT_DAYS == 0:
            dark = start + 18 * HOUR_US + 10 * MINUTE_US
            events.append(Event("blackout", self._dark, None, dark, dark + 7 * HOUR_US // 2))
        return events

    def _event(self, name: str, where: int, at: int, spare: I64) -> Event:
        """Make the event ``name`` of the day whose beginning, give or take minutes, is ``at``."""
        one = (where,)
        match name:
            case "dust_front":
                start = at + 13 * HOUR_US
                every = tuple(range(len(self._ids)))
                detail: dict[str, object] = {"factor": 5, "from": "west", "to": "east"}
                return Event(name, every, "pm10", start, start + FRONT_US + PLATEAU_US + DECAY_US, detail)
            case "plume":
                start = at + 5 * HOUR_US
                touched = np.flatnonzero(3 * np.exp(-((self._distance[where] / PLUME_KM) ** 2)) >= 0.5)
                detail = {"factor": 4, "center": self._ids[where]}
                return Event(name, tuple(touched.tolist()), "pm25", start, start + 2 * HOUR_US, detail)
            case "stuck":
                return Event(name, one, "pm25", at + 2 * HOUR_US, at + 10 * HOUR_US)
            case "drift":
                start = at + HOUR_US
                return Event(name, one, "pm25", start, start + 5 * DAY_US, {"growth_per_day": 0.6})
            case "dead":
                return Event(name, one, None, at + 15 * HOUR_US, None)
            case "silent":
                return Event(name, one, None, at + 9 * HOUR_US, at + 12 * HOUR_US)
            case "outage":
                near = np.argsort(self._distance[where, spare], kind="stable")[:7]
                group = tuple(sorted({where, *spare[near].tolist()}))
                return Event(name, group, None, at + 16 * HOUR_US, at + 19 * HOUR_US, {"burst_minutes": 5})
            case "future_clock":
                detail = {"ahead_days": FUTURE_US // DAY_US}
                return Event(name, one, None, at + 10 * HOUR_US, at + 11 * HOUR_US, detail)
        raise AssertionError(f"no event is written for scenario {name!r}")

    def _spike(self, where: int, at: int) -> Event:
        """Make one spike, in the station's first reading after ``at``."""
        cadence = int(self._every[where])
        start = -(-at // cadence) * cadence
        return Event("spikes", (where,), "pm10", start, start + cadence, {"added": 400})

    def blow(self, air: F64, start: int, events: Sequence[Event]) -> None:
        """Change the air of the day from ``start`` in place: dust and smoke. ``air`` has the shape (1440, n, 8)."""
        ends = start + MINUTE_US * np.arange(1, MINUTES + 1)
        for event in events:
            if event.scenario == "dust_front":
                east = self._xy[:, 0] - self._xy[:, 0].min()
                hit = event.start + FRONT_US * (east / max(float(east.max()), 1e-9))
                since = ends[:, None] - hit
                fade = np.minimum(1, np.exp(-3 * (since - PLATEAU_US) / DECAY_US))
                shape = np.clip(since / (30 * MINUTE_US), 0, 1) * fade * (ends[:, None] <= (event.end or 0))
                air[..., PM10] *= 1 + 4 * shape
                air[..., PM25] *= 1 + 0.5 * shape
            elif event.scenario == "plume":
                place = self._ids.index(str(event.detail["center"]))
                ramp = 10 * MINUTE_US
                edge = np.minimum(ends - event.start, (event.end or 0) - ends)
                smoke = 3 * np.clip(edge / ramp, 0, 1)[:, None] * np.exp(-((self._distance[place] / PLUME_KM) ** 2))
                air[..., PM10] += air[..., PM25] * smoke
                air[..., PM25] *= 1 + smoke


def spoil(sent: Sent, events: Sequence[Event]) -> None:
    """Change readings in place as the faults of instruments and modems do."""
    for event in events:
        if event.scenario in ("dust_front", "plume"):
            continue
        end = np.iinfo(np.int64).max if event.end is None else event.end
        rows = np.flatnonzero(
            np.isin(sent.station, event.stations) & (sent.sampled > event.start) & (sent.sampled <= end)
        )
        column = AIR.values.index(event.parameter) if event.parameter else -1
        match event.scenario:
            case "stuck":
                measured = rows[~np.isnan(sent.values[rows, column])]
                sent.values[measured, column] = sent.values[measured[:1], column]
            case "drift":
                growth = 0.6 * (sent.sampled[rows] - event.start) / DAY_US
                sent.values[rows, column] = np.round(sent.values[rows, column] * (1 + growth), 1)
            case "spikes":
                sent.kept[rows] = True
                sent.values[rows, column] = np.round(np.nan_to_num(sent.values[rows, column]) + 400, 1)
            case "dead" | "silent" | "blackout":
                sent.kept[rows] = False
            case "outage":
                order = rows[np.lexsort((sent.station[rows], sent.sampled[rows]))]
                sent.arrival[order] = end + MINUTE_US * 5 * np.arange(1, order.size + 1) // max(order.size, 1)
                sent.late[rows] = True
            case "future_clock":
                sent.observed[rows] += FUTURE_US
