"""A flow that nobody needs, with all that a flow can have: it shows that the seams hold.

Its stations are those of the city's zone ``toy``, which send readings with a ``sensor_id``; people send reports. It
compares stations of two cadences, learns at a day's close, keeps objects with revisions and a message each, and names
faults that lights leave out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct

from flows.analyses.base import Analysis, Event, Fault, Names, Nullable, Results
from flows.analyses.hours import hourly
from flows.analyses.windows import RollingMeans
from flows.engine.flow import Flow
from flows.signals.air import AirSignals
from schemas.durations import seconds
from schemas.measured import AIR, Instrument, Measured, Recorded
from schemas.odor import OdorReport
from schemas.rolling import Rolling
from schemas.slots import DAY_SLOTS, HOUR_SLOTS, SLOT_S, SLOT_US
from schemas.tables import NAME, ORIGIN, RECORD_KEY, TIME, Table
from schemas.topics import Topic

TOY = Measured("env.toy.reading.v1", "toy_readings", "sensor_id", AIR.gridded, AIR.carried)
REPORTS = Recorded("env.toy.report.v1", "toy_reports", "report_id", "reported_at", OdorReport)
ROLLING_TOPIC, OBJECT_TOPIC, LIGHT_TOPIC, ALERT_TOPIC = (
    "env.toy.rolling.v1",
    "env.toy.object.v1",
    "env.light.state.v1",
    "env.air.alert.v1",
)
PM25 = AIR.gridded.index("pm25")
LIMIT, FAULT = 20.0, 500.0
"""Excess in µg/m³ from which an object stands, and from which the station is at fault."""
BLOCK_SLOTS = 360
"""Objects end with their six hours at the latest, so that the grid holds all of one."""
TEACHING_DAYS = 4


class ObjectMessage(Struct):
    """A message of ``env.toy.object.v1``."""

    object_id: str
    started_at: str


def _table(doc, time, key, *fields):
    kinds = {"sensor_id": NAME, "zone": NAME, "parameter": NAME, "window_length": NAME, "object_id": pa.string()}
    kinds |= {"revision": pa.int32(), "count": pa.int32(), "expected": pa.int32(), "suspect": pa.int32()}
    kinds |= {"reports": pa.int32(), "withdrawn": pa.bool_(), "valid": pa.bool_(), "text": pa.string()}
    kinds |= {"report_id": pa.string(), "intensity": pa.int8()}
    schema = [(name, TIME if name.endswith("_at") else kinds.get(name, pa.float64())) for name in fields]
    return Table(doc, time, key, pa.schema(schema), flow="toy")


def _records(doc, time, *fields):
    origin = [(name, kind) for name, kind, _ in ORIGIN]
    table = _table(doc, time, RECORD_KEY, *fields)
    flags = [(f"flag_{name}", pa.int8()) for name in TOY.gridded] if "sensor_id" in fields else []
    return table._replace(schema=pa.schema([*table.schema, *[pa.field(*f) for f in (*flags, *origin)]]))


TOY_TABLES = {
    TOY.table: _records("a reading", "observed_at", "zone", "sensor_id", "observed_at", "received_at", *TOY.values),
    REPORTS.table: _records(
        "a report", "reported_at", *("report_id", "reported_at", "received_at", "lat", "lon", "intensity", "text")
    ),
    "toy_rolling": _table(
        *("a window", "ended_at", ("sensor_id", "parameter", "window_length", "ended_at"), "zone", "sensor_id"),
        *("parameter", "window_length", "ended_at", "mean", "count", "expected", "coverage", "suspect", "valid"),
        "revision",
    ),
    "toy_excess": _table(
        *("a station against the others", "ended_at", ("sensor_id", "ended_at"), "zone", "sensor_id", "ended_at"),
        *("excess", "bias", "revision"),
    ),
    "toy_objects": _table(
        *("a run of excess", "started_at", ("object_id",), "object_id", "zone", "sensor_id", "started_at", "ended_at"),
        *("peak", "withdrawn", "revision"),
    ),
    "toy_hours": _table(
        *("reports of an hour", "ended_at", ("zone", "ended_at"), "zone", "ended_at", "reports", "revision")
    ),
}
TOY_TOPICS = {
    ROLLING_TOPIC: Topic("sensor_id", Rolling, "out"),
    OBJECT_TOPIC: Topic("sensor_id", ObjectMessage, "out"),
}


@dataclass
class PlainRows:
    """Rows of a table from columns."""

    table: str
    data: dict

    @property
    def size(self):
        return len(next(iter(self.data.values())))

    def columns(self):
        return self.data if self.size else {}


class Compared(NamedTuple):
    """Means of stations at steps against the newest hour of stations of other cadences, shape (S, n) each."""

    excess: np.ndarray
    bias: np.ndarray


class Excess(Analysis):
    """Excess of each station over stations of other cadences, less what it was on the day that taught."""

    name = "excess"
    tables = ("toy_excess",)
    lookback = TEACHING_DAYS * DAY_SLOTS
    history = TEACHING_DAYS * DAY_SLOTS
    learns = True

    def attach(self, view):
        self.width = len(view.instruments)
        self.lessons = {}
        """By instrument id and boundary, the bias in force after it."""

    def close(self, view, cadence, first, last, revision):
        ends = self.steps(cadence, first, last)
        return Results(rows=self._rows(cadence.columns, ends, self.compare(view, cadence, ends), None, 0))

    def measure(self, view, span):
        if span.records:
            return None
        return [(cadence, ends, self.compare(view, cadence, ends)) for cadence, ends in self.touched(view, span)]

    def touched(self, view, span):
        """Steps of every cadence that rest on the span."""
        for cadence in view.cadences:
            ends = self.steps(cadence, span.first - 1 - cadence.step, cadence.evaluated_until)
            if ends.size:
                yield cadence, ends

    def revise(self, view, span, before):
        results = Results()
        for cadence, ends, old in before or ():
            now = self.compare(view, cadence, ends)
            results.rows += self._rows(cadence.columns, ends, now, old, span.revision)
        return results

    def learn(self, view, day):
        for cadence in view.cadences:
            excess = self.compare(view, cadence, self.steps(cadence, day.first, day.last)).excess
            known = (~np.isnan(excess)).sum(axis=1)
            mean = np.nansum(excess, axis=1) / np.maximum(known, 1)
            for row, column in enumerate(cadence.columns.tolist()):
                lessons = self.lessons.setdefault(view.instruments[column], {})
                lessons[day.boundary] = round(float(mean[row]), 6) if known[row] else 0.0
                for boundary in [b for b in lessons if b < day.boundary - 2 * DAY_SLOTS]:
                    del lessons[boundary]
        return Results()

    def snapshot(self):
        return {"lessons": msgspec.msgpack.encode(self.lessons)}

    def restore(self, version, pages, columns):
        if pages:
            kept = msgspec.msgpack.decode(pages["lessons"], type=dict[str, dict[int, float]])
            self.lessons = {name: lessons for name, lessons in kept.items() if name in columns}

    def compare(self, view, cadence, ends):
        """Compare at steps; NaN where something is missing."""
        own = view.grid.windows(ends, np.array([cadence.step]), cadence.columns)
        mean = np.full((cadence.columns.size, ends.size), np.nan)
        count = own.count[PM25, 0]
        np.divide(own.sum[PM25, 0], count * 1e9, out=mean, where=count > 0)
        others = [other for other in view.cadences if other is not cadence]
        reference = np.full(ends.size, np.nan)
        if others and ends.size:
            # A slot of another cadence has fired for certain once its straggler timeout is over.
            hours = np.stack([(ends - other.straggler_timeout) // HOUR_SLOTS * HOUR_SLOTS for other in others])
            unique = np.unique(hours)
            means = [hourly(view.grid, other.columns, other.slots, unique)[0][:, :, PM25] for other in others]
            at = np.searchsorted(unique, hours)
            together = np.concatenate([of[at[i]] for i, of in enumerate(means)], axis=1)
            known = (~np.isnan(together)).sum(axis=1)
            np.divide(np.nansum(together, axis=1), known, out=reference, where=known > 0)
        bias = np.zeros(mean.shape)
        for row, column in enumerate(cadence.columns.tolist()):
            lessons = self.lessons.get(view.instruments[column], {})
            for boundary in sorted(lessons):
                bias[row, ends > boundary] = lessons[boundary]
        return Compared(np.round(mean - reference, 6), bias)

    def _rows(self, columns, ends, now, before, revision):
        exists = ~np.isnan(now.excess)
        if before is not None:
            was = ~np.isnan(before.excess)
            exists = (exists | was) & ~((now.excess == before.excess) & (now.bias == before.bias)) & (exists | was)
        s, e = np.nonzero(exists)
        excess = now.excess[s, e]
        revisions = np.where(was[s, e], revision, 0) if before is not None else np.zeros(s.size)
        data = {
            "instrument": columns[s].astype(np.int32),
            "ended_at": ends[e] * SLOT_US,
            "excess": Nullable(np.nan_to_num(excess), np.isnan(excess)),
            "bias": now.bias[s, e],
            "revision": revisions.astype(np.int32),
        }
        return [PlainRows("toy_excess", data)]


class Objects(Analysis):
    """Runs of steps in which a station's excess is above its bias by the limit; and faults, far above it."""

    name = "objects"
    tables = ("toy_objects",)
    topics = (OBJECT_TOPIC,)

    def __init__(self, excess):
        self.excess = excess
        self.objects = {}
        """By id: column's name, started, ended, peak."""
        self.faulty, self.announced = set(), set()

    def close(self, view, cadence, first, last, revision):
        results, begin = Results(), first // BLOCK_SLOTS * BLOCK_SLOTS
        ends = self.excess.steps(cadence, begin, last)
        compared = self.excess.compare(view, cadence, ends)
        found = self._found(view, cadence, ends, compared)
        self._say(view, found, revision, results, cadence, begin, fresh=(cadence, first))
        above = compared.excess - compared.bias > FAULT
        for e, end in enumerate(ends.tolist()):
            for row, column in enumerate(cadence.columns.tolist()):
                name = view.instruments[column]
                if (
                    end > first
                    and not np.isnan(compared.excess[row, e])
                    and bool(above[row, e]) != (name in self.faulty)
                ):
                    self.faulty ^= {name}
                    results.faults.append(Fault(end, column, PM25, bool(above[row, e])))
        return results

    def revise(self, view, span, before):
        results = Results()
        if span.records:
            return results
        for cadence in view.cadences:
            begin = (span.first - 1 - cadence.step) // BLOCK_SLOTS * BLOCK_SLOTS
            ends = self.excess.steps(cadence, begin, cadence.evaluated_until)
            if ends.size:
                found = self._found(view, cadence, ends, self.excess.compare(view, cadence, ends))
                self._say(view, found, span.revision, results, cadence, begin)
        return results

    def _found(self, view, cadence, ends, compared):
        """Objects of these steps, which begin with a block."""
        found = {}
        with np.errstate(invalid="ignore"):
            above = compared.excess - compared.bias > LIMIT
        for row, column in enumerate(cadence.columns.tolist()):
            started = None
            for e, end in enumerate(ends.tolist()):
                if end - cadence.step == (end - cadence.step) // BLOCK_SLOTS * BLOCK_SLOTS or not above[row, e]:
                    started = None
                if above[row, e]:
                    started = end if started is None else started
                    name = f"{view.instruments[column]}:{started}"
                    peak = max(found.get(name, (0, 0, 0, 0.0))[3], float(compared.excess[row, e]))
                    found[name] = (view.instruments[column], started, end, peak)
        return found

    def _say(self, view, found, revision, results, cadence, begin, fresh=None):
        mine = {view.instruments[column] for column in cadence.columns.tolist()}
        known = {name: of for name, of in self.objects.items() if of[0] in mine and of[1] > begin}
        changed = {name: of for name, of in found.items() if known.get(name) != of}
        gone = {name: of for name, of in known.items() if name not in found}
        new = [name for name in changed if name not in known and name not in self.announced]
        self.objects = {name: of for name, of in {**self.objects, **changed}.items() if name not in gone}
        newest = max((of[2] for of in self.objects.values()), default=0)
        self.objects = {name: of for name, of in self.objects.items() if of[1] > newest - 10 * DAY_SLOTS}
        both = [(name, of, False) for name, of in changed.items()] + [(name, of, True) for name, of in gone.items()]
        if both:
            column = {name: i for i, name in enumerate(view.instruments)}
            data = {
                "instrument": np.array([column[of[0]] for _, of, _ in both], np.int32),
                "object_id": [name for name, _, _ in both],
                "started_at": np.array([of[1] for _, of, _ in both]) * SLOT_US,
                "ended_at": np.array([of[2] for _, of, _ in both]) * SLOT_US,
                "peak": np.array([of[3] for _, of, _ in both]),
                "withdrawn": np.array([withdrawn for _, _, withdrawn in both]),
                "revision": np.full(len(both), revision, np.int32),
            }
            results.rows.append(PlainRows("toy_objects", data))
        if fresh is not None and new:
            of_cadence, first = fresh
            self.announced |= {*new}
            results.messages.append(ObjectMessages([(name, changed[name], of_cadence, first) for name in new], view))

    def snapshot(self):
        kept = {"objects": self.objects, "faulty": sorted(self.faulty), "announced": sorted(self.announced)}
        return {"all": msgspec.msgpack.encode(kept)}

    def restore(self, version, pages, columns):
        if pages:
            kept = msgspec.msgpack.decode(pages["all"])
            self.objects = {name: tuple(of) for name, of in kept["objects"].items() if of[0] in columns}
            self.faulty, self.announced = {*kept["faulty"]} & columns.keys(), {*kept["announced"]}


