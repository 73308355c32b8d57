"""The recovery store: its lock and identity, durable writes, and epochs that a crash kept from becoming durable."""

import os
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main
from bytewax.testing import TestingSink

from schemas.errors import ConfigurationError
from sinks import recovery_store
from sinks.recovery_store import open_recovery

STALE = 999


def test_a_lock_names_who_holds_it_and_is_free_afterwards(tmp_path):
    path = tmp_path / "deep" / "air.lock"
    complaint = rf"lake x is in use by another process \(pid {os.getpid()}\)"
    with (
        recovery_store.locked(path, "lake x"),
        pytest.raises(ConfigurationError, match=complaint),
        recovery_store.locked(path, "lake x"),
    ):
        raise AssertionError("held twice")
    with recovery_store.locked(path, "lake x"):
        assert path.read_text() == f"pid {os.getpid()}\n"


def test_a_lock_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match="store y cannot be written"),
        recovery_store.locked(tmp_path / "file" / "x.lock", "store y"),
    ):
        raise AssertionError("not held")


def test_a_store_keeps_its_identity_and_two_have_different_ones(tmp_path):
    first, other = open_recovery(tmp_path / "a" / "air"), open_recovery(tmp_path / "b" / "air")
    assert len(first) == 32
    assert first != other
    assert open_recovery(tmp_path / "a" / "air") == first
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["air"], "nothing half made stays"
    assert sorted(path.name for path in (tmp_path / "a" / "air").iterdir()) == ["identity", "part-0.sqlite3"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "air").mkdir()
    (tmp_path / "air" / "photo.jpg").write_text("mine")
    with pytest.raises(ConfigurationError, match="is no recovery store of cityair"):
        open_recovery(tmp_path / "air")
    assert [path.name for path in (tmp_path / "air").iterdir()] == ["photo.jpg"]


# Durable writes


def test_a_durable_write_replaces_and_leaves_nothing(tmp_path):
    for content in (b"one", b"", b"three"):
        recovery_store.write_durably(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_of_writes_at_the_same_moment_one_counts_and_all_know_which(tmp_path):
    path, barrier = tmp_path / "identity", Barrier(8)

    def write(number):
        barrier.wait()
        return recovery_store.write_once(path, b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(write, range(8)))
    assert answers == {path.read_bytes()}
    assert recovery_store.write_once(path, b"later") == path.read_bytes() != b"later"
    assert [path.name for path in tmp_path.iterdir()] == ["identity"], "nothing half written stays"


# What the engine leaves of an epoch that a crash kept from becoming durable must never be loaded.


class _Numbers(StatefulSourcePartition):
    def __init__(self, batches):
        self._batches = list(batches)

    def next_batch(self):
        if not self._batches:
            raise StopIteration
        batch = self._batches.pop(0)
        if batch is None:
            raise OSError("power cut")
        return batch

    def snapshot(self):
        return 0


class _Source(FixedPartitionedSource):
    def __init__(self, batches):
        self._batches = batches

    def list_parts(self):
        return ["numbers"]

    def build_part(self, *_):
        return _Numbers(self._batches)


def _sums(folder, batches):
    out = []
    flow = Dataflow("sums")
    numbers = op.input("numbers", flow, _Source(batches))
    op.output("out", op.stateful_map("sum", numbers, lambda sum_, n: ((sum_ or 0) + n,) * 2), TestingSink(out))
    cli_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(folder))
    return out


def _crash(folder, batches):
    with pytest.raises(BytewaxRuntimeError):
        _sums(folder, [*batches, None])


@pytest.mark.parametrize("opened", [True, False])
def test_a_snapshot_of_an_incomplete_epoch_is_not_loaded(tmp_path, opened):
    folder = tmp_path / "store"
    open_recovery(folder)
    _crash(folder, [[("a", 1)], [("a", 1)], [("a", 1)], [], []])
    # As if killed between the snapshots of an epoch and the note that it is done.
    with sqlite3.connect(folder / "part-0.sqlite3") as store:
        ((step, resume),) = store.execute(
            "SELECT DISTINCT step_id, worker_frontier FROM snaps, fronts WHERE state_key = 'a'"
        ).fetchall()
        store.execute(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, 'a', ?, ?)",
            (step, resume, pickle.dumps(STALE)),
        )
    store.close()
    if opened:
        open_recovery(folder)
    _crash(folder, [[("b", 1)], [("b", 1)], [("b", 1)]])  # nothing for a
    if opened:
        open_recovery(folder)
    expected = 4 if opened else STALE + 1  # should the engine mend it, discard_incomplete_epochs can go
    assert _sums(folder, [[("a", 1)]]) == [("a", expected)]


def test_what_is_durable_stays(tmp_path):
    folder = tmp_path / "store"
    for total in (1, 2, 3):
        open_recovery(folder)
        assert _sums(folder, [[("a", 1)]]) == [("a", total)]
