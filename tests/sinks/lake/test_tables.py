"""Tables of a lake: made once, widened by new columns, by several processes at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.city import City
from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks.lake import tables
from sinks.lake.layout import CITY_FILE, IDENTITY_FILE
from sinks.lake.tables import create_tables, exclusive, keep_city

AT_ONCE = 4


def versions(root):
    return {table: DeltaTable(str(root / table)).version() for table in TABLES}


def at_once(deed):
    """Do it in several threads at the same moment; delta-rs and the file system see no difference to processes."""
    barrier = Barrier(AT_ONCE)

    def do(_):
        barrier.wait()
        return deed()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(do, range(AT_ONCE)))


def test_tables_are_made_once(root):
    identity = create_tables(root)
    assert identity == (root / IDENTITY_FILE).read_text()
    assert create_tables(root) == identity
    assert versions(root) == dict.fromkeys(TABLES, 0)


def test_a_new_column_is_added(root, monkeypatch):
    old = TABLES["rejects"]
    monkeypatch.setitem(TABLES, "rejects", old._replace(schema=old.schema.append(pa.field("host", pa.string()))))
    create_tables(root)
    assert "host" in DeltaTable(str(root / "rejects")).schema().to_arrow().names
    assert versions(root) == dict.fromkeys(TABLES, 0) | {"rejects": 1}


def test_starts_at_the_same_moment_end_with_the_same_tables_and_one_identity(tmp_path):
    root = tmp_path / "lake"
    identities = at_once(lambda: create_tables(root))
    assert set(identities) == {(root / IDENTITY_FILE).read_text()}
    assert versions(root) == dict.fromkeys(TABLES, 0)


def test_the_identity_is_made_once_whoever_comes_first(tmp_path, monkeypatch):
    """Without tables to make, starts are as close to each other as they can be."""
    monkeypatch.setattr(tables, "TABLES", {})
    for turn in range(10):
        root = tmp_path / f"lake-{turn}"
        assert set(at_once(lambda root=root: create_tables(root))) == {(root / IDENTITY_FILE).read_text()}


def test_a_column_added_by_several_at_the_same_moment_is_there_once(root, monkeypatch):
    old = TABLES["rejects"]
    wider = old.schema.append(pa.field("host", pa.string())).append(pa.field("port", pa.int32()))
    monkeypatch.setitem(TABLES, "rejects", old._replace(schema=wider))
    at_once(lambda: create_tables(root))
    names = DeltaTable(str(root / "rejects")).schema().to_arrow().names
    assert sorted(names) == sorted([*wider.names, "dt"])


def test_a_lake_that_cannot_be_written(tmp_path):
    (tmp_path / "lake").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"lake .*lake cannot be written"):
        create_tables(tmp_path / "lake")


def test_the_city_is_kept_beside_the_tables(root, make_city):
    keep_city(root, make_city())
    assert msgspec.json.decode((root / CITY_FILE).read_bytes(), type=City) == make_city()


def test_a_writer_keeps_out_its_second_process_and_no_other_writer(tmp_path):
    root, recovery = tmp_path / "lake", tmp_path / "recovery"
    with exclusive(root, recovery, "air"), exclusive(root, recovery, "air.8.03"), exclusive(root, recovery, "odor"):
        names = sorted(path.name for path in recovery.iterdir())
        assert names == ["air.8.03.lock", "air.lock", "odor.lock"]
        with pytest.raises(ConfigurationError, match="is in use by another process"):
            exclusive(root, tmp_path / "elsewhere", "air").__enter__()
