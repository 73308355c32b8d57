"""What the engine leaves of an epoch that a crash undid must never be loaded."""

import pickle
import sqlite3
from datetime import timedelta

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main
from bytewax.testing import TestingSink

from sinks.recovery_store import open_recovery

STALE = 999


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
def test_a_snapshot_of_an_undone_epoch_is_not_loaded(tmp_path, opened):
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
    expected = 4 if opened else STALE + 1  # should the engine mend it, forget_undone can go
    assert _sums(folder, [[("a", 1)]]) == [("a", expected)]


def test_what_is_durable_stays(tmp_path):
    folder = tmp_path / "store"
    for total in (1, 2, 3):
        open_recovery(folder)
        assert _sums(folder, [[("a", 1)]]) == [("a", total)]
