"""The toy flow, which has all that a flow can have: the same whatever becomes of it and however its input comes."""

import pickle
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from flows.decode.batch import InMemory, Readings, Record, concatenate, no_readings, record_readings
from flows.outputs.events import Events
from flows.outputs.lake_rows import LakeRows
from flows.state.grid import PAGE_SLOTS
from flows.zone.plan import ZoneSettings
from schemas.city import City, Identity, Light, Station
from schemas.measured import AIR
from schemas.odor import OdorReport
from schemas.tables import TABLES
from schemas.topics import TOPICS
from tests.support import toy
from tests.support.toy_air import HOUR, START, air

SMALL = ZoneSettings(spare_slots=PAGE_SLOTS, evaluate_slots=180)
EVERY = {"d": "10m", "e": "10m", "f": "1h", "g": "1h"}


@pytest.fixture(scope="module", autouse=True)
def _deployed():
    with pytest.MonkeyPatch.context() as patch:
        for known, ours in ((TABLES, toy.TOY_TABLES), (TOPICS, toy.TOY_TOPICS)):
            for name, of in ours.items():
                patch.setitem(known, name, of)
        yield


def city(ids="defg"):
    stations = [Station(id="a", lat=35.2, lon=128.9, every="10m", zone="city")]
    stations += [Station(id=name, lat=35.2, lon=128.9, every=EVERY.get(name, "10m"), zone="toy") for name in ids]
    lights = [Light(id="toy-1", lat=35.2, lon=128.9, stations=[name for name in "de" if name in ids])]
    return City(city=Identity(id="t", name="T", timezone="Asia/Seoul"), stations=stations, lights=lights)


def readings_of(city, rows, first):
    """Readings and records of a zone in the order of ``rows``."""
    index = {instrument.id: i for i, instrument in enumerate(toy.instruments(city))}
    runs = [no_readings(toy.TOY)]
    for i, (second, name, measured) in enumerate(rows, first):
        part, offset = np.zeros(1, np.int32), np.array([i])
        if measured is None:
            report = OdorReport(report_id=name, reported_at=datetime.fromtimestamp(second, UTC), lat=35.2, lon=128.9)
            runs.append(record_readings(toy.TOY, [Record(toy.REPORTS, report)], part, offset))
        elif name in index:
            values = np.full((1, len(AIR.values)), np.nan, order="F")
            for parameter, value in measured.items():
                values[0, AIR.values.index(parameter)] = value
            station, status = np.array([index[name]], np.int32), np.zeros((1, len(AIR.gridded)), np.uint8)
            at = np.array([second * 1_000_000])
            runs.append(Readings(station, at, values, status, part, offset, InMemory([b"x"])))
    return concatenate(runs)


class Outcome:
    """Newest rows of each table by key, and messages, lights and alerts as they were said."""

    def __init__(self, city):
        self.rows, self.revision, self.said, self.accepted = {}, {}, {}, set()
        self.lake = LakeRows("toy", toy.TOY, toy.instruments(city))
        self.events = Events(city, "toy", [instrument.id for instrument in toy.instruments(city)])

    def add(self, zone, result):
        result.parts = [("input", 0)]
        for accepted in result.accepted:
            self.accepted |= {*accepted.readings.offset.tolist()}
        self.accepted |= {accepted.offset for accepted in result.records}
        for rows in result.results.rows:
            if columns := rows.columns():
                for row in self.lake._batch(rows.table, columns, zone.stations).to_pylist():
                    self._row(rows.table, row)
        for out in self.events.of_zone(zone.stations.tolist(), result):
            self.said.setdefault(out.topic, []).extend(message.value for message in out.messages)

    def _row(self, table, row):
        key = (table, *(row[name] for name in TABLES[table].key))
        revision = row.pop("revision")
        assert revision > self.revision.get(key, -1), "revisions grow"
        assert row != self.rows.get(key), "only what differs is said again"
        self.rows[key], self.revision[key] = row, revision

    def newest(self):
        """Newest rows, but of what was withdrawn and of comparisons that no longer exist."""
        return {k: r for k, r in self.rows.items() if not r.get("withdrawn") and r.get("excess", 0) is not None}


# More than 8 parameters: each test wants others.
def play(city, rows, cuts=(), crash=(), settings=SMALL, *, zone=None, first=0, outcome=None, last=True):
    zone = zone or toy.FLOW.zone(city, "toy", settings)
    outcome = outcome or Outcome(city)
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        final = last and i == len(bounds) - 2
        outcome.add(zone, zone.take(readings_of(city, rows[begin:end], first + begin), end_of_input=final))
        if i in crash:
            kept, zone = pickle.dumps(zone.snapshot()), toy.FLOW.zone(city, "toy", settings)
            zone.restore(pickle.loads(kept))
    return outcome, zone


def shuffled(rows, seed, delay):
    """Rows as they arrive when a third of them is late by up to ``delay`` seconds."""
    random = np.random.default_rng(seed)
    arriving = [(row[0] + (random.random() < 0.3) * random.uniform(0, delay), row) for row in rows]
    return [row for _, row in sorted(arriving, key=lambda item: item[0])]


