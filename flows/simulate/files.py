"""Simulated runs as files: NDJSON, compressed or not, and Parquet, with the truth beside them."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow.parquet as pq

from flows.simulate.lines import TABLE, SimulatedLines
from flows.simulate.simulator import Simulation
from flows.simulate.truth import Truth
from schemas.errors import UsageError


class RunFiles(NamedTuple):
    """The truth about a run, and the files it is in: None for a stream or a topic, and where no truth is written."""

    truth: Truth
    path: Path | None
    truth_path: Path | None


def write_run(simulation: Simulation, path: Path, progress: Callable[[float], None] = lambda _: None) -> RunFiles:
    """Write a run to a file, and its truth beside it as ``<path>.truth.json``.

    Args:
        simulation: the run.
        path: NDJSON; compressed if it ends in ``.gz``, Parquet with the wire's field names if in ``.parquet``.
        progress: called with the share that is done, 0 to 1, after each day.

    Raises:
        UsageError: garbage is to be written to Parquet, which cannot hold it.
    """
    if path.suffix == ".parquet" and "garbage" in simulation.truth.scenarios:
        raise UsageError(f"{path}: a Parquet file cannot hold garbage; leave the scenario out or write .ndjson")
    part = path.with_name(path.name + ".part")
    try:
        if path.suffix == ".parquet":
            _write_parquet(simulation, part, progress)
        else:
            with part.open("wb") as file:
                if path.suffix == ".gz":
                    with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
                        write_lines(simulation, stream, progress)
                else:
                    write_lines(simulation, file, progress)
        truth_path = path.with_name(path.name + ".truth.json")
        write_truth(simulation.truth, truth_path)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # a run cut short leaves no file that looks whole
    return RunFiles(simulation.truth, path, truth_path)


def write_truth(truth: Truth, path: Path) -> None:
    """Write the truth about a run as JSON."""
    path.write_bytes(truth.json() + b"\n")


def write_lines(simulation: Simulation, stream: IO[bytes] | gzip.GzipFile, progress: Callable[[float], None]) -> None:
    """Write a run to a stream as NDJSON."""
    for lines in _days(simulation, progress):
        stream.write(b"".join([text + b"\n" for text in simulation.encode(lines)]))


def _write_parquet(simulation: Simulation, path: Path, progress: Callable[[float], None]) -> None:
    with pq.ParquetWriter(path, TABLE, compression="zstd") as writer:
        for lines in _days(simulation, progress):
            writer.write_table(simulation.to_table(lines))


def _days(simulation: Simulation, progress: Callable[[float], None]) -> Iterator[SimulatedLines]:
    for day, lines in enumerate(simulation.days(), 1):
        yield lines
        progress(day / simulation.whole_days)
