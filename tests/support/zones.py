"""What the tests of zones share: air as networks send it, ways to play it, and a log of what a zone says of it."""

import pickle

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from flows import air as air_flow
from flows.analyses.quality import FlagRows, cell_tests, limits_of
from flows.analyses.windows import WindowMessages, lengths_of, window_rows
from flows.decode.batch import no_readings
from flows.kernels.rolling import one_sided
from flows.state.grid import PAGE_SLOTS
from flows.zone.plan import ZoneSettings
from schemas.durations import seconds
from schemas.measured import AIR
from schemas.quality import Flag

P = len(AIR.gridded)
START = 1_767_225_600
"""A second: 2026-01-01, 09:00 in Seoul."""
HOUR = 3600
HEAVY = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SMALL = ZoneSettings(spare_slots=PAGE_SLOTS, evaluate_slots=180)
"""The grid moves often, and what has fired is evaluated in parts."""


def new_zone(city, settings=SMALL, name="city"):
    return air_flow.zone(city, name, settings)


class ZoneLog:
    """All that a zone says, by key; what must be true of every single result is asserted on the way."""

    def __init__(self, zone, city):
        self.ids = [city.stations[i].id for i in zone.stations]
        self.lengths = {c.every: lengths_of(c, city.windows.lengths).names for c in zone.cadences}
        self.verdict, self.accepted = {}, {}
        self.rows, self.revision, self.first, self.flags, self.flag_revision = {}, {}, {}, {}, {}
        self.sent, self.states, self.alerts = [], [], []

    def add(self, result):
        for accepted in result.accepted:
            r = accepted.readings
            for i, offset in enumerate(r.offset.tolist()):
                self._judge(offset, "accepted")
                values = tuple(None if np.isnan(v) else v for v in r.values[i].tolist())
                self.accepted[offset] = (
                    int(r.station[i]),
                    int(r.observed[i]),
                    values,
                    tuple(accepted.flags[i].tolist()),
                )
        for reject in result.rejects:
            self._judge(reject.offset, reject.reason)
            assert reject.payload == b"reading %d" % reject.offset
        for rows in window_rows(result.results.rows):
            self._windows(rows)
        for rows in result.results.rows:
            if isinstance(rows, FlagRows):
                self._flags(rows)
        messages = [of for of in result.results.messages if isinstance(of, WindowMessages)]
        self.sent += sorted(event.order for of in messages for event in of.events(self.ids))
        self.states += result.signals.states
        self.alerts += result.signals.alerts

    def _judge(self, offset, verdict):
        assert offset not in self.verdict, "judged twice"
        self.verdict[offset] = verdict

    def _windows(self, rows):
        if not rows.columns():
            return
        names, totals = rows.columns()["window_length"].names, rows.totals
        columns = (rows.instrument, rows.parameter, rows.window, rows.ended, rows.revision)
        counted = (totals.sum, totals.count, totals.filled, totals.suspect)
        sides = one_sided(totals.count, totals.below, totals.above)
        for s, p, w, ended, revision, *row in zip(*(of.tolist() for of in columns + counted + sides), strict=True):
            self._mean((self.ids[s], AIR.gridded[p], names[w], ended), revision, tuple(row))

    def _mean(self, key, revision, row):
        _, count, filled, suspect, *_ = row
        assert count > 0
        assert 0 < filled <= count
        assert 0 <= suspect <= count
        if key in self.rows:
            assert revision > self.revision[key], "revisions grow"
            assert row != self.rows[key], "only what differs is said again"
        else:
            assert revision == 0
            self.first[key] = row[:3]
        self.rows[key], self.revision[key] = row, revision

    def _flags(self, rows):
        columns = (rows.column, rows.parameter, rows.ended, rows.revision, rows.tests)
        for s, p, ended, revision, tests in zip(*(column.tolist() for column in columns), strict=True):
            key = (self.ids[s], AIR.gridded[p], ended)
            assert tests != self.flags.get(key, 0), "only what differs is said again"
            assert revision > self.flag_revision.get(key, -1), "revisions grow"
            self.flags[key], self.flag_revision[key] = tests, revision

    def newest(self):
        """Newest rows and flags; a finding withdrawn is none."""
        return self.rows, {key: tests for key, tests in self.flags.items() if tests}

    def signals(self):
        return self.states, self.alerts

    def of(self, light):
        return [state for state in self.states if state.light_id == light]


def crashed(zone, city, settings=SMALL, make=new_zone):
    kept = pickle.dumps(zone.snapshot())
    again = make(city, settings, zone.id)
    again.restore(pickle.loads(kept))
    return again


# More than 8 parameters: each test wants others.
def play(
    city, make_readings, rows, cuts=(), *, crash=(), ends=(), last=True, settings=SMALL, make=new_zone, log_of=ZoneLog
):
    """Take rows in batches cut before ``cuts``; crash after some; say that the input ends after some."""
    zone = make(city, settings, "city")
    log = log_of(zone, city)
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        readings = make_readings(rows[begin:end], begin) if end > begin else no_readings()
        final = last and end == len(rows) and i == len(bounds) - 2
        result = zone.take(readings, end_of_input=final or i in ends)
        log.add(result)
        assert len(log.verdict) + result.waiting.size == end
        if i in crash:
            zone = crashed(zone, city, settings, make)
    return log, zone


