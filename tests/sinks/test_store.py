"""The recovery store's lock and identity, and durable writes."""

import os

import pytest

from schemas.errors import ConfigurationError
from sinks import recovery_store as store


def test_a_lock_names_who_holds_it_and_is_free_afterwards(tmp_path):
    path = tmp_path / "deep" / "air.lock"
    complaint = rf"lake x is in use by another process \(pid {os.getpid()}\)"
    with (
        store.locked(path, "lake x"),
        pytest.raises(ConfigurationError, match=complaint),
        store.locked(path, "lake x"),
    ):
        raise AssertionError("held twice")
    with store.locked(path, "lake x"):
        assert path.read_text() == f"pid {os.getpid()}\n"


def test_a_lock_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match="store y cannot be written"),
        store.locked(tmp_path / "file" / "x.lock", "store y"),
    ):
        raise AssertionError("not held")


def test_a_store_keeps_its_identity_and_two_have_different_ones(tmp_path):
    one, other = store.open_recovery(tmp_path / "a" / "air"), store.open_recovery(tmp_path / "b" / "air")
    assert len(one) == 32
    assert one != other
    assert store.open_recovery(tmp_path / "a" / "air") == one
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["air"], "nothing half made stays"
    assert sorted(path.name for path in (tmp_path / "a" / "air").iterdir()) == ["identity", "part-0.sqlite3"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "air").mkdir()
    (tmp_path / "air" / "photo.jpg").write_text("mine")
    with pytest.raises(ConfigurationError, match="is no recovery store of cityair"):
        store.open_recovery(tmp_path / "air")
    assert [path.name for path in (tmp_path / "air").iterdir()] == ["photo.jpg"]


def test_a_durable_write_replaces_and_leaves_nothing(tmp_path):
    for content in (b"one", b"", b"three"):
        store.write_durably(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
