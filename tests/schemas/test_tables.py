"""What tables say of their storage fits their columns, and a new table of records is known as one."""

import pyarrow as pa
import pytest

from schemas.tables import NAME, RECORD_KEY, TABLES, Storage, Table, record_tables


@pytest.mark.parametrize("name", TABLES)
def test_time_and_key_are_columns(name):
    table = TABLES[name]
    assert {table.time, *table.key} <= {*table.schema.names}


@pytest.mark.parametrize("name", TABLES)
def test_storage_names_columns_of_the_table(name):
    table, storage = TABLES[name], TABLES[name].storage
    named = {*storage.dictionary, *storage.encodings, *storage.statistics, *storage.ranges, *(storage.nullable or ())}
    assert named <= {*table.schema.names}
    assert table.time not in named, "the time always has a range, and is never null"
    assert not {*storage.dictionary} & {*storage.encodings}, "a column has a dictionary, or another encoding"
    assert not {*storage.ranges} & {*(storage.nullable or ())}, "the log says that a ranged column has no nulls"
    for column in storage.dictionary:
        assert table.schema.field(column).type != NAME, "texts have a dictionary without being named"


def test_a_new_table_of_records_is_known_by_its_key(monkeypatch):
    columns = [("topic", pa.string()), ("kpart", pa.int32()), ("koff", pa.int64()), ("observed_at", pa.timestamp("us"))]
    monkeypatch.setitem(
        TABLES, "odor_readings", Table("an odor", "observed_at", RECORD_KEY, pa.schema(columns), flow="odor")
    )
    assert record_tables() == {"air_readings": "air", "odor_readings": "odor"}
    assert TABLES["odor_readings"].storage == Storage()


def test_refusals_are_no_records():
    assert TABLES["rejects"].key == RECORD_KEY
    assert "rejects" not in record_tables()
