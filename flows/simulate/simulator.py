"""A seeded simulator: the readings of an invented city in the order they arrive, and the exact truth about them.

The same city, start, seed and scenarios give the same bytes, and a longer run goes on where a shorter one stopped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from flows.arrays import F64
from flows.simulate.air import days_of_air, generator
from flows.simulate.lines import (
    BROKEN,
    DUPLICATE,
    FUTURE,
    READING,
    SimulatedLines,
    corrupt,
    encode,
    to_table,
    utc_time,
)
from flows.simulate.scenarios import HOUR_US, Samples, ScenarioEvent, Schedule, apply_faults, resolve
from flows.simulate.truth import TrueEvent, TrueTotals, Truth
from schemas.city import City
from schemas.durations import minutes, seconds
from schemas.errors import UsageError
from schemas.measured import AIR
from schemas.slots import DAY_SLOTS, DAY_US, EPOCH, SECOND_US, SLOT_US, micros

SENT_DECIMALS = (1, 1, 4, 4, 2, 4, 1, 1)
"""Decimals that devices send of each of ``AIR.values``."""
NOISE = np.array([0.5, 0.4, 0.0008, 0.0006, 0.015, 0.0002, 0.1, 0.6])
"""Noise of a low-cost instrument in a minute: one standard deviation, in the unit of each of ``AIR.values``."""
NOISE_SHARE = np.array([0.04, 0.04, 0.02, 0.03, 0.02, 0.03, 0, 0])
"""Noise that grows with the value, as a share of it."""
GAIN_ERROR = 0.06
"""Calibration error of PM of a low-cost instrument: one standard deviation, as a share."""
REFERENCE_QUALITY = 0.25
"""Noise and calibration error of a reference instrument, as a share of a low-cost one's."""
LOST_SHARE = 0.015
"""Share of readings that never arrive, lost one by one."""
UNMEASURED_SHARE = 0.003
"""Share of single values that are null."""
DUPLICATES_SHARE, GARBAGE_SHARE = 0.05, 0.01
"""Shares of readings that the scenarios of these names add."""
SLOW_CADENCE_S = 600
"""Stations with a longer cadence publish as official hours are: ten to twenty minutes after the end."""
LONGEST_DAYS = 3660


class Minute(NamedTuple):
    """The lines that arrive within one minute."""

    ended_at: datetime
    lines: list[bytes]


