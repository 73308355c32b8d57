"""How long after a slot's last reading is what it says in a consumer's hands, beside a raw loop?

Step one minute. Every 100 ms all 48 stations send their next minute: to the flow, or to a raw consume-and-produce loop,
in turns, while both run all the time and the flow commits to its lake. From the producer's clock as it sends a slot's
last reading to the clock of the consumer that gets the slot's last message: of env.air.rolling.v1, or of the loop.
Then everybody falls silent, and the flow's processor time is read.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import inputs, topics
from benchmarks.measure import CITYAIR, ONE_THREAD, ROOT, BenchmarkError, child, python
from benchmarks.report import Report, Target

STATIONS = 48
WARM = 100
"""Slots that are sent first and not counted: the clock is set by them, and every path is taken once."""
A_SECOND = 10
TURNS = 12
"""So many and so short, because a shared machine is another from minute to minute."""
MORE_MS = {50: 3.0, 99: 10.0}
IDLE_SECONDS = 20
IDLE = 10.0
PATIENCE = 60.0
RAW, OURS = "raw loop", "cityair run"
RAW_IN, RAW_OUT = "benchmark.in", "benchmark.out"


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it: 60 s each (6 with ``quick``), in twelve turns; ``rounds`` would say nothing more."""
    city = inputs.city(folder, "1m")
    slots = (6 if quick else 60) * A_SECOND // TURNS
    place = folder / "latency"
    shutil.rmtree(place, ignore_errors=True)
    paths = {RAW: (RAW_IN, RAW_OUT), OURS: (topics.READINGS, topics.ROLLING)}
    sent: dict[str, dict[str, int]] = {name: {} for name in paths}
    behind = 0.0
    try:
        with topics.running(place / "broker", city) as servers, ExitStack() as stack:
            topics.make_like(topics.READINGS, RAW_IN)
            topics.make_like(topics.ROLLING, RAW_OUT)
            stack.enter_context(_process(python("peers.echo", servers, RAW_IN, RAW_OUT)))
            flow = [CITYAIR, "run", "air", "--city", str(city), "--input", "kafka", "--output", "kafka"]
            ours = stack.enter_context(_process([*flow, "--lake", str(place / "lake")]))
            heard = stack.enter_context(_process(python("ours.listen", RAW_OUT, topics.ROLLING)))
            time.sleep(5)
            for turn in range(-1, TURNS):
                for name, (topic, _) in paths.items():
                    first, count = (0, WARM) if turn < 0 else (WARM + turn * slots, slots)
                    said = child(python("ours.ticks", city, topic, first, count)).said
                    if turn >= 0:
                        sent[name] |= said["stamps"]
                        behind = max(behind, said["behind_ms"])
            time.sleep(2)
            idle = _idle(ours.pid, 5 if quick else IDLE_SECONDS)
            found = _end(heard)
            commits = len(list((place / "lake" / "rolling" / "_delta_log").glob("*.json")))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    latencies = {name: _latencies(name, sent[name], found[topic]) for name, (_, topic) in paths.items()}
    return _report(latencies, idle, [f"{commits} commits to the lake; the producer was at most {behind:.0f} ms behind"])


def _latencies(name: str, sent: dict[str, int], found: dict[str, list[int]]) -> list[float]:
    """Milliseconds from the last reading of each slot to its last message.

    Raises:
        BenchmarkError: a slot is not whole.
    """
    lost = [slot for slot in sent if found.get(slot, [0, 0])[0] != STATIONS]
    if lost:
        counts = {slot: found.get(slot, [0, 0])[0] for slot in lost[:5]}
        raise BenchmarkError(f"{name}: {len(lost)} of {len(sent)} slots have not {STATIONS} messages: {counts}")
    return [(found[slot][1] - stamp) / 1e6 for slot, stamp in sent.items()]


def _report(latencies: dict[str, list[float]], idle: float, notes: list[str]) -> Report:
    report = Report("latency", (__doc__ or "").partition("\n")[0], ("", "slots", "p50 ms", "p90 ms", "p99 ms", "worst"))
    share = {}
    for name, found in latencies.items():
        cuts = statistics.quantiles(found, n=100, method="inclusive")
        share[name] = {percent: cuts[percent - 1] for percent in (50, 90, 99)}
        report.rows.append((name, len(found), *share[name].values(), max(found)))
    more = {percent: share[OURS][percent] - share[RAW][percent] for percent in (50, 90, 99)}
    report.rows.append(("more than raw", None, *more.values(), None))
    report.targets = [
        Target(f"p{percent} above the raw loop", more[percent], most, least=False, unit=" ms")
        for percent, most in MORE_MS.items()
    ]
    report.targets.append(Target("a core, where nothing comes", idle, IDLE, least=False, unit=" %"))
    report.notes = [
        "a slot's message: the last of its 48; each of six pollutants in four windows, or the reading itself",
        "both run all the time and are fed in turns; linger 0, lz4; broker, clients and contenders share the cores",
        *notes,
    ]
    return report


def _idle(pid: int, seconds: float) -> float:
    """Percent of a core that a process takes now."""
    before, began = _ticks(pid), time.perf_counter()
    time.sleep(seconds)
    return 100 * (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - began)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command meanwhile."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, cwd=ROOT, env={**os.environ, **ONE_THREAD}
    )
    try:
        yield process
        if process.poll() not in (None, 0):
            raise BenchmarkError(f"{' '.join(command)}\nended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Ask a process to end, and return what it says."""
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    found: dict[str, Any] = json.loads(out)
    return found
