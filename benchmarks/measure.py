"""Runs contenders as processes of their own, in turn, and reads from the kernel what each took.

This process stays small and waits: it imports no numpy, because the peak memory that the kernel reports of a child
begins with that of its parent.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CITYAIR = str(Path(sys.executable).parent / "cityair")
ONE_THREAD = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ERROR_LINES = 20


class Run(NamedTuple):
    """One process, from its start to its end."""

    seconds: float
    cpu: float
    """Seconds of processor, user and system; on a busy machine they say more than ``seconds``."""
    peak_mb: float
    """Largest resident memory, in 10^6 bytes."""
    said: dict[str, Any]
    """The JSON object it printed last; empty if it printed none."""


class BenchmarkError(Exception):
    """A contender failed, or did not compute the same."""


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Bind this process and all it starts to one core meanwhile; to none in particular where none is named."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def python(module: str, *arguments: object) -> list[str]:
    """The command line of one of our modules."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def child(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end.

    Raises:
        BenchmarkError: it failed; the end of what it said on stderr is in the message.
    """
    variables = {**os.environ, **ONE_THREAD, **(environment or {})}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # peers were compiled when they were installed, we were not
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            last = "\n".join(err.read().decode(errors="replace").splitlines()[-ERROR_LINES:])
            raise BenchmarkError(f"{' '.join(command)}\nended with {process.returncode}:\n{last}")
        lines = [line for line in out.read().splitlines() if line.startswith(b"{")]
    said = json.loads(lines[-1]) if lines else {}
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, said)


def in_turn(
    contenders: Mapping[str, Callable[[], Run]], rounds: int, once: frozenset[str] = frozenset()
) -> dict[str, list[Run]]:
    """Run contenders A B A B …, so that what else the machine does meets all of them alike.

    Args:
        contenders: by name.
        rounds: how often each runs.
        once: those too slow to run more than once.
    """
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, start in contenders.items():
            if turn and name in once:
                continue
            run = start()
            runs[name].append(run)
            print(f"  {turn + 1}/{rounds} {name}: {run.seconds:.2f} s, {run.cpu:.2f} s of processor", file=sys.stderr)
    return runs


def median(runs: Sequence[Run], what: Callable[[Run], float]) -> float:
    """The median of one figure."""
    return statistics.median(map(what, runs))


def spread(runs: Sequence[Run]) -> str:
    """How far the seconds of the runs lie apart, relative to their median."""
    seconds = [run.seconds for run in runs]
    if len(seconds) == 1:
        return "one run"
    return f"{(max(seconds) - min(seconds)) / statistics.median(seconds):.0%}"
