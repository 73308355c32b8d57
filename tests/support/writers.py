"""A writer of a lake as a process of its own, for tests in which several write at once.

    python -m tests.support.writers LAKE WRITER EPOCHS

It makes the lake's tables if they are not there, waits until LAKE/go is there, and writes EPOCHS epochs of two refused
messages each, of an input partition of its own, through the sink as the engine would.
"""

import subprocess
import sys
import time
from pathlib import Path

from flows.decode.batch import InputPartition
from schemas.city import City, Identity
from sinks.lake.sink import LakeSink
from tests.support.batches import rejected

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240
CITY = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])


def write(root, writer, epochs):
    """Write epochs; every snapshot's pending files are committed beside the next epoch."""
    sink = LakeSink(root, writer, CITY)
    partition = sink.build_part("lake", "lake", None)
    for epoch in range(epochs):
        partition.write_batch([rejected(2 * epoch, partition=InputPartition(writer, 0))])
        partition.snapshot()
    sink.finish()
    sink.abandon()


def start(root, *writers, epochs):
    """Start a process for each writer and let all go at the same moment; return their exit codes and messages."""
    command = [sys.executable, "-m", "tests.support.writers", str(root)]
    processes = [
        subprocess.Popen([*command, writer, str(epochs)], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for writer in writers
    ]
    try:
        _wait_for(*(root.with_name(f"{root.name}-{writer}-ready") for writer in writers))
        root.with_name(f"{root.name}-go").touch()
        return [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _wait_for(*paths):
    patience = time.monotonic() + PATIENCE_S
    while not all(path.exists() for path in paths):
        assert time.monotonic() < patience, f"waited in vain for {paths}"
        time.sleep(0.001)


if __name__ == "__main__":
    lake, name = Path(sys.argv[1]), sys.argv[2]
    lake.with_name(f"{lake.name}-{name}-ready").touch()
    _wait_for(lake.with_name(f"{lake.name}-go"))
    write(lake, name, int(sys.argv[3]))