class Simulation:
    """A run: days of lines, and the truth about them once all are taken.

    Args:
        city: its stations send.
        start: with an offset; readings end after it.
        days: length in days of 24 h, which may be a fraction.
        seed: of everything random.
        scenarios: names of ``SCENARIOS`` and ``MIXES``.

    Raises:
        UsageError: arguments that do not fit, or a scenario that is not known.

    >>> from flows.settings import load_city
    >>> run = Simulation(load_city(None), datetime.fromisoformat("2026-11-22T00:00:00+09:00"), days=1 / 24, seed=0)
    >>> sum(len(lines.station) for lines in run.days()) == run.truth.totals.lines
    True
    """

    def __init__(self, city: City, start: datetime, days: float, seed: int, scenarios: Sequence[str] = ()) -> None:
        if start.tzinfo is None:
            raise UsageError(f"start {start.isoformat()} has no offset: write it as {start.isoformat()}+09:00")
        if not EPOCH <= start < datetime(2085, 1, 1, tzinfo=UTC):  # stamps end in 2099, and clocks may run ahead
            raise UsageError(f"start {start.isoformat()} must lie between 1970 and 2084")
        if not 1 / DAY_SLOTS <= days <= LONGEST_DAYS:
            raise UsageError(f"days = {days:g} must lie between a minute (0.0007) and ten years ({LONGEST_DAYS})")
        if seed < 0:
            raise UsageError(f"seed = {seed} must not be negative")
        self.city, self._seed = city, seed
        self._zone = ZoneInfo(city.city.timezone)
        self._start = micros(start)
        self._end = self._start + round(days * DAY_US)
        self._first = self._start // HOUR_US * HOUR_US  # hourly stations need whole hours
        self.whole_days = -(-(self._end - self._first) // DAY_US)
        """Days that the run touches: ``days`` yields one batch for each."""
        self._ids = [station.id for station in city.stations]
        names = resolve(scenarios)
        self._duplicates, self._garbage = "duplicates" in names, "garbage" in names
        self._schedule = Schedule(city, self._first, seed, names)
        self.truth = Truth(city.city.id, seed, names, utc_time(self._start), utc_time(self._end))
        """Complete once the last batch of ``days`` was taken."""

    def days(self) -> Iterator[SimulatedLines]:
        """Yield lines in the order they arrive, a day at a time; the last day has everything that arrives later."""
        air = days_of_air(self.city.stations, self._zone, self._first, self._seed)
        self.truth.totals, self.truth.events = TrueTotals(), []
        events: list[ScenarioEvent] = []
        delayed: list[SimulatedLines] = []
        for day in range(self.whole_days):
            start = self._first + day * DAY_US
            begun = self._schedule.events_on(day)
            self._record_events(begun)
            events = [e for e in events if e.end is None or e.end > start] + begun
            today = next(air)
            self._schedule.apply_weather(today, start, events)
            samples = self._sample(today, start, day)
            apply_faults(samples, events)
            lines = SimulatedLines.joined([*delayed, *self._send(samples, day)])
            lines = lines.take(np.argsort(lines.arrival, kind="stable"))
            last = day == self.whole_days - 1
            due = lines.arrival.size if last else np.count_nonzero(lines.arrival <= start + DAY_US)
            delayed = [lines.take(np.arange(due, lines.arrival.size))]
            lines = lines.take(np.arange(due))
            self._count(lines)
            yield lines

    def _sample(self, air: F64, start: int, day: int) -> Samples:
        """Readings that every instrument takes of the air of a day, shape (1440, n, 8), at its own cadence."""
        reference = np.array([station.kind == "reference" for station in self.city.stations])
        quality = np.where(reference, REFERENCE_QUALITY, 1.0)
        gain = 1 + GAIN_ERROR * quality * generator(self._seed, 4).normal(size=reference.size)
        every = np.array([seconds(station.every) for station in self.city.stations])
        runs: list[Samples] = []
        for cadence in sorted(set(every.tolist())):
            columns = np.flatnonzero(every == cadence)
            draw = generator(self._seed, 5, day, cadence)
            step = cadence * SECOND_US
            ends = step * np.arange(start // step + 1, (start + DAY_US) // step + 1)
            last = -(-(ends - start) // SLOT_US)
            begin = np.maximum(0, last - minutes(f"{cadence}s"))
            values = np.add.reduceat(air[: last[-1], columns], begin) / (last - begin)[:, None, None]
            values[..., :2] *= gain[columns, None]
            values += draw.normal(size=values.shape) * (NOISE + NOISE_SHARE * values) * quality[columns, None]
            for column, decimals in enumerate(SENT_DECIMALS):
                values[..., column] = np.round(values[..., column], decimals)
            values[draw.random(values.shape) < UNMEASURED_SHARE] = np.nan
            flat = values.reshape(-1, len(AIR.values))
            slow = cadence > SLOW_CADENCE_S
            delay = draw.uniform(600, 1200, len(flat)) if slow else draw.uniform(1, 8, len(flat))
            sampled = np.repeat(ends, columns.size)
            sent = (draw.random(len(flat)) >= LOST_SHARE) & ~np.isnan(flat).all(axis=1)
            arrival = sampled + (delay * SECOND_US).astype(np.int64)
            station = np.tile(columns, ends.size)
            runs.append(Samples(station, sampled, sampled.copy(), arrival, flat, sent, np.zeros(len(flat), bool)))
        return Samples(*(np.concatenate([getattr(run, column.name) for run in runs]) for column in fields(Samples)))

    def _send(self, samples: Samples, day: int) -> list[SimulatedLines]:
        """Lines of the samples within the run, of second copies, and of garbage."""
        within = (samples.sampled > self._start) & (samples.sampled <= self._end)
        self.truth.totals.lost += int(np.count_nonzero(within & ~samples.sent))
        role = np.where(samples.observed > samples.sampled, FUTURE, READING).astype(np.int8)
        intact = np.full(role.size, None, object)
        every = SimulatedLines(
            samples.station, samples.observed, samples.arrival, samples.values, role, samples.late, intact
        )
        lines = [every.take(within & samples.sent)]
        if self._duplicates:
            draw = generator(self._seed, 6, day)
            again, delay = draw.random(role.size) < DUPLICATES_SHARE, draw.uniform(5, 3600, role.size)
            chosen = within & samples.sent & (role == READING) & again
            copies = every.take(chosen)
            copies.arrival = copies.arrival + (delay[chosen] * SECOND_US).astype(np.int64)
            copies.role[:] = DUPLICATE
            lines.append(copies)
        if self._garbage:
            lines.append(self._garbage_of(every, day))
        return lines

    def _garbage_of(self, day_lines: SimulatedLines, day: int) -> SimulatedLines:
        """Garbage made from readings of the day, in addition to them."""
        draw = generator(self._seed, 7, day)
        count = round(GARBAGE_SHARE * day_lines.role.size)
        lines = day_lines.take(draw.integers(day_lines.role.size, size=count))
        lines.arrival = self._first + day * DAY_US + draw.integers(1, DAY_US + 1, count)
        lines.role[:] = BROKEN
        lines.late[:] = False
        intact = replace(lines, role=np.full(count, READING, np.int8))
        for row, text in enumerate(self.encode(intact)):
            lines.broken[row] = corrupt(text, draw)
        return lines.take((lines.arrival > self._start) & (lines.arrival <= self._end))

    def encode(self, lines: SimulatedLines) -> list[bytes]:
        """Encode lines as JSON of the wire, in the city's time, without line ends."""
        return encode(lines, self._ids, self._zone)

    def to_table(self, lines: SimulatedLines) -> pa.Table:
        """Return readings as an Arrow table with the wire's field names."""
        return to_table(lines, self._ids)

    def _record_events(self, events: Sequence[ScenarioEvent]) -> None:
        for event in events:
            if event.start < self._end and (event.end is None or event.end > self._start):
                ended = None if event.end is None else utc_time(min(event.end, self._end))
                ids = [self._ids[i] for i in event.stations]
                started = utc_time(max(event.start, self._start))
                true_event = TrueEvent(event.scenario, ids, event.parameter, started, ended, event.detail)
                self.truth.events.append(true_event)

    def _count(self, lines: SimulatedLines) -> None:
        totals = self.truth.totals
        readings, copies, future, broken = np.bincount(lines.role, minlength=4).tolist()
        totals.lines += lines.role.size
        totals.readings += readings
        totals.late += int(np.count_nonzero(lines.late & (lines.role == READING)))
        totals.duplicates += copies
        totals.future += future
        totals.garbage += broken
        totals.refused["duplicate"] += copies
        totals.refused["future"] += future
        for row in np.flatnonzero(lines.role == BROKEN):
            totals.refused[lines.broken[row][0]] += 1


def iter_minutes(simulation: Simulation) -> Iterator[Minute]:
    """Yield what arrives, minute by minute; minutes in which nothing does are left out."""
    for lines in simulation.days():
        texts = simulation.encode(lines)
        ends, first = np.unique(-(-lines.arrival // SLOT_US), return_index=True)
        for end, a, b in zip(ends.tolist(), first.tolist(), [*first[1:].tolist(), len(texts)], strict=True):
            yield Minute(utc_time(end * SLOT_US), texts[a:b])