class ObjectMessages:
    """A message for each new object."""

    topic = OBJECT_TOPIC

    def __init__(self, new, view):
        self.new = []
        for name, (sensor, started, *_), cadence, first in new:
            firing = int(cadence.firing_of(np.array([max(started, first + 1)]))[0])
            self.new.append((firing, started, view.instruments.index(sensor), name, sensor))

    def events(self, instruments):
        for firing, started, column, name, sensor in self.new:
            at = datetime.fromtimestamp(started * SLOT_S, ZoneInfo("Asia/Seoul")).isoformat()
            yield Event(sensor, name, at, ObjectMessage(name, at), order=(firing, started, column))


class ReportsByHour(Analysis):
    """Reports of people by the hour, said with the steps of the zone's slowest cadence."""

    name = "reports"
    tables = ("toy_hours",)
    lookback = HOUR_SLOTS

    def close(self, view, cadence, first, last, revision):
        if cadence is not view.cadences[-1]:
            return Results()
        ends = self.steps(cadence, first, last)
        return Results(rows=self._rows(view, ends, [self._count(view, end) for end in ends.tolist()], 0))

    def measure(self, view, span):
        if not span.records or span.cadence is not view.cadences[-1]:
            return None
        ends = self.steps(span.cadence, span.first - 1 - span.cadence.step, span.cadence.evaluated_until).tolist()
        return {end: self._count(view, end) for end in ends}

    def revise(self, view, span, before):
        now = {end: self._count(view, end) for end in before or ()}
        changed = [end for end in now if now[end] != before[end]]
        return Results(rows=self._rows(view, np.array(changed), [now[end] for end in changed], span.revision))

    def _count(self, view, end):
        return sum(1 for _ in view.records.between(REPORTS.topic, end - HOUR_SLOTS, end))

    def _rows(self, view, ends, counts, revision):
        n = len(counts)
        data = {
            "zone": Names([view.zone], np.zeros(n, np.int32)),
            "ended_at": np.asarray(ends, np.int64) * SLOT_US,
            "reports": np.array(counts, np.int32),
            "revision": np.full(n, revision, np.int32),
        }
        return [PlainRows("toy_hours", data)] if n else []


def instruments(city):
    return [Instrument(s.id, s.lat, s.lon, seconds(s.every), s.zone) for s in city.stations if s.zone == "toy"]


def analyses(city):
    excess = Excess()
    rolling = RollingMeans(TOY, city.windows.lengths, "toy_rolling", ROLLING_TOPIC, ZoneInfo(city.city.timezone))
    return [excess, Objects(excess), ReportsByHour(), rolling]


FLOW = Flow(
    name="toy",
    measured=TOY,
    recorded=(REPORTS,),
    outputs=(ROLLING_TOPIC, OBJECT_TOPIC, LIGHT_TOPIC, ALERT_TOPIC),
    instruments=instruments,
    limits=lambda city: city.limits(),
    windows=lambda city: city.windows,
    analyses=analyses,
    signals=AirSignals,
)
