"""Rules of lights, the air of stations, and what lights are told of it, a slot at a time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from flows.kernels import lights
from flows.kernels.lights import Airs
from flows.signals import light_rules
from flows.signals import words as light_words
from schemas.city import City, Identity, Light, Station
from schemas.city_rules import LightSettings
from schemas.slots import NEVER
from tests.support.slow_lights import Air

BANDS = np.array([[30.0, 80.0, 150.0], [15.0, 35.0, 75.0]])
SEOUL = ZoneInfo("Asia/Seoul")
NAN = np.nan
HOUR_0 = int(datetime(2026, 3, 1, 9, tzinfo=SEOUL).timestamp()) // 60


def city(stations, light_list, zones=None):
    """Stations as (lat, lon, cadence) and lights as (lat, lon, names)."""
    return City(
        city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"),
        stations=[
            Station(
                id="abcdefgh"[i],
                lat=lat,
                lon=lon,
                every=every,
                kind="reference" if every == "1h" else "low_cost",
                zone=(zones or "z" * 9)[i],
            )
            for i, (lat, lon, every) in enumerate(stations)
        ],
        lights=[
            Light(id=f"light-{i}", lat=lat, lon=lon, stations=list(names))
            for i, (lat, lon, names) in enumerate(light_list)
        ],
    )


def made(stations="1m 1m 1h", names=("abc",), **changes):
    """Rules of lights that name their stations."""
    places = [(35.2, 128.9, every) for every in stations.split()]
    whole = city(places, [(35.2, 128.9, chosen) for chosen in names])
    return light_rules.rules(whole, LightSettings(**changes), BANDS, "z")


def air(now, pm10, pm25, coverage=1.0, age=0, fault=False, lifeless=False, beside=NAN):
    """Air of stations, each given by PM10 and PM2.5; the rest for all or for each."""
    mean = np.column_stack([np.asarray(pm10, float), np.asarray(pm25, float)])
    n = len(mean)

    def both(x, kind):
        x = np.asarray(x, kind)
        return np.ascontiguousarray(np.broadcast_to(x[:, None] if x.ndim == 1 else x, (n, 2)))

    ages = np.broadcast_to(np.asarray(age), n)
    as_of = np.where(ages >= 0, now - ages, NEVER)
    numbers = np.ascontiguousarray(np.broadcast_to(np.asarray(beside, float), (n, 3)))
    return Air(mean, both(coverage, float), as_of, both(fault, bool), both(lifeless, bool), numbers)


def at(now, air):
    """Air of one slot as the kernel takes it."""
    return Airs(np.array([now]), *(column[None] for column in air))


def texts(rules, *people, ends=None):
    """Texts of people for each light, of one slot after the other, and perhaps the slots at which they end."""
    sets = light_words.TextSets(rules)
    ends = ends or [None] * len(people)
    return sets.texts(np.array([sets.add(*of_slot) for of_slot in zip(people, ends, strict=True)], np.int64))


def decide(rules, state, now, air, people):
    """State after one slot, and what is sent."""
    return lights.decide(rules, state, at(now, air), texts(rules, people))


def told(rules, state, now, air, people=None):
    state, sent = decide(rules, state, now, air, people or [""] * len(rules.lights))
    return state, light_words.messages(rules, sent, at(now, air), SEOUL)


def one(now, *args, rules=None, people=None, **kwargs):
    """What a new light is told."""
    rules = rules or made()
    _, [message] = told(rules, lights.start(rules), now, air(now, *args, **kwargs), people)
    return message


def minute(slot):
    return datetime.fromtimestamp(slot * 60, SEOUL)


def colors(values, every=1, pm10=None, **changes):
    """The color shown after each minute of PM2.5 at one station; 0 is gray, where there is no value."""
    rules = made("1m", "a", **changes)
    state, shown = lights.start(rules), []
    for i, value in enumerate(values):
        now = HOUR_0 + i * every
        state, _ = decide(rules, state, now, air(now, [0 if pm10 is None else pm10[i]], [value]), [""])
        shown.append(int(state.grade[0]))
    return shown


def run(rules, steps, state=None):
    """Messages of a run of (now, air, people)."""
    state, out = state or lights.start(rules), []
    for now, a, people in steps:
        state, messages = told(rules, state, now, a, people)
        out.append(messages)
    return state, out
