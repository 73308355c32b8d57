"""A seeded city: readings of its stations in the order they arrive, with known trouble and the truth about it.

The same city, start, seed and scenarios give the same bytes, and a longer run goes on where a shorter one stopped.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.arrays import F64
from flows.simulate.air import MINUTE_US, MINUTES, days, generator
from flows.simulate.lines import (
    BROKEN,
    DUPLICATE,
    FUTURE,
    READING,
    TABLE,
    Lines,
    concatenate,
    encode,
    garble,
    moment,
    table,
)
from flows.simulate.scenarios import DAY_US, HOUR_US, Event, Plan, Sent, resolve, spoil
from schemas.city import City
from schemas.durations import minutes, seconds
from schemas.errors import UsageError
from schemas.measured import AIR
from schemas.rejected import REASONS
from schemas.slots import EPOCH

DECIMALS = (1, 1, 4, 4, 2, 4, 1, 1)
"""What devices send of each of ``VALUES``."""
NOISE = np.array([0.5, 0.4, 0.0008, 0.0006, 0.015, 0.0002, 0.1, 0.6])
"""Noise of a low-cost instrument in a minute, one standard deviation, in the unit of each of ``VALUES``."""
NOISE_SHARE = np.array([0.04, 0.04, 0.02, 0.03, 0.02, 0.03, 0, 0])
"""Noise that grows with the value. Reference instruments have a quarter of both."""
LOST = 0.015
"""Share of readings that never arrive, one by one."""
UNMEASURED = 0.003
"""Share of single values that are null."""
DUPLICATES, GARBAGE = 0.05, 0.01


class Minute(NamedTuple):
    """What arrived within a minute."""

    ended_at: datetime
    lines: list[bytes]


class Totals(msgspec.Struct):
    """Exact counts of a run: ``lines`` is ``readings`` and everything in ``refused``."""

    lines: int = 0
    readings: int = 0
    """Readings that count: each is one row of ``air_readings`` once all are taken in."""
    late: int = 0
    """Those of them that an outage held back."""
    lost: int = 0
    """Readings that instruments were due to send and did not."""
    duplicates: int = 0
    future: int = 0
    garbage: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    """Lines that a pipeline must refuse, by its reason."""


class TrueEvent(msgspec.Struct, frozen=True):
    """Something that went wrong, as the truth tells it."""

    scenario: str
    station_ids: list[str]
    parameter: str | None
    started_at: datetime
    ended_at: datetime | None
    """Null where it never ends; never after the run's end."""
    detail: dict[str, object]


class Truth(msgspec.Struct):
    """What is known about a run, written beside it."""

    city: str
    seed: int
    scenarios: tuple[str, ...]
    started_at: datetime
    ended_at: datetime
    totals: Totals = msgspec.field(default_factory=Totals)
    events: list[TrueEvent] = []


class Summary(NamedTuple):
    """What was written, and where; ``truth_path`` is none when it went to a stream."""

    truth: Truth
    path: Path | None
    truth_path: Path | None


