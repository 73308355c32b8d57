"""A table in no order of time is read in its order, and a resume goes on in the middle of it."""

import pickle
from pathlib import Path

from flows import air
from flows.sources.files import source as files
from flows.sources.tables import column_map as columns
from schemas.city import parse

CITY = b'[city]\nid = "t"\nname = "T"\ntimezone = "UTC"\n[[stations]]\nid = "a"\nlat = 1\nlon = 1\nevery = "1h"\n'
MAP = b"""sort = true
[station]
id = "a"
[time]
column = "at"
format = "%Y-%m-%d %H:%M"
timezone = "UTC"
marks = "end"
[values]
pm10 = { column = "pm10" }
"""


def read(path: Path, rows: int, stop_after: int | None = None, snapshot=None):
    source = files.FileSource(
        [path], air.decoder(parse(CITY)), columns.parse(MAP, "map"), stop=lambda: False, now=lambda: 0, rows=rows
    )
    part = source.build_part("input", "input", snapshot)
    got = []
    while stop_after is None or len(got) < stop_after:
        try:
            batch = part.next_batch()
        except StopIteration:
            break
        for _, item in batch:
            got += [
                ("reading", koff, at) for koff, at in zip(item.readings.offset, item.readings.observed, strict=True)
            ]
            got += [("reject", reject.offset, reject.detail) for reject in item.rejects]
    return got, pickle.loads(pickle.dumps(part.snapshot()))


def test_rows_come_in_time_and_a_resume_goes_on(tmp_path):
    hours = [5, 1, 9, 3, 7, 0, 8, 2, 6, 4]
    path = tmp_path / "x.csv"
    path.write_text("at,pm10\nnever,1\n" + "".join(f"2026-01-01 {hour:02d}:00,{hour}\n" for hour in hours))
    whole, _ = read(path, 100)
    assert [kind for kind, *_ in whole] == ["reading"] * 10 + ["reject"]
    assert [koff for _, koff, _ in whole] == list(range(11))
    assert all(a < b for a, b in zip(whole[:10], whole[1:10], strict=False))
    first, snapshot = read(path, 3, stop_after=4)
    rest, _ = read(path, 3, snapshot=snapshot)
    assert first + rest == whole