@pytest.fixture(scope="module")
def whole():
    outcome, _ = play(city(), air())
    return outcome


def test_the_toy_says_something_of_everything(whole):
    tables = {key[0] for key in whole.newest()}
    assert tables == {"toy_rolling", "toy_excess", "toy_objects", "toy_hours"}
    assert any(row["bias"] for key, row in whole.newest().items() if key[0] == "toy_excess"), "it learnt"
    assert sum(row["reports"] for key, row in whole.newest().items() if key[0] == "toy_hours") == 60
    assert len(whole.said[toy.OBJECT_TOPIC]) == sum(key[0] == "toy_objects" for key in whole.newest()) > 20


def test_a_light_leaves_out_a_station_at_fault(whole):
    states = [msgspec.json.decode(value) for value in whole.said["env.light.state.v1"]]
    named = {}
    for state in states:
        hour = (datetime.fromisoformat(state["as_of"]).timestamp() - START) / HOUR
        named.setdefault(81.5 < hour < 83.5, set()).update(state["stations"])
    assert named == {False: {"d", "e"}, True: {"e"}}


@pytest.mark.parametrize("seed", [1, 2])
def test_no_cut_and_no_crash_changes_anything(whole, seed):
    random, rows = np.random.default_rng(seed), air()
    cuts = sorted(random.choice(len(rows), 25, replace=False).tolist())
    outcome, _ = play(city(), rows, cuts, crash=range(0, 25, 3))
    assert outcome.newest() == whole.newest()
    assert outcome.said == whole.said
    assert outcome.accepted == whole.accepted


def test_neither_does_a_wide_grid_evaluated_in_one_go(whole):
    outcome, _ = play(city(), air(), settings=ZoneSettings())
    assert (outcome.newest(), outcome.said) == (whole.newest(), whole.said)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_order_within_twenty_hours_changes_a_newest_row(whole, seed):
    rows = shuffled(air(), seed, 20 * HOUR)
    outcome, _ = play(city(), rows, range(40, len(rows), 170), crash=range(0, 20, 4))
    assert outcome.newest() == whole.newest()
    assert max(outcome.revision.values()) > 10


def test_shuffled_air_is_cut_the_same_anywhere():
    rows = shuffled(air(3, 5), 3, 20 * HOUR)
    one, _ = play(city(), rows)
    two, _ = play(city(), rows, range(1, len(rows), 61), crash=range(0, 40, 5))
    assert (two.newest(), two.said) == (one.newest(), one.said)


def test_a_station_added_and_one_gone():
    """A station that stays knows nothing of it; a new one starts empty, and one that is gone says no more."""
    rows, cut = [row for row in air() if row[1] != "g"], 1500
    later = [row for row in rows[cut:] if row[1] != "e"]
    later = sorted([*later, *((second, "h", of) for second, name, of in later if name == "d")], key=lambda row: row[:2])
    outcome, zone = play(city("def"), rows[:cut], last=False)
    now = toy.FLOW.zone(city("hdf"), "toy", SMALL)
    now.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    more = Outcome(city("hdf"))
    more.rows, more.revision = outcome.rows, outcome.revision
    play(city("hdf"), later, range(10, 500, 60), crash=range(0, 9, 2), zone=now, first=cut, outcome=more)
    always, _ = play(city("defh"), [*rows[:cut], *later])

    def of(outcome, sensor):
        return {key: row for key, row in outcome.newest().items() if row.get("sensor_id") == sensor}

    assert of(more, "d") == of(always, "d")
    assert of(more, "h").keys() == of(always, "h").keys() != set()
    assert of(more, "e").items() <= of(always, "e").items()


def test_an_instrument_that_is_gone_is_forgotten_by_what_it_taught():
    _, zone = play(city("def"), air(), last=False)
    now = toy.FLOW.zone(city("df"), "toy", SMALL)
    now.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    excess, objects, *_ = now.progress._evaluation.analyses
    assert excess.lessons.keys() == {"d", "f"}
    assert {of[0] for of in objects.objects.values()} <= {"d", "f"}


def test_of_several_zones_one_books_the_records():
    """Every zone takes all records; what became of each is said once."""
    rows = [*air(days=1), (START + 60, "r0", None)]
    results = []
    for books in (True, False):
        zone = toy.FLOW.zone(city(), "toy", SMALL)
        zone.plan = replace(zone.plan, books_records=books)
        results.append(zone.take(readings_of(city(), rows, 0), end_of_input=True))
    one, other = results
    assert (len(one.records), len(other.records)) == (60, 0)
    assert [reject.reason for reject in one.rejects if reject.offset == len(rows) - 1] == ["duplicate"]
    assert [reject for reject in other.rejects if reject.offset == len(rows) - 1] == []
    assert [len(of.accepted) > 0 for of in results] == [True, True]
    hours = [[rows for rows in of.results.rows if rows.table == "toy_hours"] for of in results]
    assert [sum(int(rows.data["reports"].sum()) for rows in of) for of in hours] == [60, 60]
