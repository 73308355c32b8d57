"""A zone gives the same numbers however its readings came: cut, crashed, shuffled, twice, late, wild, or not at all."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows import clock as clock_module
from flows import zone as zone_module
from flows.arrivals import no_readings
from flows.grid import slot_of
from flows.kernels.surroundings import limits, surroundings
from flows.zone import Zone
from schemas.errors import ConfigurationError
from schemas.quality import Flag
from schemas.reading import PARAMETERS, VALUES
from schemas.strict import minutes, seconds

pytestmark = pytest.mark.usefixtures("small_rooms")
P = len(PARAMETERS)
START = 1_767_225_600
"""A second: 2026-01-01, 09:00 in Seoul."""
HOUR = 3600
HEAVY = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def review_after(rows):
    """Let the quorum follow the stations heard after so many rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(clock_module, "GENERATION", rows)
    patch.setattr(zone_module, "GENERATION", rows)
    return patch


class Told:
    """All that a zone said, by key; what must hold of every single thing said is asserted on the way."""

    def __init__(self, zone, city):
        self.ids = [city.stations[i].id for i in zone.stations]
        self.verdict, self.stored = {}, {}
        self.rows, self.revision, self.first, self.flags, self.flag_revision = {}, {}, {}, {}, {}
        self.sent = []

    def hear(self, outcome):
        for stored in outcome.stored:
            r = stored.readings
            for i, koff in enumerate(r.koff.tolist()):
                self._judge(koff, "stored")
                values = tuple(None if np.isnan(v) else v for v in r.values[i].tolist())
                self.stored[koff] = (int(r.station[i]), int(r.observed[i]), values, tuple(stored.flags[i].tolist()))
        for reject in outcome.rejects:
            self._judge(reject.koff, reject.reason)
            assert reject.payload == b"reading %d" % reject.koff
        for means in outcome.evaluated.means:
            names = means.group.names
            columns = (
                means.station,
                means.parameter,
                means.window,
                means.ended,
                means.revision,
                means.total,
                means.count,
                means.filled,
                means.suspect,
            )
            for s, p, w, ended, revision, *row in zip(*(column.tolist() for column in columns), strict=True):
                self._mean(
                    (self.ids[s], PARAMETERS[p], names[w], ended), revision, tuple(row), first=means.closing is not None
                )
        first = [means for means in outcome.evaluated.means if means.closing is not None]
        sent = {
            key
            for means in first
            for key in zip(means.closing.tolist(), means.ended.tolist(), means.station.tolist(), strict=True)
        }
        self.sent += sorted(sent)
        for found in outcome.evaluated.findings:
            columns = (found.station, found.parameter, found.ended, found.revision, found.tests)
            for s, p, ended, revision, tests in zip(*(column.tolist() for column in columns), strict=True):
                self._finding((self.ids[s], PARAMETERS[p], ended), revision, tests)

    def _judge(self, koff, verdict):
        assert koff not in self.verdict, "judged twice"
        self.verdict[koff] = verdict

    def _mean(self, key, revision, row, *, first):
        total, count, filled, suspect = row
        assert count > 0
        assert 0 < filled <= count
        assert 0 <= suspect <= count
        if key in self.rows:
            assert not first, "closed twice"
            assert revision > self.revision[key], "revisions grow"
            assert row != self.rows[key], "only what differs is said again"
        else:
            assert revision == 0
        if first:
            self.first[key] = (total, count, filled)
        self.rows[key], self.revision[key] = row, revision

    def _finding(self, key, revision, tests):
        assert tests != self.flags.get(key, 0), "only what differs is said again"
        assert revision > self.flag_revision.get(key, -1), "revisions grow"
        self.flags[key], self.flag_revision[key] = tests, revision

    def newest(self):
        """Newest rows and flags; a finding withdrawn is none."""
        return self.rows, {key: tests for key, tests in self.flags.items() if tests}


def crashed(zone, city):
    kept = pickle.dumps(zone.snapshot())
    again = Zone(city, zone.id)
    again.restore(pickle.loads(kept))
    return again


