"""Rows of ``cai`` and ``aqi``: those of the hours alone, whatever came in which order, against a slow oracle."""

import math
from collections import defaultdict
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.analyses.base import Span
from flows.analyses.indices import IndexRows, Indices, Scales
from flows.decode.batch import no_readings
from flows.kernels import cai, nowcast
from flows.resources import index
from schemas.durations import seconds
from schemas.measured import AIR
from schemas.slots import SLOT_US
from schemas.tables import TABLES
from tests.support import grids, zones
from tests.support.zones import HOUR, START, crashed, handling, new_zone

shuffled = partial(zones.shuffled, share=0.4, twice=0.05)
HEAVY = settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CITIES = [("1h", "1h", "1h"), ("10m", "10m", "10m", "1h"), ("30m", "1h", "15m"), ("1h",)]
SCALES = cai.bands.bands_of(index("korea").table())
OTHERS = [
    (number, parameter, scale.average, cai.bands.bands_of(table)[parameter])
    for number, table in enumerate(Scales().others.values())
    for parameter, scale in table.parameters.items()
]
SAID = ("concentration", *(f"index_{name}" for name in AIR.gridded))
"""Of a row that is not withdrawn, one of these is not null."""
LEVELS = {"pm10": 60.0, "pm25": 33.0, "o3": 0.06, "no2": 0.04, "co": 1.5, "so2": 0.02}


class IndexLog:
    """Newest rows of both tables, by key; what must hold of each is asserted on the way."""

    def __init__(self, zone):
        self.ids = zone.grid.instruments
        self.newest, self.revision = {}, {}

    def add(self, result):
        for rows in result.results.rows:
            if isinstance(rows, IndexRows):
                self._add(rows)

    def _add(self, rows):
        codes = {name: names.code for name, names in rows.texts.items()}
        columns = {name: column.tolist() for name, column in (rows.values | codes).items()}
        keys = zip(rows.station.tolist(), rows.ended.tolist(), rows.revision.tolist(), strict=True)
        for k, (station, ended, revision) in enumerate(keys):
            row = {name: column[k] for name, column in columns.items()}
            key = (rows.table, self.ids[station], ended, row.pop("index_name", -1), row.pop("parameter", -1))
            row = tuple(
                (name, None if isinstance(value, float) and math.isnan(value) else value)
                for name, value in sorted(row.items())
            )
            if key in self.newest:
                assert revision > self.revision[key], "revisions grow"
                assert row != self.newest[key], "only what differs is said again"
            self.newest[key], self.revision[key] = row, revision

    def rows(self):
        """Newest rows; those withdrawn are none."""
        return {key: row for key, row in self.newest.items() if any(dict(row).get(name) is not None for name in SAID)}


def play(city, make_readings, rows, cuts=(), *, crash=()):
    zone = new_zone(city)
    log, accepted = IndexLog(zone), []
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        readings = make_readings(rows[begin:end], begin) if end > begin else no_readings()
        result = zone.take(readings, end_of_input=i == len(bounds) - 2)
        log.add(result)
        accepted += [offset for of in result.accepted for offset in of.readings.offset.tolist()]
        if i in crash:
            zone = crashed(zone, city)
    return log, accepted, zone


def air(seed, every, hours, *, gap=0):
    """Rows in the order of their times, with missing values, failing values, outages, and at half time a gap."""
    random = np.random.default_rng(seed)
    rows = []
    for station, cadence in enumerate(every):
        each, silent = seconds(cadence), 0
        for second in range(START + each, START + hours * HOUR + 1, each):
            if random.random() < each / HOUR / 15:
                silent = second + int(random.integers(1, 6)) * HOUR
            if second < silent or random.random() < 0.05:
                continue
            measured = {
                name: round(
                    level * float(random.choice([0.0, 0.5, 1.0, 1.1, 2.5, 12.0], p=[0.05, 0.3, 0.3, 0.2, 0.1, 0.05])), 4
                )
                for name, level in LEVELS.items()
                if random.random() > 0.05
            }
            if random.random() < 0.03:
                measured["pm25"] = -4.0
            late = gap * HOUR if second > START + hours * HOUR // 2 else 0
            rows.append((station, second + late, measured))
    return sorted(rows, key=lambda row: row[1])


