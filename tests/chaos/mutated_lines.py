"""Proof that the decoder's fast path changes nothing: broken lines by the million, decoded fast and slowly.

Lines of real and of simulated readings are broken at random (``tests.chaos.mutations``) and decoded in batches twice:
as a source has them decoded, plain lines by the compiled scanner, and every line by msgspec alone. Readings must be the
same bit for bit, rejects the same in reason, detail and bytes. The scanner checks no index, so a share of the lines goes
through its uncompiled twin too, whose indices numpy checks.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from flows import air
from flows.decode import fast_path
from flows.decode.batch import Readings
from flows.decode.decoder import Decoder
from flows.decode.fast_path import SimpleLines
from flows.settings import load_city
from flows.simulate.lines import encode
from flows.simulate.simulator import Simulation
from flows.sources.files.source import open_input
from schemas.measured import AIR, Recorded
from schemas.odor import OdorReport
from schemas.rejected import Reject
from tests.chaos.mutations import mutated

EXAMPLES = """
examples:
  python -m tests.chaos.mutated_lines
  python -m tests.chaos.mutated_lines --lines 20000 --seed 7
  python -m tests.chaos.mutated_lines --lines 100000000 --seed 1    # over night
"""
RECORDED = Path(__file__).resolve().parents[2] / "config" / "recorded"
LINES, SEED = 2_000_000, 1
MAX_BATCH_LINES = 4000
CHECKED_SHARE = 0.004
"""Share of lines whose every index is checked; each takes a thousand times as long."""
CHECKED_BYTES = 2000
"""Longer lines are left out of that."""
SHOWN_EVERY_LINES = 100_000
SHOWN_BYTES = 2000
REPORTS = Recorded("env.odor.report.v1", "odor_reports", "report_id", "reported_at", OdorReport)
"""A record among readings, so that the slow path has one more way to go."""
OTHER_KINDS = ("sensor_id",)
"""What another flow takes from the same input."""


class Difference(NamedTuple):
    """What two ways made of the same lines."""

    lines: list[bytes]
    """The one line that differs; all of a batch where only together they do."""
    found: str
    """What differs, and both answers."""


class Tally(NamedTuple):
    """What became of the lines.

    Attributes:
        readings: lines accepted.
        plain: lines that the fast path read.
        refused: rejects by reason.
    """

    readings: int
    plain: int
    refused: Counter[str]


class Ways:
    """Both ways of decoding, over the same instruments."""

    def __init__(self, instruments: Sequence[str]) -> None:
        sentinels = [[-999.0]] * len(AIR.values)
        self._fast, self._slow = (Decoder(AIR, instruments, sentinels, [REPORTS], OTHER_KINDS) for _ in range(2))
        self._scanner = fast_path.Scanner(list(instruments), AIR)

    def compare(self, lines: Sequence[bytes], first: int) -> Difference | Tally:
        """Decode lines in both ways; line ``i`` has offset ``first + i``."""
        chunk = b"".join(line + b"\n" for line in lines)
        found, tally = self._difference(chunk, first)
        if not found:
            return tally
        for line in chunk.split(b"\n")[:-1]:
            if alone := self._difference(line + b"\n", first)[0]:
                return Difference([line], alone)
        return Difference(list(lines), f"only together: {found}")

    def _difference(self, chunk: bytes, first: int) -> tuple[str, Tally]:
        lines = chunk.split(b"\n")[:-1]
        readings, rejects, count = self._fast.lines(0, first, chunk)
        slowly, refused = self._slow.messages(0, np.arange(first, first + len(lines)), lines)
        plain = int(self._scanner.read(chunk, len(lines)).plain.sum())
        tally = Tally(len(readings), plain, Counter(reject.reason for reject in rejects))
        if count != len(lines):
            return f"number of lines: {count} and {len(lines)}", tally
        return _of_readings(readings, slowly) or _of_rejects(rejects, refused), tally

    def check_indices(self, line: bytes) -> Difference | None:
        """Read a line by the scanner's uncompiled twin, in which an index beyond the line is an error."""
        chunk = line.replace(b"\n", b"") + b"\n"
        compiled, plainly = self._scanner.read(chunk, 1), self._empty()
        text = np.frombuffer(chunk, np.uint8)
        scanner = self._scanner
        try:
            with np.errstate(over="ignore"):  # bytes and hashes wrap around, as they do where it is compiled
                fast_path._read.py_func(  # type: ignore[attr-defined]
                    text, *scanner._keys, scanner._names, scanner._bounds, scanner._table, *plainly
                )
        except IndexError as err:
            return Difference([line], f"the scanner reads beyond the line: {err}")
        wanted = range(len(SimpleLines._fields)) if compiled.plain[0] else range(3)
        for i in wanted:
            if _bits(compiled[i]) != _bits(plainly[i]):
                return Difference([line], f"{SimpleLines._fields[i]}: compiled {compiled[i]}, uncompiled {plainly[i]}")
        return None

    @staticmethod
    def _empty() -> SimpleLines:
        return SimpleLines(
            np.zeros(1, bool),
            np.empty(1, np.int64),
            np.empty(1, np.int64),
            np.empty(1, np.int32),
            np.empty(1, np.int64),
            np.full((1, len(AIR.values)), np.nan, order="F"),
            np.zeros(1, np.uint8),
        )


