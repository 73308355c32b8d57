"""A lake with real tables, written epoch by epoch; and what tests look for in any lake."""

import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction

from schemas.city import parse
from schemas.tables import TABLES
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.layout import file_prefix
from sinks.lake.tables import create_tables, keep_city

CITY = """
[city]
id = "tiny"
name = "Tiny"
timezone = "Asia/Seoul"
[[stations]]
id = "a"
name = "Ann's"
lat = 35.2
lon = 128.8
[[stations]]
id = "b"
lat = 35.3
lon = 128.9
every = "1h"
kind = "reference"
[[lights]]
id = "light-1"
lat = 35.2
lon = 128.8
stations = ["b", "a"]
"""
NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)  # in Seoul
DEFAULTS = {
    "zone": "city",
    "station_id": "a",
    "parameter": "pm25",
    "window_length": "1h",
    "observed_at": NOON,
    "ended_at": NOON,
    "received_at": NOON,
    "mean": 10.0,
    "count": 60,
    "expected": 60,
    "coverage": 1.0,
    "suspect": 0,
    "valid": True,
    "flag": 3,
    "tests": "spike",
    "revision": 0,
    "flow": "air",
    "topic": "air",
    "kpart": 0,
    "reason": "contract",
    "detail": "",
    "payload": b"{}",
    **dict.fromkeys(("received", "stored", "rejected", "duplicate", "too_late", "other", "gap", "waiting"), 0),
    **dict.fromkeys((f"flag_{p}" for p in ("pm10", "pm25", "o3", "no2", "co", "so2")), 9),
}


class LakeWriter:
    """A lake of stations a (by the minute) and b (by the hour), and of light-1, that a test writes to."""

    def __init__(self, root):
        self.root, self.p = root, -1
        self.city = parse(CITY.encode())
        create_tables(root)
        keep_city(root, self.city)

    def epoch(self, writer="air", /, **tables):
        """Commit rows, given as dicts without what goes without saying; the ledger last."""
        self.p += 1
        files = EpochFiles(self.root, file_prefix(writer, self.p), LocalDates(self.city.city.timezone))
        for name, rows in tables.items():
            schema = TABLES[name].schema.remove_metadata()
            full = [{**{key: value for key, value in DEFAULTS.items() if key in schema.names}, **row} for row in rows]
            files.add(name, pa.RecordBatch.from_pylist(full, schema=schema))
        for name, written in sorted(files.finish().items(), key=lambda item: item[0] == "ledger"):
            table = DeltaTable(str(self.root / name))
            table.create_write_transaction(
                [AddAction(f.path, f.size, {"dt": f.dt}, int(time.time() * 1000), True, f.stats) for f in written],
                mode="append",
                schema=table.schema(),
                partition_by=["dt"],
                commit_properties=CommitProperties(app_transactions=[Transaction(writer, self.p)]),
            )
        return self

    # More than 8 parameters: all but the offsets are there for one test each.
    def books(
        self,
        offsets,
        *,
        rejects=(),
        waiting=0,
        gap=0,
        other=0,
        first=None,
        last=None,
        kpart=0,
        flow="air",
        writer="air",
    ):
        """Commit an epoch of input: readings at ``offsets``, rejects as (offset, reason), and a ledger that fits."""
        taken = [*offsets, *(offset for offset, _ in rejects)]
        count = {"duplicate": 0, "too_late": 0, "rejected": 0}
        for _, reason in rejects:
            count[reason if reason in count else "rejected"] += 1
        ledger = {
            "first_offset": min(taken) if first is None else first,
            "last_offset": max(taken) if last is None else last,
            "received": len(taken),
            "stored": len(offsets),
            **count,
            "other": other,
            "gap": gap,
            "waiting": waiting,
            "kpart": kpart,
            "flow": flow,
        }
        readings = [
            {"koff": o, "kpart": kpart, "pm25": float(o), "flag_pm25": 1, "observed_at": NOON + timedelta(minutes=o)}
            for o in offsets
        ]
        refused = [
            {"flow": flow, "koff": o, "kpart": kpart, "reason": reason, "detail": f"at {o}"} for o, reason in rejects
        ]
        return self.epoch(writer, air_readings=readings, rejects=refused, ledger=[ledger])


def committed_offsets(root, table="rejects"):
    """Offsets of a table's rows in the files that its log knows, in their order."""
    uris = DeltaTable(str(root / table)).file_uris()
    return sorted(koff for uri in uris for koff in pq.read_table(uri, partitioning=None)["koff"].to_pylist())


def orphans(root):
    """Data files that no log knows."""
    listed = {uri for table in TABLES for uri in DeltaTable(str(root / table)).file_uris()}
    return sorted(path for path in root.glob("*/dt=*/*.parquet") if str(path) not in listed)


def data_files(root, table):
    """Data files in the folders of a table, listed in its log or not."""
    return sorted((root / table).glob("dt=*/*.parquet"))