class Simulation:
    """A run: days of lines, and the truth about them once they are all taken."""

    def __init__(self, city: City, start: datetime, days: float, seed: int, scenarios: Sequence[str] = ()) -> None:
        if start.tzinfo is None:
            raise UsageError(f"start {start.isoformat()} has no offset: write it as {start.isoformat()}+09:00")
        if not EPOCH <= start < datetime(2085, 1, 1, tzinfo=UTC):  # stamps end in 2099, and some run ahead
            raise UsageError(f"start {start.isoformat()} must lie between 1970 and 2084")
        if not 1 / MINUTES <= days <= 3660:
            raise UsageError(f"days = {days:g} must lie between a minute (0.0007) and ten years (3660)")
        if seed < 0:
            raise UsageError(f"seed = {seed} must not be negative")
        self.city, self._seed = city, seed
        self._zone = ZoneInfo(city.city.timezone)
        self._start = (start - EPOCH) // timedelta(microseconds=1)
        self._end = self._start + round(days * DAY_US)
        self._first = self._start // HOUR_US * HOUR_US  # hourly stations need whole hours
        self.whole_days = -(-(self._end - self._first) // DAY_US)
        """Days that the run touches: as many batches it has."""
        self._ids = [station.id for station in city.stations]
        names = resolve(scenarios)
        self._duplicates, self._garbage = "duplicates" in names, "garbage" in names
        self._plan = Plan(city, self._first, seed, names)
        self.truth = Truth(city.city.id, seed, names, moment(self._start), moment(self._end))
        """Complete once the last of ``days`` was taken."""

    def days(self) -> Iterator[Lines]:
        """Yield lines in the order they arrive, a day at a time; what comes in later than the end ends the last."""
        air = days(self.city.stations, self._zone, self._first, self._seed)
        self.truth.totals, self.truth.events = Totals(), []
        events: list[Event] = []
        waiting: list[Lines] = []
        for day in range(self.whole_days):
            start = self._first + day * DAY_US
            begun = self._plan.begin(day)
            self._tell(begun)
            events = [e for e in events if e.end is None or e.end > start] + begun
            today = next(air)
            self._plan.blow(today, start, events)
            sent = self._sample(today, start, day)
            spoil(sent, events)
            lines = concatenate([*waiting, *self._send(sent, day)])
            lines = lines.take(np.argsort(lines.arrival, kind="stable"))
            due = np.count_nonzero(lines.arrival <= start + DAY_US) if day < self.whole_days - 1 else lines.arrival.size
            waiting = [lines.take(np.arange(due, lines.arrival.size))]
            lines = lines.take(np.arange(due))
            self._count(lines)
            yield lines

    def _sample(self, air: F64, start: int, day: int) -> Sent:
        """Let every instrument read the air of a day, shape (1440, n, 8), at its own cadence."""
        reference = np.array([station.kind == "reference" for station in self.city.stations])
        quality = np.where(reference, 0.25, 1.0)
        gain = 1 + 0.06 * quality * generator(self._seed, 4).normal(size=reference.size)
        every = np.array([seconds(station.every) for station in self.city.stations])
        runs: list[Sent] = []
        for cadence in sorted(set(every.tolist())):
            who = np.flatnonzero(every == cadence)
            draw = generator(self._seed, 5, day, cadence)
            step = cadence * 1_000_000
            ends = step * np.arange(start // step + 1, (start + DAY_US) // step + 1)
            last = -(-(ends - start) // MINUTE_US)
            begin = np.maximum(0, last - minutes(f"{cadence}s"))
            values = np.add.reduceat(air[: last[-1], who], begin) / (last - begin)[:, None, None]
            values[..., :2] *= gain[who, None]
            values += draw.normal(size=values.shape) * (NOISE + NOISE_SHARE * values) * quality[who, None]
            for column, decimals in enumerate(DECIMALS):
                values[..., column] = np.round(values[..., column], decimals)
            values[draw.random(values.shape) < UNMEASURED] = np.nan
            flat = values.reshape(-1, len(AIR.values))
            slow = cadence > 600  # official hours are published ten to twenty minutes after their end
            delay = draw.uniform(600, 1200, len(flat)) if slow else draw.uniform(1, 8, len(flat))
            sampled = np.repeat(ends, who.size)
            kept = (draw.random(len(flat)) >= LOST) & ~np.isnan(flat).all(axis=1)
            arrival = sampled + (delay * 1e6).astype(np.int64)
            station = np.tile(who, ends.size)
            runs.append(Sent(station, sampled, sampled.copy(), arrival, flat, kept, np.zeros(len(flat), bool)))
        return Sent(*(np.concatenate([getattr(run, column.name) for run in runs]) for column in fields(Sent)))

    def _send(self, sent: Sent, day: int) -> list[Lines]:
        """Turn readings into lines: those of the run, second copies of some, and garbage in between."""
        within = (sent.sampled > self._start) & (sent.sampled <= self._end)
        self.truth.totals.lost += int(np.count_nonzero(within & ~sent.kept))
        role = np.where(sent.observed > sent.sampled, FUTURE, READING).astype(np.int8)
        nothing = np.full(role.size, None, object)
        every = Lines(sent.station, sent.observed, sent.arrival, sent.values, role, sent.late, nothing)
        lines = [every.take(within & sent.kept)]
        if self._duplicates:
            draw = generator(self._seed, 6, day)
            again, delay = draw.random(role.size) < DUPLICATES, draw.uniform(5, 3600, role.size)
            chosen = within & sent.kept & (role == READING) & again
            copies = every.take(chosen)
            copies.arrival = copies.arrival + (delay[chosen] * 1e6).astype(np.int64)
            copies.role[:] = DUPLICATE
            lines.append(copies)
        if self._garbage:
            lines.append(self._break(every, day))
        return lines

    def _break(self, day_lines: Lines, day: int) -> Lines:
        """Make garbage from readings of the day: more lines, not other lines."""
        draw = generator(self._seed, 7, day)
        count = round(GARBAGE * day_lines.role.size)
        lines = day_lines.take(draw.integers(day_lines.role.size, size=count))
        lines.arrival = self._first + day * DAY_US + draw.integers(1, DAY_US + 1, count)
        lines.role[:] = BROKEN
        lines.late[:] = False
        clean = replace(lines, role=np.full(count, READING, np.int8))
        for row, text in enumerate(self.encode(clean)):
            lines.broken[row] = garble(text, draw)
        return lines.take((lines.arrival > self._start) & (lines.arrival <= self._end))

    def encode(self, lines: Lines) -> list[bytes]:
        """Encode lines as they stand on the wire, in the city's time, without line ends."""
        return encode(lines, self._ids, self._zone)

    def table(self, lines: Lines) -> pa.Table:
        """Lay readings out as columns with the wire's field names."""
        return table(lines, self._ids)

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.start < self._end and (event.end is None or event.end > self._start):
                ended = None if event.end is None else moment(min(event.end, self._end))
                names = [self._ids[i] for i in event.stations]
                started = moment(max(event.start, self._start))
                told = TrueEvent(event.scenario, names, event.parameter, started, ended, event.detail)
                self.truth.events.append(told)

    def _count(self, lines: Lines) -> None:
        totals = self.truth.totals
        reading, copies, future, broken = np.bincount(lines.role, minlength=4).tolist()
        totals.lines += lines.role.size
        totals.readings += reading
        totals.late += int(np.count_nonzero(lines.late & (lines.role == READING)))
        totals.duplicates += copies
        totals.future += future
        totals.garbage += broken
        totals.refused["duplicate"] += copies
        totals.refused["future"] += future
        for row in np.flatnonzero(lines.role == BROKEN):
            totals.refused[lines.broken[row][0]] += 1


def simulate(city: City, start: datetime, days: float, seed: int, scenarios: Sequence[str]) -> Iterator[Minute]:
    """Yield what arrives, minute by minute; minutes in which nothing does are left out.

    Raises:
        UsageError: arguments that do not fit, or a scenario that is not known.
    """
    return _minutes(Simulation(city, start, days, seed, scenarios))


def _minutes(simulation: Simulation) -> Iterator[Minute]:
    for lines in simulation.days():
        texts = simulation.encode(lines)
        ends, first = np.unique(-(-lines.arrival // MINUTE_US), return_index=True)
        for end, a, b in zip(ends.tolist(), first.tolist(), [*first[1:].tolist(), len(texts)], strict=True):
            yield Minute(moment(end * MINUTE_US), texts[a:b])


def write(
    city: City,
    start: datetime,
    days: float,
    seed: int,
    scenarios: Sequence[str],
    path: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> Summary:
    """Write a run to a file, and its truth beside it as ``<path>.truth.json``.

    Args:
        city: whose stations.
        start: with an offset; readings end after it.
        days: of 24 h; may be a fraction.
        seed: of everything random.
        scenarios: names of ``SCENARIOS`` and ``MIXES``.
        path: NDJSON; compressed if it ends in ``.gz``, Parquet with the wire's field names if in ``.parquet``.
        progress: told the share that is done, 0 to 1.

    Raises:
        UsageError: arguments that do not fit, or garbage asked for in Parquet, which cannot hold it.
    """
    simulation = Simulation(city, start, days, seed, scenarios)
    if path.suffix == ".parquet" and "garbage" in simulation.truth.scenarios:
        raise UsageError(f"{path}: a Parquet file cannot hold garbage; leave the scenario out or write .ndjson")
    part = path.with_name(path.name + ".part")
    try:
        if path.suffix == ".parquet":
            _write_parquet(simulation, part, progress)
        else:
            with part.open("wb") as file:
                if path.suffix == ".gz":
                    with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
                        write_lines(simulation, stream, progress)
                else:
                    write_lines(simulation, file, progress)
        truth_path = path.with_name(path.name + ".truth.json")
        truth_path.write_bytes(msgspec.json.format(msgspec.json.encode(simulation.truth), indent=2) + b"\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # a run cut short leaves no file that looks whole
    return Summary(simulation.truth, path, truth_path)


def write_lines(simulation: Simulation, stream: IO[bytes] | gzip.GzipFile, progress: Callable[[float], None]) -> None:
    """Write a run to a stream as NDJSON."""
    for lines in _watched(simulation, progress):
        stream.write(b"".join([text + b"\n" for text in simulation.encode(lines)]))


def _write_parquet(simulation: Simulation, path: Path, progress: Callable[[float], None]) -> None:
    with pq.ParquetWriter(path, TABLE, compression="zstd") as writer:
        for lines in _watched(simulation, progress):
            writer.write_table(simulation.table(lines))


def _watched(simulation: Simulation, progress: Callable[[float], None]) -> Iterator[Lines]:
    for day, lines in enumerate(simulation.days(), 1):
        yield lines
        progress(day / simulation.whole_days)
