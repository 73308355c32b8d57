"""A lake at one moment: its files, the ledger opened first; and what is no lake."""

from datetime import timedelta

import pytest

from schemas.errors import ConfigurationError
from schemas.slots import micros
from schemas.tables import TABLES
from sinks.catalog import snapshot
from sinks.lake.layout import CITY_FILE
from tests.support.lakes import NOON


def test_a_snapshot_lists_the_files_of_each_table_with_their_spans(lake):
    lake.epoch(rolling=[{}, {"ended_at": NOON + timedelta(minutes=10)}], flags=[{"revision": 2}])
    lake.epoch(rolling=[{"ended_at": NOON + timedelta(days=1)}])
    taken = snapshot.take_snapshot(lake.root)
    assert taken.city == lake.city
    assert {name: len(files) for name, files in taken.tables.items() if files} == {"rolling": 2, "flags": 1}
    first, second = taken.tables["rolling"]
    assert (first.dt, second.dt) == (NOON.date(), NOON.date() + timedelta(days=1))
    assert (first.rows, first.revised, taken.tables["flags"][0].revised) == (2, False, True)
    assert first.span == (micros(NOON), micros(NOON + timedelta(minutes=10)))
    assert first.size == first.path.stat().st_size


@pytest.mark.parametrize("spoil", ["missing", "foreign", "newer"])
def test_what_is_no_lake_is_refused_with_the_cure(lake, spoil):
    root = lake.root
    if spoil == "missing":
        root = root.parent / "nowhere"
    elif spoil == "foreign":
        (root / CITY_FILE).unlink()
    else:
        (root / CITY_FILE).write_text('{"city": {}, "odour": 1}')
    with pytest.raises(ConfigurationError, match=r"cityair run") as refused:
        snapshot.take_snapshot(root)
    assert str(root) in str(refused.value)


def test_the_ledger_is_opened_first(lake, monkeypatch):
    order = []
    original = snapshot.open_table
    monkeypatch.setattr(snapshot, "open_table", lambda root, name: order.append(name) or original(root, name))
    snapshot.take_snapshot(lake.root)
    assert order[0] == "ledger"
    assert set(order) == set(TABLES)