FAILED = None
"""In place of a value that fails."""


def oracle(city, zone, rows, accepted):
    """Rows of both tables from the readings accepted, hour by hour and station by station."""
    limits = dict(zip(AIR.gridded, city.limits(), strict=True))
    first_taken, cells = set(), defaultdict(lambda: defaultdict(list))
    for offset in accepted:
        station, second, measured = rows[offset]
        for name, value in measured.items():
            if name not in limits or (station, second, name) in first_taken:
                continue
            first_taken.add((station, second, name))
            low, high = limits[name].fail
            cells[station, name][-(-second // 60)].append(value if low <= value <= high else FAILED)
    made = {}
    for cadence in zone.cadences:
        for station in cadence.columns.tolist():
            of = {name: cells[station, name] for name in AIR.gridded}
            begin = min((slot for slots in of.values() for slot in slots), default=None)
            if begin is None:
                continue
            hours = list(range(begin // 60 * 60 - 48 * 60, cadence.evaluated_until // 60 * 60 + 1, 60))
            means = {name: [hour_mean(slots, ended, cadence.slots) for ended in hours] for name, slots in of.items()}
            for k in range(47, len(hours)):
                if hours[k] <= cadence.evaluated_until:
                    rows_of(
                        made, zone.grid.instruments[station], hours[k], {n: m[: k + 1][::-1] for n, m in means.items()}
                    )
    return made


def hour_mean(slots, ended, cadence):
    inside = [slots.get(slot, []) for slot in range(ended - 59, ended + 1)]
    failed = sum(value is FAILED for of in inside for value in of)  # LEVELS fail above alone
    means = [slot_mean(of) for of in inside if any(value is not FAILED for value in of)]
    if len(means) * cadence < 45 or failed * 10 > sum(map(len, inside)):
        return None
    return sum(means) / (len(means) * 1e9)


def slot_mean(values):
    """Mean of the values of a slot in whole quanta, halves up."""
    quanta = [round(value * 1e9) for value in values if value is not FAILED]
    return (2 * sum(quanta) + len(quanta)) // (2 * len(quanta))


def rows_of(made, station, ended, newest_first):
    """One hour; ``newest_first`` holds means of hours by parameter."""
    array = {name: [math.nan if v is None else v for v in hours] for name, hours in newest_first.items()}
    inputs = {name: array[name][0] for name in AIR.gridded}
    missing = {}
    for name, turn in (("pm10", 70.0), ("pm25", 30.0)):
        inputs[name] = c24e([None if v is None else max(v, 0.0) for v in newest_first[name]], turn)
        missing[name] = sum(v is None for v in newest_first[name][:12])
    result = cai.combine(np.array([[inputs[name] for name in AIR.gridded]]), SCALES)
    if (result.index != -1).any():
        row = {
            "cai": int(result.cai[0]),
            "grade": int(result.grade[0]),
            "main_parameter": int(result.main[0]),
            "added": int(result.added[0]),
            "over_range": bool(result.over_range[0]),
            "missing_pm10": missing["pm10"],
            "missing_pm25": missing["pm25"],
        }
        for i, name in enumerate(AIR.gridded):
            row[f"index_{name}"] = int(result.index[0, i])
            row[f"{name}_24h" if name in missing else name] = None if math.isnan(inputs[name]) else inputs[name]
        made["cai", station, ended, -1, -1] = row
    for number, parameter, kind, ready in OTHERS:
        oldest_first = np.array([array[parameter][:24][::-1]])
        value = float(nowcast.average(oldest_first, oldest_first.shape[1] - 1, kind, parameter)[0, 0])
        if math.isnan(value):
            continue
        made["aqi", station, ended, number, AIR.gridded.index(parameter)] = {
            "concentration": value,
            "aqi": int(cai.bands.index(np.array([value]), ready)[0]),
            "grade": int(cai.bands.grade(np.array([value]), ready)[0]),
            "missing": sum(v is None for v in newest_first[parameter][: nowcast.HOURS[kind]]),
            "over_range": bool(cai.bands.beyond(np.array([value]), ready)[0]),
        }


def c24e(hours, turn):
    """C24E of hours, newest first, in plain Python: the province's rule, with what this project chose beside it."""
    hours = (hours + [None] * 15)[:15]

    def mean12(back):
        known = [v for v in hours[back : back + 12] if v is not None]
        return sum(known), len(known)

    total, count = mean12(0)
    recent = []
    for back, value in enumerate(hours[:4]):
        if value is None:
            continue
        own_total, own_count = mean12(back)
        near = value >= turn and own_total > 0 and 0.9 <= value * own_count / own_total <= 1.7
        recent.append(0.75 * value if near else value)
    if count < 9 or len(recent) < 3:
        return math.nan
    return (total / count + sum(recent) / len(recent)) / 2


def agrees(log, expected):
    newest = log.rows()
    assert newest.keys() == expected.keys()
    for key, row in newest.items():
        mine = dict(row)
        assert mine.keys() == expected[key].keys()
        for name, value in expected[key].items():
            assert mine[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), (key, name)


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.sampled_from([0, 0, 3, 6, 30]), st.data())
def test_newest_rows_are_those_of_the_hours_alone(make_city, make_readings, seed, every, gap, data):
    city = make_city(every)
    rows = shuffled(air(seed, every, 40, gap=gap), seed, data.draw(st.sampled_from([0, HOUR, 1.8 * HOUR])))
    one, accepted, zone = play(city, make_readings, rows)
    two, _, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    assert one.rows() == two.rows()
    agrees(one, oracle(city, zone, rows, accepted))


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.data())
def test_no_order_within_the_horizon_changes_a_newest_row(make_city, make_readings, seed, every, data):
    city = make_city(every)
    rows = air(seed, every, 30)
    arriving = shuffled(rows, seed, 1.8 * HOUR)
    in_order, accepted, zone = play(city, make_readings, rows)
    anyhow, also, _ = play(city, make_readings, arriving, **data.draw(handling(len(arriving))))
    if (
        len({rows[i] and (rows[i][0], rows[i][1]) for i in accepted})
        == len({arriving[i][:2] for i in also})
        == len(rows)
    ):
        assert in_order.rows() == anyhow.rows()
    agrees(anyhow, oracle(city, zone, arriving, also))


def test_late_air_revises_the_hours_that_rest_on_it(make_city, make_readings):
    """An hour that comes two hours late: it changes C24E for fifteen hours, and only those that were said already."""
    every = ("1h",) * 3
    rows = [
        (s, START + h * HOUR, {"pm10": 50.0, "pm25": 20.0, "o3": 0.03, "no2": 0.02})
        for h in range(1, 31)
        for s in range(3)
    ]
    late = (0, START + 20 * HOUR, {"pm10": 90.0, "pm25": 20.0, "o3": 0.03, "no2": 0.02})
    rows.remove((0, START + 20 * HOUR, rows[0][2]))
    at = next(i for i, row in enumerate(rows) if row[1] == START + 22 * HOUR)
    log, accepted, zone = play(make_city(every), make_readings, [*rows[:at], late, *rows[at:]], range(1, 90))
    agrees(log, oracle(make_city(every), zone, [*rows[:at], late, *rows[at:]], accepted))
    again = {
        (key[0], key[2] - START // 60)
        for key, revision in log.revision.items()
        if revision and key[1] == "a" and key[0] == "cai"
    }
    assert again == {("cai", 20 * 60), ("cai", 21 * 60)}, "said already, from the hours before"
    assert dict(log.newest["cai", "a", START // 60 + 20 * 60, -1, -1])["missing_pm10"] == 0


def test_rows_end_when_the_air_they_rest_on_does(make_city, make_readings):
    """Windows of this city are short, but what rests on hours before stands after the last reading: ozone's for two."""
    every = ("1h",) * 4
    clean = {"pm10": 50.0, "pm25": 20.0, "o3": 0.03, "no2": 0.02}
    rows = [(0, START + h * HOUR, clean) for h in range(1, 31)]
    rows += [(s, START + h * HOUR, clean if h <= 30 else {"humidity": 1.0}) for h in range(1, 60) for s in (1, 2, 3)]
    rows.sort(key=lambda row: row[1])
    whole, accepted, zone = play(make_city(every), make_readings, rows)
    parts, _, _ = play(make_city(every), make_readings, rows, range(1, len(rows)))
    assert whole.newest == parts.newest
    agrees(whole, oracle(make_city(every), zone, rows, accepted))
    last = max(key[2] for key in whole.newest if key[1] == "a") - START // 60
    assert last == 32 * 60


def test_scales_take_the_surrogate_unless_the_regression_is_asked_for():
    assert not Scales().regression
    asked = Scales(ozone="regression")
    assert asked.regression
    assert "korea" not in asked.names
    assert asked.names[: len(asked.others)] == list(asked.others)
    averages = {scale.average for table in Scales().others.values() for scale in table.parameters.values()}
    assert "nowcast_o3" not in averages
    assert "surrogate_o3" in averages


def test_rows_have_the_columns_of_their_tables():
    """Two hours of one station, of another one too few: PM10 stands over half of the twelve hours, C24E is missing."""
    grid, cadence = grids.new_grid(2), grids.cadence_of(3600)
    grids.put(grid, [(1, h * 60, {"pm10": 40.0, "o3": 0.03}) for h in (1, 2)])
    results = Indices(Scales()).close(grids.view_of(grid, cadence), cadence, grids.START, grids.START + 120, 1)
    by_table = {rows.table: rows.columns() for rows in results.rows}
    assert by_table.keys() <= set(Indices.tables)
    cai_columns = by_table["cai"]
    assert cai_columns["instrument"].tolist() == [1, 1]
    assert cai_columns["ended_at"].tolist() == [(grids.START + ended) * SLOT_US for ended in (60, 120)]
    assert cai_columns["revision"].tolist() == [0, 0]
    assert cai_columns["main_parameter"].missing.tolist() == [True, True], "too little is known for an index as a whole"
    assert cai_columns["cai"].missing.tolist() == cai_columns["grade"].missing.tolist() == [True, True]
    assert cai_columns["pm10_24h"].missing.tolist() == [True, True]
    assert cai_columns["o3"].values.tolist() == pytest.approx([0.03, 0.03])
    assert cai_columns["index_o3"].missing.tolist() == [False, False]
    assert cai_columns["missing_pm10"].values.tolist() == [11, 10]
    for table, columns in by_table.items():
        expected = {column.name for column in TABLES[table].schema} - {"zone", "station_id"}
        assert columns.keys() == expected | {"instrument"}, table


def test_no_hour_ended_no_row():
    grid, cadence = grids.new_grid(2), grids.cadence_of()
    grids.put(grid, [(0, minute, {"o3": 0.03}) for minute in range(1, 60)])
    view, indices = grids.view_of(grid, cadence), Indices(Scales())
    assert indices.close(view, cadence, grids.START, grids.START + 59, 1).rows == []
    assert indices.measure(view, Span(cadence, cadence.columns, grids.START + 1, grids.START + 59, 1, 1)) is None
    cadence.restore((grids.START + 60, grids.START + 60, []))
    span = Span(cadence, cadence.columns, grids.START + 1, grids.START + 60, 1, 1)
    assert indices.measure(view, span).ended.tolist() == [grids.START + 60]
    assert indices.measure(view, span._replace(records=True)) is None, "records change no hour"
