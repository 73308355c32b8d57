"""Ozone's NowCast in the stream: that of the kernel for the hours alone, however readings came, to the last bit."""

import math
import pickle

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flows.analyses import ozone_hours
from flows.analyses.indices import IndexRows
from flows.kernels import rolling
from flows.kernels.nowcast_o3 import GAP, WINDOW, nowcast_o3, surrogate_o3
from schemas.city import IndexSettings
from schemas.durations import seconds
from schemas.measured import AIR
from tests.support.zones import HOUR, START, crashed, new_zone

FIRST = START // 60
O3 = AIR.gridded.index("o3")
SOME = settings(
    deadline=None,
    max_examples=3,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes a second
)
FITTED = WINDOW - GAP
"""Hours after which a regression is made: before, more than seven in a row are missing from the two weeks."""
LONG = 440
"""Hours: more than the history keeps, in these tests."""


@pytest.fixture(scope="module")
def asking(make_city):
    """A city that asks for the regression, and takes readings a day late."""

    def make(every=("1h", "1h", "1h"), ozone="regression", **options):
        city = make_city(every, **{"horizon": "24h", **options})
        return msgspec.structs.replace(city, indices=IndexSettings(ozone=ozone))

    return make


class AqiLog:
    """The newest row of each hour, station and pollutant in ``aqi``; what must hold of each is asserted on the way."""

    def __init__(self):
        self.newest, self.revision = {}, {}

    def add(self, zone, result):
        for rows in result.results.rows:
            if isinstance(rows, IndexRows) and rows.table == "aqi":
                self._add(zone.grid.instruments, rows)

    def _add(self, instruments, rows):
        names = sorted(rows.values)
        parameters = rows.texts["parameter"].code.tolist()
        columns = zip(*(rows.values[name].tolist() for name in names), strict=True)
        keys = zip(rows.station.tolist(), rows.ended.tolist(), parameters, rows.revision.tolist(), strict=True)
        for (station, ended, parameter, revision), values in zip(keys, columns, strict=True):
            row = dict(zip(names, values, strict=True))
            key = (instruments[station], (ended - FIRST) // 60, parameter)
            assert (revision > self.revision[key]) if key in self.newest else (revision == 0)
            assert row != self.newest.get(key), "only what differs is said again"
            self.newest[key], self.revision[key] = row, revision

    def ozone(self, station):
        """Concentration of each hour of a station, and hours missing behind it."""
        return {
            hour: (row["concentration"], row["missing"])
            for (of, hour, parameter), row in self.newest.items()
            if (of, parameter) == (station, O3)
        }


def play(city, make_readings, rows, cuts=(), *, crash=(), ends=(), last=True):
    zone, log = new_zone(city), AqiLog()
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        final = i == len(bounds) - 2
        result = zone.take(make_readings(rows[begin:end], begin), end_of_input=(last and final) or i in ends)
        assert not result.rejects or {reject.reason for reject in result.rejects} == {"duplicate"}
        log.add(zone, result)
        zone.snapshot()  # the engine asks for one whether or not it is needed
        if i in crash:
            zone = crashed(zone, city)
    return log, zone


def ozone_state(zone):
    """What the snapshot of a zone says of its ozone's hours."""
    return msgspec.json.decode(zone.snapshot()["analyses"]["ozone_hours"]["meta"])


def air(seed, every=("1h",) * 3, hours=LONG):
    """Rows in the order of their times: days of ozone, with hours missing, one outage, and PM."""
    random = np.random.default_rng(seed)
    rows = []
    for station, cadence in enumerate(every):
        each = seconds(cadence)
        outage = START + int(random.integers(hours - 40, hours - 15)) * HOUR
        for second in range(START + each, START + hours * HOUR + 1, each):
            if random.random() < 0.03 or outage < second <= outage + 5 * HOUR:
                continue
            level = 0.03 + 0.02 * math.sin(second / HOUR / 24 * 2 * math.pi + station)
            ozone = round(max(0.0, level + random.normal(0, 0.006)), 3)
            rows.append((station, second, {"o3": ozone, "pm25": float(random.integers(5, 60))}))
    return sorted(rows, key=lambda row: row[1])


def late(rows, seed, share, since=FITTED - 20):
    """Rows as they arrive when a share of them is up to 23 hours late, and some come twice."""
    random = np.random.default_rng(seed)
    arriving = [
        (row[1] + (random.random() < share and row[1] > START + since * HOUR) * random.uniform(0, 23 * HOUR), row)
        for row in rows
        for _ in range(1 + (random.random() < 0.03))
    ]
    return [row for _, row in sorted(arriving, key=lambda item: item[0])]


def means(rows, every, hours=LONG):
    """Valid means of every hour, shape (stations, hours), from readings in whole minutes."""
    sums, counts = np.zeros((2, len(every), hours), np.int64)
    for station, second, measured in rows:
        hour = -(-(second - START) // HOUR) - 1
        sums[station, hour] += rolling.quantise(np.array([measured["o3"]]))[0]
        counts[station, hour] += 1
    needs = [0.75 * HOUR / seconds(cadence) for cadence in every]
    return np.where(counts >= np.array(needs)[:, None], rolling.mean(sums, counts), np.nan)


def is_of(log, station, hourly, first=0):
    """The rows of a station are those of the kernel for all its hours at once, to the last bit."""
    casts = nowcast_o3(hourly[None], 0)[0]
    lacks = np.isnan(np.concatenate([np.full(335, np.nan), hourly]))
    expected = {
        hour + 1: (cast, int(lacks[hour : hour + 336].sum()))
        for hour, cast in enumerate(casts.tolist())
        if hour >= first and not math.isnan(cast)
    }
    assert log.ozone(station) == expected
    return casts


@pytest.fixture(scope="module")
def in_order(asking, make_readings):
    """What one pass in order says: what the kernel says of all hours at once."""
    rows = air(1)
    log, _ = play(asking(), make_readings, rows)
    hourly = means(rows, ("1h",) * 3)
    for i, station in enumerate("abc"):
        casts = is_of(log, station, hourly[i])
        by_regression = np.abs(casts - surrogate_o3(hourly[i : i + 1], 0)[0])[FITTED:] > 1e-9
        assert by_regression.mean() > 0.8, "what is compared is the regression"
    return log


@SOME
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.03, 0.2]),
    st.lists(st.integers(1, 999), max_size=12, unique=True),
    st.sets(st.integers(0, 12)),
)
def test_however_readings_come_the_newest_rows_are_those_of_one_pass(
    asking, make_readings, in_order, order, share, parts, crash
):
    arriving = late(air(1), order, share)
    cuts = sorted(part * len(arriving) // 1000 for part in parts)
    log, zone = play(asking(), make_readings, arriving, cuts, crash=crash)
    assert log.newest == in_order.newest
    assert ozone_state(zone)["hours"] < LONG, "hours were forgotten on the way"


def test_cadences_side_by_side_cut_by_the_hour(asking, make_readings):
    every = ("10m", "10m", "10m", "1h")
    city, rows = asking(every), air(5, every, 350)
    arriving = late(rows, 6, 0.01)
    cuts = range(20, len(arriving), 100)
    log, _ = play(city, make_readings, arriving, cuts, crash=range(0, len(cuts), 9))
    hourly = means(rows, every, 350)
    for i, station in enumerate("abcd"):
        is_of(log, station, hourly[i])
    assert max(log.revision[key] for key in log.revision if key[2] == O3) > 0


def test_an_end_that_was_none_changes_no_newest_row(asking, make_readings):
    rows = air(6, hours=370)
    arriving = late(rows, 7, 0.2)
    cuts = [700, len(arriving) - 100, len(arriving) - 50]
    log, _ = play(asking(), make_readings, arriving, cuts, crash={0, 1}, ends={0, 1, 2})
    for i, station in enumerate("abc"):
        is_of(log, station, means(rows, ("1h",) * 3, 370)[i])


def test_a_late_hour_changes_every_nowcast_since(asking, make_readings):
    rows = air(3, hours=370)
    missed = next(row for row in rows if row[0] == 1 and row[1] >= START + 350 * HOUR)
    others = [row for row in rows if row is not missed]
    at = next(i for i, row in enumerate(others) if row[1] > missed[1] + 16 * HOUR)
    log, _ = play(asking(), make_readings, [*others[:at], missed, *others[at:]], [at, at + 1])
    is_of(log, "b", means(rows, ("1h",) * 3, 370)[1])
    hour = (missed[1] - START) // HOUR
    said_again = {key[1] for key, revision in log.revision.items() if revision and key[0] == "b" and key[2] == O3}
    assert {*range(hour + 3, hour + 16)} <= said_again <= {*range(hour, hour + 18)}
    assert not {key for key, revision in log.revision.items() if revision and key[0] != "b"}


def test_what_is_late_of_another_pollutant_makes_no_nowcast_again(asking, make_readings, monkeypatch):
    rows = air(3, hours=345)
    late_one = (0, START + 340 * HOUR - 60, {"pm25": 400.0})
    log, zone = play(asking(), make_readings, rows, last=False)
    asked = []

    def counted(hours, first):
        asked.append(hours[:, first:].size)
        return nowcast_o3(hours, first)

    monkeypatch.setattr(ozone_hours, "nowcast_o3", counted)
    more = [(s, START + h * HOUR, {"o3": 0.03}) for h in (346, 347) for s in range(3)]
    log.add(zone, zone.take(make_readings([late_one, *more], len(rows))))
    assert any(revision for key, revision in log.revision.items() if key[2] != O3), "PM was said again"
    assert sum(asked) == 3 * 2


def test_without_the_setting_there_is_no_history(asking, make_readings):
    city, rows = asking(ozone="surrogate"), air(4, hours=280)
    log, zone = play(city, make_readings, rows)
    assert "ozone_hours" not in zone.snapshot()["analyses"]
    hourly = means(rows, ("1h",) * 3, 280)
    casts = surrogate_o3(hourly, 0)
    for i, station in enumerate("abc"):
        found = log.ozone(station)
        assert [found.get(hour + 1, (math.nan,))[0] for hour in range(280)] == pytest.approx(
            casts[i].tolist(), nan_ok=True
        )
        assert {lacks for _, lacks in found.values()} <= {0, 1, 2}


@pytest.mark.parametrize("before", ["surrogate", "older"])
def test_turned_on_it_begins_with_nothing_and_turned_off_it_is_dropped(asking, make_readings, before):
    rows = air(4, hours=400)
    cut = next(i for i, row in enumerate(rows) if row[1] > START + 20 * HOUR)
    _, zone = play(asking(ozone="surrogate"), make_readings, rows[:cut], last=False)
    kept = zone.snapshot()
    if before == "older":
        kept = as_version_1(kept)
    zone, log = new_zone(asking()), AqiLog()
    zone.restore(kept)
    log.add(zone, zone.take(make_readings(rows[cut:], cut), end_of_input=True))
    hourly = means(rows, ("1h",) * 3, 400)
    first = min(log.ozone("a")) - 1
    assert first in (19, 20)
    hourly[:, :first] = np.nan
    for i, station in enumerate("abc"):
        is_of(log, station, hourly[i], first)
    off = new_zone(asking(ozone="surrogate"))
    off.restore(zone.snapshot())
    assert "ozone_hours" not in off.snapshot()["analyses"]


def as_version_1(kept):
    """A snapshot as version 1 wrote it, before it knew of ozone's hours."""
    later = {"analyses", "learnt", "late_records", "parts", "records"}
    return {key: value for key, value in kept.items() if key not in later} | {"v": 1}


def test_stations_keep_their_hours_come_go_and_change_their_cadence(asking, make_readings):
    every = ("1h",) * 3
    rows = air(2, hours=370)
    cut = next(i for i, row in enumerate(rows) if row[1] > START + 344 * HOUR)
    log, zone = play(asking(every), make_readings, rows[:cut], last=False)
    now = new_zone(asking(("30m", "1h", "1h"), ids="cad"))
    now.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    place = {0: 1, 2: 0}
    rest = [(place[s], second, measured) for s, second, measured in rows[cut:] if s in place]
    rest += [(0, second - 1800, measured) for s, second, measured in rest if s == 0]
    rest += [(2, second, {"o3": 0.05}) for s, second, _ in rest if s == 1]
    log.add(now, now.take(make_readings(sorted(rest, key=lambda row: row[1]), cut), end_of_input=True))
    hourly = means(rows, every, 370)
    for i, station in ((0, "a"), (2, "c")):
        is_of(log, station, hourly[i])
    assert {cast for cast, _ in log.ozone("d").values()} == {0.05 * 0.85 + 0.0045}
    assert max(log.ozone("b")) <= 348


def test_days_of_nothing_and_air_again(asking, make_readings):
    rows = [(s, second + (second > START + 335 * HOUR) * 5 * HOUR, of) for s, second, of in air(2, hours=360)]
    for back in (40, 900):
        gap = [(s, second + (second > START + 355 * HOUR) * back * HOUR, of) for s, second, of in rows]
        log, _ = play(asking(), make_readings, gap, range(200, len(gap), 31), crash=range(0, 30, 4))
        hourly = means(gap, ("1h",) * 3, 365 + back)
        for i, station in enumerate("abc"):
            is_of(log, station, hourly[i])
