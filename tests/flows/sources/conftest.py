"""Small files of every kind, and a way to read them to their end."""

import gzip
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows import air
from flows.sources.files.source import FileSource
from flows.sources.tables.column_map import parse
from schemas.city import parse as parse_city
from schemas.measured import AIR

STATIONS = ("a", "b", "c")
CITY = '[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n' + "".join(
    f'[[stations]]\nid = "{name}"\nlat = 35\nlon = 128\n' for name in STATIONS
)
START = datetime(2026, 3, 1, tzinfo=UTC)


class Pass:
    """All that came out of one input: a row or reject by (topic, koff), in the order they came."""

    def __init__(self):
        self.rows, self.rejects, self.taken, self.items, self.last = [], [], [], 0, 0

    def add(self, arrivals):
        self.items += 1
        self.last += arrivals.end_of_input
        r = arrivals.readings
        texts = r.payloads.take(range(len(r)))
        for i in range(len(r)):
            values = tuple(None if np.isnan(v) else float(v) for v in r.values[i])
            topic = arrivals.parts[r.part[i]].topic
            self.rows.append(
                (
                    topic,
                    int(r.offset[i]),
                    int(r.station[i]),
                    int(r.observed[i]),
                    values,
                    tuple(r.status[i].tolist()),
                    texts[i],
                )
            )
        for x in arrivals.rejects:
            self.rejects.append((arrivals.parts[x.part].topic, x.offset, x.reason, x.detail, x.payload))
        for t in arrivals.offsets:
            assert t.number == t.last - t.first + 1
            assert t.gap == 0
            self.taken.append((arrivals.parts[t.part].topic, arrivals.parts[t.part].number, t.first, t.last))

    def check(self):
        """Everything taken is there once, and receipts of a partition are contiguous from 0."""
        nexts = {}
        for topic, _, first, last in self.taken:
            assert first == nexts.get(topic, 0)
            nexts[topic] = last + 1
        out = sorted((row[0], row[1]) for row in self.rows + self.rejects)
        assert out == sorted((topic, koff) for topic, n in nexts.items() for koff in range(n))
        return self

    def values(self, name):
        return [row[4][AIR.values.index(name)] for row in self.rows]


@pytest.fixture(scope="session")
def decoder():
    return air.decoder(parse_city(CITY.encode()))


@pytest.fixture(scope="session")
def source(decoder):
    def make(paths, column_map=None, rows=None, stop=lambda: False):
        paths = paths if paths == "-" or isinstance(paths, list) else [paths]
        if isinstance(column_map, str):
            column_map = parse(column_map.encode(), "test.toml")
        return FileSource(paths, decoder, column_map, stop=stop, now=lambda: 7, rows=rows)

    return make


@pytest.fixture(scope="session")
def read(source):
    """Read an input to its end; ``cuts`` are counts of next_batch calls after each of which it is built again."""

    def run(paths, column_map=None, rows=None, cuts=()):
        out, state, cuts = Pass(), None, list(cuts)
        while True:
            part = source(paths, column_map, rows).build_part("read", "input", state)
            calls = cuts.pop(0) if cuts else 1_000_000
            try:
                for _ in range(calls):
                    for key, arrivals in part.next_batch():
                        assert key == "files"
                        out.add(arrivals)
            except StopIteration:
                if not cuts:
                    return out.check()
            state = pickle.loads(pickle.dumps(part.snapshot()))

    return run


@pytest.fixture(scope="session")
def wire():
    """A message as bytes: the minute after 2026-03-01, values by name."""

    def make(minute, station="a", **values):
        at = (START + timedelta(minutes=minute)).isoformat()
        return json.dumps({"station_id": station, "observed_at": at, **values}).encode()

    return make


@pytest.fixture(scope="session")
def write():
    def put(path: Path, lines, end=b"\n"):
        data = b"\n".join(lines) + (end if lines else b"")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
        return path

    return put
