"""Log entries: whose commit each is, found again among those of others."""

import pytest

from sinks import recovery_store
from sinks.lake import commit_log
from tests.support.lakes import LakeWriter


@pytest.fixture
def table(tmp_path):
    """A table that writers air, air-1 and air committed to, and version 0 that made it."""
    lake = LakeWriter(tmp_path / "lake")
    for writer in ("air", "air-1", "air"):
        lake.epoch(writer, flags=[{}])
    return lake.root / "flags"


def test_an_entry_has_its_files_and_its_transaction(table):
    entry = commit_log.read_entry(table, 2)
    assert (entry.version, entry.transactions) == (2, {"air-1": 1})
    [path] = entry.added
    assert path.startswith("dt=2026-03-02/air-1-00000001-")
    assert (table / path).is_file()
    assert commit_log.read_entry(table, 0).added == frozenset()


def test_a_commit_is_found_behind_those_of_others(table):
    assert commit_log.find_commit(table, 3, "air", 2).version == 3
    assert commit_log.find_commit(table, 3, "air-1", 1).version == 2
    assert commit_log.find_commit(table, 3, "air", 0).version == 1
    assert commit_log.find_commit(table, 2, "air", 2) is None, "not there yet"
    assert commit_log.find_commit(table, 3, "odor", 0) is None


def test_what_the_log_no_longer_has_is_not_found(table):
    commit_log.entry_path(table, 2).unlink()
    assert [entry.version for entry in commit_log.newest_first(table, 3)] == [3]
    assert commit_log.find_commit(table, 3, "air", 0) is None


def test_entries_are_made_durable_with_their_folder(table, monkeypatch):
    durable = []
    monkeypatch.setattr(recovery_store, "fsync", lambda path: durable.append(path.name))
    commit_log.fsync_entries(table, 2, 4)
    assert durable == [f"{2:020}.json", f"{3:020}.json", "_delta_log"]