def expected(city, log, zone):
    """What the lake is to show at the end, in plain Python from the accepted values alone: rows and flags."""
    rows, flags = {}, {}
    for cadence in zone.cadences:
        assert not cadence.due, "all that fired was evaluated"
        assert cadence.fired_until < 0 or cadence.fired_until % cadence.slots == 0, "whole cells fire"
        found, own = tested(city, log, zone, cadence)
        flags |= {(zone.grid.instruments[s], AIR.gridded[p], ended): tests for (s, p, ended), tests in found.items()}
        lengths = lengths_of(cadence, city.windows.lengths)
        for (s, p), slots in own.items():
            for name, length in zip(lengths.names, lengths.slots.tolist(), strict=True):
                step = cadence.step
                filled = [slot for slot, of in slots.items() if of[1]]
                ends = {e for slot in filled for e in range(-(-slot // step) * step, slot + length, step)}
                for ended in sorted(e for e in ends if e <= cadence.fired_until):
                    inside = [slot for slot in filled if ended - length < slot <= ended]
                    suspect = sum(
                        slots[t][1 if (s, p, -(-t // cadence.slots) * cadence.slots) in found else 2] for t in inside
                    )
                    total, count = sum(slot_mean(*slots[t][:2]) for t in inside), sum(slots[t][1] for t in inside)
                    failed = [slots[t][3:] for t in slots if ended - length < t <= ended]
                    below, above = (sum(of[k] for of in failed) for k in (0, 1))
                    sides = (10 * side > count + below + above for side in (below, above))
                    key = zone.grid.instruments[s], AIR.gridded[p], name, ended
                    rows[key] = (total, count, len(inside), suspect, *sides)
    return rows, flags


def snapped(observed, cadence_slots):
    """A time in microseconds, or the multiple of a cadence above a minute from which it is a twentieth at most."""
    every = cadence_slots * 60_000_000
    nearest = (observed + every // 2) // every * every
    return nearest if cadence_slots > 1 and abs(observed - nearest) * 20 <= every else observed


def slot_mean(total, count):
    """Mean of the values of a slot in whole quanta, halves up."""
    return (2 * total + count) // (2 * count)


def tested(city, log, zone, cadence):
    """Findings of a cadence in one go over all its cells, and sums and counts by column, parameter and slot."""
    own = {}
    fail = [limits.fail for limits in city.limits()]
    for station, observed, values, flag in log.accepted.values():
        column, slot = int(zone.column[station]), -(-snapped(observed, cadence.slots) // 60_000_000)
        if column not in cadence.columns:
            continue
        for p in range(P):
            if flag[p] <= Flag.FAIL:
                of = own.setdefault((column, p), {}).setdefault(slot, [0] * 5)
                low, high = fail[p]
                counts = flag[p] <= Flag.SUSPECT
                added = (
                    round(values[p] * 1e9) * counts,
                    counts,
                    flag[p] == Flag.SUSPECT,
                    values[p] < low,
                    values[p] > high,
                )
                own[column, p][slot] = [before + more for before, more in zip(of, added, strict=True)]
    slots = [slot for of in own.values() for slot in of if of[slot][1]]
    if not slots or cadence.fired_until < 0:
        return {}, own
    first, last = -(-min(slots) // cadence.slots), cadence.fired_until // cadence.slots
    sums, counts = np.zeros((2, max(0, last - first + 1), len(zone.grid.instruments), P), np.int64)
    for (column, p), of in own.items():
        for slot, (total, count, *_) in of.items():
            cell = -(-slot // cadence.slots) - first
            if count and cell < len(sums):
                sums[cell, column, p] += slot_mean(total, count)
                counts[cell, column, p] += 1
    found = cell_tests(sums, counts, 0, limits_of(city, cadence.slots), city.quality.pm25_over_pm10)
    return {(s, p, (first + t) * cadence.slots): int(found[t, s, p]) for t, s, p in np.argwhere(found).tolist()}, own


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
    """Where rows are cut, and after which batches the process dies."""
    cuts = sorted(draw(st.sets(st.integers(0, n), max_size=10)))
    return {"cuts": cuts, "crash": draw(st.sets(st.integers(0, len(cuts))))}


def same(log, other):
    """Everything that may not depend on how the input was cut."""
    assert log.verdict == other.verdict
    assert log.accepted == other.accepted
    assert log.newest() == other.newest()
    assert log.first == other.first
    assert log.sent == other.sent
    assert log.sent == sorted(set(log.sent)), "each once, in the order of the firings"


def steady(every, hours, *, start=START, value=20.0):
    """Every station reports every time."""
    return [(s, t, {"pm10": value}) for s, t, _ in air(0, every, hours, drop=0.0, start=start)]


def ended(log, station, window="10m"):
    """Slots at which windows of a station end, as minutes since the start."""
    return sorted(
        key[3] - START // 60 for key in log.rows if key[0] == station and key[2] == window and key[1] == "pm10"
    )