def play(city, make_readings, rows, cuts=(), *, crash=(), more=(), ends=(), last=True):
    """Take rows in batches cut before ``cuts``; crash after some; say that more is at hand, or the end, after some."""
    zone = Zone(city, "city")
    told = Told(zone, city)
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        readings = make_readings(rows[begin:end], begin) if end > begin else no_readings()
        final = last and end == len(rows) and i == len(bounds) - 2
        outcome = zone.take(readings, more=i in more and not final, last=final or i in ends)
        told.hear(outcome)
        assert len(told.verdict) + outcome.waiting.size == end
        if i in crash:
            zone = crashed(zone, city)
    return told, zone


def windows(city, told, zone):
    """What the lake is to show at the end, in plain Python from the stored values alone: rows and flags."""
    rows, flags = {}, {}
    for group in zone.groups:
        assert group.closed == group.due, "all that is closed was evaluated"
        assert group.closed < 0 or group.closed % group.cadence == 0, "whole cells are closed"
        found, own = surrounded(city, told, zone, group)
        flags |= {(zone.grid.stations[s], PARAMETERS[p], ended): tests for (s, p, ended), tests in found.items()}
        for (s, p), slots in own.items():
            for name in group.names:
                length = minutes(name)
                ends = {
                    e for slot in slots for e in range(-(-slot // group.step) * group.step, slot + length, group.step)
                }
                for ended in sorted(e for e in ends if e <= group.closed):
                    inside = [slot for slot in slots if ended - length < slot <= ended]
                    suspect = sum(
                        slots[t][1 if (s, p, -(-t // group.cadence) * group.cadence) in found else 2] for t in inside
                    )
                    total, count = (sum(slots[t][k] for t in inside) for k in (0, 1))
                    rows[zone.grid.stations[s], PARAMETERS[p], name, ended] = (total, count, len(inside), suspect)
    return rows, flags


def surrounded(city, told, zone, group):
    """Findings of a group in one go over all its cells, and (sum, count, suspect) by column, parameter and slot."""
    own = {}
    for station, observed, values, flag in told.stored.values():
        column, slot = int(zone.column[station]), -(-observed // 60_000_000)
        if column not in group.columns:
            continue
        for p in range(P):
            if flag[p] <= Flag.SUSPECT:
                total, count, suspect = own.setdefault((column, p), {}).get(slot, (0, 0, 0))
                own[column, p][slot] = (total + round(values[p] * 1e9), count + 1, suspect + (flag[p] == Flag.SUSPECT))
    slots = [slot for of in own.values() for slot in of]
    if not slots or group.closed < 0:
        return {}, own
    first, last = -(-min(slots) // group.cadence), group.closed // group.cadence
    sums, counts = np.zeros((2, max(0, last - first + 1), len(zone.grid.stations), P), np.int64)
    for (column, p), of in own.items():
        for slot, (total, count, _) in of.items():
            cell = -(-slot // group.cadence) - first
            if cell < len(sums):
                sums[cell, column, p] += total
                counts[cell, column, p] += count
    x = np.where(counts > 0, sums / np.maximum(counts, 1) / 1e9, np.nan)
    found = surroundings(x, 0, limits(city, group.cadence))
    return {(s, p, (first + t) * group.cadence): int(found[t, s, p]) for t, s, p in np.argwhere(found).tolist()}, own


def air(seed, every, hours, *, drop=0.1, offset=0, names=("pm10", "pm25"), start=START):
    """Rows of stations in the order of their times: walks with spikes, jumps, zeros, stuck and failing stretches."""
    random = np.random.default_rng(seed)
    rows = []
    for station, cadence in enumerate(every):
        value, stuck = 40.0, 0
        for second in range(start + offset + seconds(cadence), start + int(hours * HOUR) + 1, seconds(cadence)):
            stuck -= 1
            if stuck < 0:
                value = round(max(1.0, value + random.normal(0, 2)), 1)
                if random.random() < 0.02:
                    value, stuck = random.choice([0.0, value]), random.integers(10, 60)
            measured = {"pm10": value + random.choice([0, 200, 900, 5000], p=[0.95, 0.03, 0.01, 0.01])}
            measured["pm25"] = round(measured["pm10"] * random.choice([0.5, 2.0], p=[0.97, 0.03]), 2)
            measured = {name: v for name, v in measured.items() if name in names and random.random() > 0.05}
            if random.random() > drop:
                rows.append((station, second, measured))
    return sorted(rows, key=lambda row: row[1])


def shuffled(rows, seed, delay, *, share=0.3, twice=0.1):
    """Rows as they arrive when a share of them is late by up to ``delay`` seconds, and some come again."""
    random = np.random.default_rng(seed)
    arriving = []
    for row in rows:
        for _ in range(1 + (random.random() < twice)):
            arriving.append((row[1] + (random.random() < share) * random.uniform(0, delay), row))
    return [row for _, row in sorted(arriving, key=lambda item: item[0])]


@st.composite
def cities(draw):
    return draw(
        st.sampled_from(
            [
                ("1m", "1m", "1m"),
                ("1m", "1m", "10s", "10m"),
                ("1m",),
                ("10m", "10m", "1h", "1h"),
                ("1m", "1h", "1m", "1h", "5m", "1m"),
            ]
        )
    )


@st.composite
def anyhow(draw, longest=80):
    """Rows that a sane network would never send: back and forth, far ahead, in bursts, twice, empty."""
    every = draw(cities())
    # Half a minute, minutes, an hour's rest, around the horizon of two hours, days; and back.
    steps = st.sampled_from([0, 0, 1, 30, 60, 60, 60, 120, 600, 600, 1800, 3600, 7200, -60, -600, -3600, 86400])
    wild = st.sampled_from([0] * 10 + [-7200, -7260, -3600, 7200, 7260, 86400 * 2, -86400 * 2])
    value = st.sampled_from([0.0, 10.0, 10.1, 20.0, 250.0, 900.0, 5000.0, -3.0, -7.0])
    rows, at = [], START + draw(st.sampled_from([0, 1800, 3599]))
    for station, step, far, measured in draw(
        st.lists(
            st.tuples(
                st.integers(0, len(every) - 1),
                steps,
                wild,
                st.dictionaries(st.sampled_from(["pm10", "pm25", "humidity"]), value, max_size=2),
            ),
            min_size=1,
            max_size=longest,
        )
    ):
        at += step
        rows.append((station, at + far, measured))
    return every, rows


@st.composite
def handling(draw, n):
    """Where rows are cut, after which batches the process dies, and after which more was at hand."""
    cuts = sorted(draw(st.sets(st.integers(0, n), max_size=10)))
    batches = st.sets(st.integers(0, len(cuts)))
    return {"cuts": cuts, "crash": draw(batches), "more": draw(batches)}


def same(told, other):
    """Everything that may not depend on how the input was cut."""
    assert told.verdict == other.verdict
    assert told.stored == other.stored
    assert told.newest() == other.newest()
    assert told.first == other.first
    assert told.sent == other.sent
    assert told.sent == sorted(set(told.sent)), "each once, in the order of the closings"


@HEAVY
@given(anyhow(), st.data(), st.sampled_from([5000, 15, 40]))
def test_no_cut_and_no_crash_changes_anything(make_city, make_readings, case, data, generation):
    every, rows = case
    city = make_city(every)
    patch = review_after(generation)
    try:
        one, zone = play(city, make_readings, rows)
        two, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
        every_row, _ = play(
            city, make_readings, rows, range(1, len(rows)), crash=data.draw(st.sets(st.integers(0, len(rows))))
        )
    finally:
        patch.undo()
    assert len(one.verdict) == len(rows)
    same(one, two)
    same(one, every_row)
    assert one.newest() == windows(city, one, zone)


@HEAVY
@given(st.integers(0, 2**32), cities(), st.sampled_from([0, 0, 5 * 60, 30 * 60, 100 * 60]), st.data())
def test_no_cut_of_a_day_changes_anything(make_city, make_readings, seed, every, delay, data):
    city = make_city(every)
    rows = shuffled(
        air(seed, every, 6 if "1m" not in every else 2, offset=data.draw(st.sampled_from([0, 1800, -7, 30]))),
        seed,
        delay,
    )
    one, zone = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    same(one, two)
    assert one.newest() == windows(city, one, zone)
    assert set(one.verdict.values()) <= {"stored", "duplicate"}


@HEAVY
@given(st.integers(0, 2**32), cities(), st.data())
def test_no_order_within_the_horizon_changes_anything(make_city, make_readings, seed, every, data):
    city = make_city(every)
    rows = air(seed, every, 8 if "1m" not in every else 3)
    in_order, zone = play(city, make_readings, rows)
    arriving = shuffled(rows, seed, 110 * 60, share=data.draw(st.sampled_from([0.02, 0.3, 1.0])))
    anyhow, other = play(city, make_readings, arriving, **data.draw(handling(len(arriving))))
    assert anyhow.newest() == in_order.newest() == windows(city, in_order, zone)
    assert zone.groups[0].closed == other.groups[0].closed
    assert list(anyhow.verdict.values()).count("stored") == len(rows)
    assert list(anyhow.verdict.values()).count("duplicate") == len(arriving) - len(rows)


def test_twenty_hours_late_within_a_horizon_of_a_day(make_city, make_readings):
    every = ("10m", "10m", "10m", "1h")
    city = make_city(every, horizon="24h", windows=("10m", "1h", "8h", "24h"))
    rows = air(1, every, 60)
    in_order, _ = play(city, make_readings, rows)
    arriving = shuffled(rows, 2, 20 * HOUR)
    anyhow, zone = play(city, make_readings, arriving, range(50, len(arriving), 50), crash={3, 4})
    assert anyhow.newest() == in_order.newest() == windows(city, anyhow, zone)
    assert max(anyhow.revision.values()) > 10, "so late that much was said again"
    assert in_order.revision.keys() == anyhow.revision.keys()


@HEAVY
@given(st.integers(0, 2**32), cities(), st.data())
def test_an_end_that_was_none_changes_no_newest_row(make_city, make_readings, seed, every, data):
    """A file ends in the middle of a step, and another goes on from there on the same store."""
    city = make_city(every)
    rows = shuffled(air(seed, every, 6 if "1m" not in every else 2), seed, data.draw(st.sampled_from([0, 1800])))
    one, _ = play(city, make_readings, rows)
    first = {row[0] for row in rows[: len(rows) // 2]}
    enough = len(rows) // 2 if len(first) >= min(3, len(every)) else len(rows) - 1
    cut = data.draw(st.integers(enough, len(rows) - 1))
    two, zone = play(city, make_readings, rows, [cut], crash={0}, ends={0})
    assert two.newest() == one.newest()
    assert two.verdict == one.verdict
    assert zone.groups[0].closed == zone.groups[0].due


def steady(every, hours, *, start=START, value=20.0):
    """Every station reports every time."""
    return [(s, t, {"pm10": value}) for s, t, _ in air(0, every, hours, drop=0.0, start=start)]


def ended(told, station, window="10m"):
    """Slots at which windows of a station end, as minutes since the start."""
    return sorted(
        key[3] - START // 60 for key in told.rows if key[0] == station and key[2] == window and key[1] == "pm10"
    )


def test_one_wild_sensor_moves_nothing(make_city, make_readings):
    every = ("1m",) * 4
    tame = steady(every[:3], 3)
    wild = [(3, second + 86400 * 40, {"pm10": 99.0}) for _, second, _ in tame[::3]]
    rows = sorted(tame + wild, key=lambda row: row[1] % (86400 * 40))
    told, zone = play(make_city(every), make_readings, rows, range(100, len(rows), 100), crash=range(9))
    alone, _ = play(make_city(every), make_readings, tame)
    assert told.rows == alone.rows
    assert zone.clock.now == START // 60 + 180
    assert [told.verdict[i] for i, row in enumerate(rows) if row[0] == 3] == ["future"] * len(wild)


def test_future_when_the_clock_stays_away_for_an_hour(make_city, make_readings):
    rows = [*steady(("1m",) * 3, 3), *steady(("1m",) * 3, 1, start=START + 3 * HOUR)]
    at = 3 * 30  # after half an hour
    rows.insert(
        at, (0, START + 30 * 60 + 150 * 60 + 60, {"pm10": 1.0})
    )  # two and a half hours ahead: waits, and goes in time
    rows.insert(
        at + 1, (1, START + 300 * 60, {"pm10": 1.0})
    )  # four and a half hours ahead: the clock comes near too late
    for cuts in ((), range(1, len(rows))):
        zone = Zone(make_city(("1m",) * 3), "city")
        told, judged_at = Told(zone, make_city(("1m",) * 3)), {}
        for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            told.hear(zone.take(make_readings(rows[begin:end], begin)))
            judged_at |= {koff: end - 1 for koff in told.verdict if koff not in judged_at}
        assert told.verdict[at] == "stored"
        assert told.verdict[at + 1] == "future"
        if len(cuts) > 1:
            clock = [rows[judged_at[koff]][1] // 60 - START // 60 for koff in (at, at + 1)]
            assert clock == [181 - 120, 30 + 60], "as soon as it is within the horizon; when an hour has passed"


@pytest.mark.parametrize("minutes_behind", [119, 120, 121])
def test_too_late_is_older_than_the_horizon(make_city, make_readings, minutes_behind):
    rows = [*steady(("1m",) * 3, 4, value=20.0), (0, START + 240 * 60 - minutes_behind * 60 - 30, {"pm25": 1.0})]
    told, _ = play(make_city(("1m",) * 3), make_readings, rows)
    slot = int(slot_of(np.array([rows[-1][1]]))[0])
    assert told.verdict[len(rows) - 1] == ("too_late" if slot < START // 60 + 240 - 120 else "stored")
    assert (slot < START // 60 + 120) == (minutes_behind == 121)


@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("cuts", [(), range(1, 100)])
def test_a_zone_of_which_few_report_gets_its_means_at_the_end(make_city, make_readings, heard, cuts):
    every = ("1m",) * 5
    rows = steady(every[:heard], 2)
    told, zone = play(make_city(every), make_readings, rows, cuts)
    assert set(told.verdict.values()) == {"stored"}
    assert ended(told, "a") == list(range(10, 121, 10))
    assert told.newest() == windows(make_city(every), told, zone)


@pytest.mark.parametrize("heard", [1, 2])
def test_a_zone_of_which_few_report_gets_a_clock(make_city, make_readings, heard):
    every = ("1m",) * 5
    rows = steady(every[:heard], 3)
    patch = review_after(60)
    try:
        told, zone = play(make_city(every), make_readings, rows, range(7, len(rows), 7), crash=range(50), last=False)
        one, _ = play(make_city(every), make_readings, rows, last=False)
    finally:
        patch.undo()
    assert zone.clock.quorum == heard
    assert ended(told, "a") == list(range(10, 181, 10))
    same(told, one)


def test_a_wild_sensor_of_long_ago_is_no_agreement_with_the_last_one(make_city, make_readings):
    """When one station is all that is left to agree, what another said of the future is forgotten."""
    rows = [(0, START + 86400 * 2, {"pm10": 1.0}), *((1, START + 60 * m, {"pm10": 2.0}) for m in range(1, 241))]
    patch = review_after(60)
    try:
        told, zone = play(
            make_city(("1m",) * 5), make_readings, rows, range(7, len(rows), 7), crash=range(40), last=False
        )
    finally:
        patch.undo()
    assert zone.clock.quorum == 1
    assert [told.verdict.pop(0), *set(told.verdict.values())] == ["future", "stored"]
    assert zone.clock.now == START // 60 + 240


@pytest.mark.parametrize("room", [100_000, 5])
def test_one_batch_may_hold_any_number_of_turns(make_city, make_readings, room):
    """A clock half an hour beyond the horizon ahead: each reading waits for half an hour, and goes at a row of its own."""
    every = ("1m",) * 4
    rows = [(s, t + (s == 3) * 150 * 60, measured) for s, t, measured in steady(every, 12)]
    told, zone = play(make_city(every, room=room), make_readings, rows)
    verdicts = [told.verdict[i] for i, row in enumerate(rows) if row[0] == 3]
    if room == 5:
        assert set(verdicts) == {"future"}
    else:
        assert verdicts == ["stored"] * 690 + ["future"] * 30
    assert told.newest() == windows(make_city(every), told, zone)


def test_nothing_but_an_end(make_city, make_readings):
    told, zone = play(make_city(), make_readings, [])
    assert (told.rows, told.verdict) == ({}, {})
    zone.take(no_readings(), last=True)
    told.hear(zone.take(make_readings(steady(("1m",) * 3, 1)), last=True))
    assert ended(told, "a") == list(range(10, 61, 10))


def test_three_days_of_nothing(make_city, make_readings):
    every = ("1m", "1m", "10m", "1h")
    city = make_city(every)
    rows = [*steady(every, 3), *steady(every, 3, start=START + 72 * HOUR)]
    told, zone = play(city, make_readings, rows, [100, 500, 600], crash={0, 1, 2}, more={1})
    one, _ = play(city, make_readings, rows)
    same(told, one)
    assert told.newest() == windows(city, told, zone)
    assert set(told.verdict.values()) == {"stored"}
    assert ended(told, "a") == [*range(10, 181, 10), *range(72 * 60 + 10, 75 * 60 + 1, 10)]


def test_hourly_stations_stamped_at_half_past(make_city, make_readings):
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0 * h + s}) for h in range(6) for s in range(3)]
    told, zone = play(city, make_readings, rows)
    assert told.newest() == windows(city, told, zone)
    # The last hour is not over when the last of it is read: its slot is half past.
    assert ended(told, "b", "1h") == [60, 120, 180, 240, 300]
    assert told.rows["b", "pm10", "2h", START // 60 + 180] == ((11 + 21) * 10**9, 2, 2, 0)


def test_a_cadence_holds_no_other_up(make_city, make_readings):
    every = ("1m", "1m", "1m", "1h")
    rows = [row for row in steady(every, 3) if row[0] < 3 or row[1] <= START + HOUR]
    told, _ = play(make_city(every), make_readings, rows, last=False)
    assert ended(told, "a") == list(range(10, 181, 10))
    assert ended(told, "d", "1h") == [60]
    # Without its second hour it is evaluated 45 minutes past it; there are no values, and of two hours there is one.
    assert ended(told, "d", "2h") == [60, 120]


@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_a_step_closes_when_all_that_are_awake_have_reported(make_city, make_readings, absent):
    every = ("1m",) * 4
    city = make_city(every)
    rows = [row for row in steady(every, 1) if row[0] != absent or row[1] <= START + 15 * 60]
    zone = Zone(city, "city")
    closed = []
    for i, row in enumerate(rows):
        zone.take(make_readings([row], i))
        closed.append(zone.groups[0].closed - START // 60)
    first = {step: rows[closed.index(step)][:2] for step in (10, 20, 30)}
    others = [s for s in range(4) if s != absent]
    assert first[10] == (3, START + 600), "the last of four"
    assert first[20] == (others[-1], START + 1200), "asleep since it lags three cadences"
    assert first[30] == (others[-1], START + 1800)


def test_a_station_just_gone_is_waited_for_a_minute(make_city, make_readings):
    every = ("1m",) * 4
    rows = [row for row in steady(every, 1) if row[0] != 3 or row[1] <= START + 18 * 60]
    zone = Zone(make_city(every), "city")
    for i, row in enumerate(rows):
        zone.take(make_readings([row], i))
        if zone.groups[0].closed == START // 60 + 20:
            break
    assert row[:2] == (2, START + 21 * 60)


def test_a_message_partly_new_counts_what_is_new(make_city, make_readings):
    second = START + 60
    rows = [
        (0, second, {"pm10": 10.0}),
        (0, second, {"pm10": 99.0, "pm25": 5.0, "humidity": 50.0}),
        (0, second, {"pm25": 7.0}),
        (0, second, {}),
    ]
    told, _ = play(make_city(("1m",)), make_readings, rows, [1, 2])
    assert told.verdict == {0: "stored", 1: "stored", 2: "duplicate", 3: "duplicate"}
    assert [dict(zip(VALUES, told.stored[i][2], strict=True))["pm10"] for i in (0, 1)] == [10.0, None]
    assert told.stored[1][2][VALUES.index("pm25")] == 5.0
    assert told.stored[1][3][0] == Flag.MISSING


def test_a_second_is_rounded_up(make_city, make_readings):
    readings = make_readings(
        [(0, START + 60, {"pm10": 1.0}), (0, START + 60, {"pm10": 2.0}), (0, START + 61, {"pm10": 3.0})]
    )
    readings.observed[1] -= 999_999  # just after second 59: the second that ends at 60
    readings.observed[2] -= 999_999  # just after 60: in the next slot
    zone = Zone(make_city(("1m",)), "city")
    told = Told(zone, make_city(("1m",)))
    told.hear(zone.take(readings, last=True))
    assert told.verdict == {0: "stored", 1: "duplicate", 2: "stored"}
    assert zone.grid.newest == START // 60 + 2


def test_failing_values_are_stored_and_not_counted(make_city, make_readings):
    rows = [(0, START + 60 * i, {"pm10": value}) for i, value in enumerate((10.0, 5000.0, -7.0, 30.0, 900.0), 1)]
    readings = make_readings(rows)
    readings.status[3] = 9
    zone = Zone(make_city(("1m",)), "city")
    told = Told(zone, make_city(("1m",)))
    told.hear(zone.take(readings))
    told.hear(zone.take(make_readings([(0, START + 600, {})], 5), last=True))
    assert [told.stored[i][3][0] for i in range(6)] == [1, 4, 4, 4, 3, 9]
    assert told.rows["a", "pm10", "10m", START // 60 + 10][:3] == (910 * 10**9, 2, 2)


def test_two_zones_know_nothing_of_each_other(make_city, make_readings):
    city = make_city(("1m",) * 5, zones="xyxyx")
    rows = air(5, ("1m",) * 5, 1)
    for zone_id, members in (("x", (0, 2, 4)), ("y", (1, 3))):
        zone = Zone(city, zone_id)
        told = Told(zone, city)
        mine = [row for row in rows if row[0] in members]
        told.hear(zone.take(make_readings(mine), last=True))
        assert {key[0] for key in told.rows} == {"abcde"[i] for i in members}
        assert told.newest() == windows(city, told, zone)


@pytest.mark.parametrize("room", [2, 5])
def test_a_full_waiting_room_refuses_the_oldest(make_city, make_readings, room):
    rows = [*steady(("1m",) * 3, 1), *((0, START + 86400 * 9 + i, {"pm10": 1.0}) for i in range(8))]
    zone = Zone(make_city(("1m",) * 3, room=room), "city")
    outcome = zone.take(make_readings(rows))
    assert outcome.waiting.tolist() == [0] * room
    assert [(reject.koff, reject.reason) for reject in outcome.rejects] == [
        (180 + i, "future") for i in range(8 - room)
    ]


def test_more_at_hand_only_delays(make_city, make_readings):
    """With more at hand nothing is evaluated for up to a day, and then all that is due is."""
    rows = steady(("1m",) * 3, 5)
    zone = Zone(make_city(("1m",) * 3), "city")
    told = Told(zone, make_city(("1m",) * 3))
    told.hear(zone.take(make_readings(rows[:90]), more=True))
    assert (told.rows, zone.groups[0].closed < zone.groups[0].due) == ({}, True)
    told.hear(zone.take(make_readings(rows[90:800], 90), more=True))
    assert ended(told, "a")[-1] == 260
    told.hear(zone.take(make_readings(rows[800:], 800)))
    assert ended(told, "a") == list(range(10, 301, 10))


def test_findings_of_a_long_cell_outlive_a_crash(make_city, make_readings):
    """What is found at the end of an hour belongs to its reading at half past, on another page of the snapshot."""
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0, "pm25": 30.0 + s}) for h in range(6) for s in range(3)]
    told, zone = play(city, make_readings, rows, range(1, len(rows)), crash=range(len(rows)))
    assert told.newest() == windows(city, told, zone)
    assert told.rows["b", "pm10", "2h", START // 60 + 180][3] == 2


def test_a_slot_closes_at_its_row_whatever_follows_in_the_batch(make_city, make_readings):
    """An hourly station comes back from silence, sends an old hour after a new one, and then the clock leaps."""
    every = ("1m", "1m", "1m", "1h")
    rows = [row for row in steady(every, 3) if row[1] <= START + 130 * 60 and (row[0] < 3 or row[1] <= START + HOUR)]
    ahead = [(3, START + 250 * 60, {"pm10": 1.0}), (3, START + 110 * 60, {"pm10": 2.0})]
    leap = [(s, START + 300 * 60, {"pm10": 3.0}) for s in range(3)]
    n = len(rows)
    one, _ = play(make_city(every), make_readings, rows + ahead + leap, [n])
    two, _ = play(make_city(every), make_readings, rows + ahead + leap, [n, n + 1])
    same(one, two)


@HEAVY
@given(case=anyhow(), room=st.integers(1, 4))
@example(
    case=(
        ("1m", "1m", "1m"),
        [(s, START + t, {}) for s, t in ((0, 7260), (1, 0), (2, 7260), (0, 86400), (0, 86400), (1, 86400))],
    ),
    room=3,
)
def test_no_cut_changes_who_is_one_too_many(make_city, make_readings, case, room):
    every, rows = case
    city = make_city(every, room=room)
    one, _ = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, range(1, len(rows)), crash=range(0, len(rows), 7))
    same(one, two)


def test_a_full_waiting_room_is_counted_row_by_row(make_city, make_readings):
    city = make_city(("1m",) * 3, room=1)
    rows = [*steady(("1m",) * 3, 1), (0, START + 185 * 60, {"pm10": 1.0}), (1, START + 86400 * 9, {"pm10": 2.0})]
    rows += steady(("1m",) * 3, 1, start=START + HOUR)
    one, _ = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, range(1, len(rows)))
    same(one, two)
    assert (one.verdict[180], one.verdict[181]) == ("future", "future")


@pytest.mark.parametrize("ids", ["abcd", "dabc", "ab", "cb", "bcad"])
def test_stations_come_and_go_with_a_new_city_file(make_city, make_readings, ids):
    """A new station starts empty, one that is gone goes; those that stay know nothing of it."""
    rows = [*steady(("1m",) * 3, 2), (0, START + 250 * 60, {"pm10": 77.0}), (1, START + 30 * 60 - 7, {"pm10": 99.0})]
    later = steady(("1m",) * 3, 4, start=START + 2 * HOUR)[: 3 * 180]
    same_city, stays = make_city(("1m",) * 3), set("abc") & set(ids)
    told, _ = play(same_city, make_readings, rows + later, [len(rows)])

    zone = Zone(same_city, "city")
    heard = Told(zone, same_city)
    heard.hear(zone.take(make_readings(rows)))
    city = make_city(("1m",) * len(ids), ids=ids)
    again = Zone(city, "city")
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    heard.ids = list(ids)
    moved = [(ids.index("abc"[s]), t, measured) for s, t, measured in later if "abc"[s] in stays]
    heard.hear(again.take(make_readings(moved, len(rows)), last=True))
    for station in stays:
        assert {key: row for key, row in heard.rows.items() if key[0] == station} == {
            key: row for key, row in told.rows.items() if key[0] == station
        }
    assert all(key[3] <= START // 60 + 120 for key in heard.rows if key[0] not in stays)


def test_an_added_cadence_starts_where_the_zone_is(make_city, make_readings):
    rows = steady(("1m",) * 3, 3)
    zone = Zone(make_city(("1m",) * 3), "city")
    zone.take(make_readings(rows[:180]))
    city = make_city(("1m", "1m", "1m", "1h"))
    again = Zone(city, "city")
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    told = Told(again, city)
    told.hear(again.take(make_readings([*rows[180:], (3, START + 3 * HOUR, {"pm10": 1.0})], 180), last=True))
    assert ended(told, "d", "1h") == [180]


@pytest.mark.parametrize("change", [{"horizon": "5h"}, {"windows": ("10m", "1h", "2d")}])
@pytest.mark.parametrize("grows", [True, False])
def test_another_shape_is_refused_with_its_cure(make_city, make_readings, change, grows):
    before, after = ({}, change) if grows else (change, {})
    zone = Zone(make_city(**before), "city")
    zone.take(make_readings(steady(("1m",) * 3, 3)))
    with pytest.raises(ConfigurationError, match="city file changed .* cityair rebuild"):
        Zone(make_city(**after), "city").restore(zone.snapshot())


def test_a_station_may_change_its_cadence(make_city, make_readings):
    rows = steady(("1m",) * 3, 3)
    zone = Zone(make_city(("1m",) * 3), "city")
    told = Told(zone, make_city(("1m",) * 3))
    told.hear(zone.take(make_readings(rows[:270])))
    again = Zone(make_city(("1m", "1m", "10m")), "city")
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    told.hear(again.take(make_readings(rows[270:], 270), last=True))
    whole, _ = play(make_city(("1m",) * 3), make_readings, rows)
    assert told.newest()[0] == whole.newest()[0]  # what is found is found cell by cell, and its cells are longer now