def _of_readings(fast: Readings, slow: Readings) -> str:
    """Say where readings differ; empty where they are the same bit for bit."""
    for name in ("station", "observed", "values", "status", "part", "offset"):
        one, other = getattr(fast, name), getattr(slow, name)
        if one.shape != other.shape:
            return f"number of readings: fast {len(fast)}, slow {len(slow)}"
        if _bits(one) != _bits(other):
            row = next(i for i in range(len(fast)) if _bits(one[i]) != _bits(other[i]))
            return f"{name} at offset {fast.offset[row]}: fast {one[row].tolist()!r}, slow {other[row].tolist()!r}"
    rows = range(len(fast))
    for offset, one, other in zip(
        fast.offset.tolist(), fast.payloads.take(rows), slow.payloads.take(rows), strict=True
    ):
        if one != other:
            return f"payload at offset {offset}: fast {one[:SHOWN_BYTES]!r}, slow {other[:SHOWN_BYTES]!r}"
    if (fast.records is None) != (slow.records is None) and len(fast):
        return "records are there in one way alone"
    if fast.records is not None and slow.records is not None and fast.records.tolist() != slow.records.tolist():
        return "records differ"
    if _notes(fast) != _notes(slow):
        return f"notes: fast {_notes(fast)!r}, slow {_notes(slow)!r}"
    return ""


def _notes(readings: Readings) -> list[object]:
    return [] if readings.notes is None else readings.notes.tolist()


def _of_rejects(fast: Sequence[Reject], slow: Sequence[Reject]) -> str:
    if fast == slow:
        return ""
    for one, other in zip(fast, slow, strict=False):
        if one != other:
            return f"reject: fast {_shown(one)}, slow {_shown(other)}"
    return f"number of rejects: fast {len(fast)}, slow {len(slow)}"


def _shown(reject: Reject) -> str:
    return f"{reject.offset} {reject.reason}, {reject.detail} ({reject.payload[:SHOWN_BYTES]!r})"


def _bits(values: object) -> bytes:
    return np.asarray(values).tobytes()


