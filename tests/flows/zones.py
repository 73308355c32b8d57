"""What the tests of zones share: air as networks send it, ways to play it, and what a zone is to say of it."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from flows.analyses.quality import cell_tests, limits_of
from flows.decode.batch import no_readings
from flows.zone import watermark as clock_module
from flows.zone import zone as zone_module
from flows.zone.zone import Zone
from schemas.durations import minutes, seconds
from schemas.measured import AIR
from schemas.quality import Flag

P = len(AIR.gridded)
START = 1_767_225_600
"""A second: 2026-01-01, 09:00 in Seoul."""
HOUR = 3600
HEAVY = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def review_after(rows):
    """Let the quorum follow the stations heard after so many rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(clock_module, "QUORUM_REVIEW_ROWS", rows)
    patch.setattr(zone_module, "QUORUM_REVIEW_ROWS", rows)
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
            for i, koff in enumerate(r.offset.tolist()):
                self._judge(koff, "stored")
                values = tuple(None if np.isnan(v) else v for v in r.values[i].tolist())
                self.stored[koff] = (int(r.station[i]), int(r.observed[i]), values, tuple(stored.flags[i].tolist()))
        for reject in outcome.rejects:
            self._judge(reject.offset, reject.reason)
            assert reject.payload == b"reading %d" % reject.offset
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
                    (self.ids[s], AIR.gridded[p], names[w], ended),
                    revision,
                    tuple(row),
                    first=means.closing is not None,
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
                self._finding((self.ids[s], AIR.gridded[p], ended), revision, tests)

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
        flags |= {(zone.grid.stations[s], AIR.gridded[p], ended): tests for (s, p, ended), tests in found.items()}
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
                    rows[zone.grid.stations[s], AIR.gridded[p], name, ended] = (total, count, len(inside), suspect)
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
    found = cell_tests(sums, counts, 0, limits_of(city, group.cadence), city.quality.pm25_over_pm10)
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


def steady(every, hours, *, start=START, value=20.0):
    """Every station reports every time."""
    return [(s, t, {"pm10": value}) for s, t, _ in air(0, every, hours, drop=0.0, start=start)]


def ended(told, station, window="10m"):
    """Slots at which windows of a station end, as minutes since the start."""
    return sorted(
        key[3] - START // 60 for key in told.rows if key[0] == station and key[2] == window and key[1] == "pm10"
    )