def known_lines(seed: int) -> tuple[list[bytes], list[str]]:
    """Lines of real and of simulated readings, spelled in several ways, and the instruments that they name."""
    lines: list[bytes] = []
    for line in [*_simulated(seed), *_recorded()]:
        lines.append(line)
        fields = msgspec.json.decode(line)
        lines.append(msgspec.json.encode({name: value for name, value in fields.items() if value is not None}))
    draw = random.Random(seed)
    lines += [_respelled(draw.choice(lines), draw) for _ in range(len(lines) // 4)]
    report = {"report_id": "r-1", "reported_at": "2026-03-01T09:00:00+09:00", "lat": 35.2, "lon": 128.9}
    lines += [msgspec.json.encode(report)] * (len(lines) // 200)
    lines += [b'{"sensor_id":"juchon-01","observed_at":"2026-03-01T09:00:00+09:00","h2s":0.002}'] * (len(lines) // 200)
    names = [station.id for path in (None, RECORDED / "beijing.toml") for station in load_city(path).stations]
    return lines, names


def _simulated(seed: int) -> Iterator[bytes]:
    city = load_city(None)
    run = Simulation(city, datetime(2026, 3, 1, tzinfo=UTC), 0.05, seed)
    for day in run.days():
        yield from encode(day, [station.id for station in city.stations], ZoneInfo(city.city.timezone))


def _recorded() -> Iterator[bytes]:
    city = load_city(RECORDED / "beijing.toml")
    source = open_input(str(RECORDED / "beijing"), "beijing", air.decoder(city), lambda: False, lambda: 0)
    partition = source.build_part("input", "input", None)
    end = False
    while not end:
        for _, batch in partition.next_batch():
            end = batch.end_of_input
            rows = zip(
                batch.readings.station.tolist(),
                batch.readings.observed.tolist(),
                batch.readings.values.tolist(),
                strict=True,
            )
            for station, observed, values in rows:
                at = datetime.fromtimestamp(observed / 1e6, ZoneInfo(city.city.timezone)).isoformat()
                yield msgspec.json.encode(
                    {
                        AIR.id_field: city.stations[station].id,
                        "observed_at": at,
                        **dict(zip(AIR.values, values, strict=True)),
                    }
                )


def _respelled(line: bytes, draw: random.Random) -> bytes:
    """Spell a line as another device would: its fields in another order, with spaces, a status by pollutant."""
    fields = list(msgspec.json.decode(line).items())
    draw.shuffle(fields)
    whole = dict(fields)
    if draw.random() < 0.2:
        whole["status"] = draw.choice([{"pm10": 1}, {"pm25": 2, "o3": 8}, {}, None])
    comma, colon = draw.choice([(b",", b":"), (b", ", b": "), (b" ,\t", b" :")])
    return b"{" + comma.join(msgspec.json.encode(k) + colon + msgspec.json.encode(v) for k, v in whole.items()) + b"}"


def search(lines: int, seed: int, *, shown: bool = False) -> Difference | Tally:
    """Decode so many broken lines in both ways; return the first difference, or what became of them."""
    known, names = known_lines(seed)
    ways, draw = Ways(names), random.Random(seed)
    done, total = 0, Tally(0, 0, Counter())
    while done < lines:
        batch = [mutated(draw.choice(known), draw) for _ in range(min(draw.randint(1, MAX_BATCH_LINES), lines - done))]
        result = ways.compare(batch, done)
        if isinstance(result, Difference):
            return result
        total = Tally(total.readings + result.readings, total.plain + result.plain, total.refused + result.refused)
        for line in [line for line in batch if draw.random() < CHECKED_SHARE and len(line) <= CHECKED_BYTES]:
            if beyond := ways.check_indices(line):
                return beyond
        if shown and done // SHOWN_EVERY_LINES < (done + len(batch)) // SHOWN_EVERY_LINES:
            print(f"{done + len(batch):,} of {lines:,} lines", file=sys.stderr, flush=True)
        done += len(batch)
    return total


def main(words: list[str] | None = None) -> int:
    """Search, and print what became of the lines; 1 and the failing line if anything differs."""
    options = argparse.ArgumentParser(
        prog="python -m tests.chaos.mutated_lines",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--lines", type=int, default=LINES, help=f"how many lines; {LINES:,} if left out")
    options.add_argument("--seed", type=int, default=SEED, help="the same seed breaks the same lines in the same way")
    given = options.parse_args(words)
    result = search(given.lines, given.seed, shown=True)
    if isinstance(result, Difference):
        print(f"seed {given.seed}: {result.found}", *result.lines, sep="\n")
        return 1
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in result.refused.most_common())
    print(
        f"{given.lines:,} lines, seed {given.seed}, no difference: {result.readings:,} accepted, of which the fast path "
        f"read {result.plain:,}; refused {reasons}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
