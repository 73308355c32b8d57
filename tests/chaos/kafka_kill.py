"""Proof of exactly-once through a real broker: kill -9 while a producer writes, and compare with an undisturbed run.

    python -m tests.chaos.kafka_kill --kills 100 [--late SHARE] [--rate N] [--seed N]

A producer writes what 48 stations send by the minute over four partitions, keyed by station, with duplicates, garbage
and minutes of silence. The real command reads and writes topics in epochs of 0.1 s and dies, at failpoints
(``sinks/failpoints.py``) and at random times. Then the input is copied byte for byte, with its partitions and time
stamps, and a second flow reads it undisturbed. The lake's tables, the ledger, the messages and the dead letters must be
equal.

Partitions are read as they come, so within a minute their order is free. Where a late reading arrives in the very
minute in which a step closes elsewhere, the first message of that step may be made with it or without it; the lake's
newest rows are equal either way. With ``--late`` such messages are counted and looked up in the lake's history; without
it every message must be equal.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from flows.air import FLOW
from tests.chaos.city_air import kafka_city
from tests.chaos.compare import row_counts
from tests.chaos.kafka_compare import differences, flow_faults, message_differences
from tests.chaos.kafka_flow import DEAD_LETTERS, READINGS, KafkaFlow, Writer
from tests.chaos.kill import shown
from tests.support.broker import Broker
from tests.support.kafka_remote import Remote
from tests.support.until import TIMEOUT_S, until

FAILPOINTS = (
    "lake.before_files",
    "lake.after_files",
    "lake.before_commit",
    "lake.after_commit",
    "topics.after_write",
    "topics.before_flush",
    "topics.after_flush",
)
FAILPOINT_CHANCE = 0.12
"""Chance to die at each pass of a failpoint."""
TIMED_SHARE = 0.4
"""Share of starts that are killed by the clock and not at a failpoint."""
MINUTES_A_SECOND = 20
"""Minutes of the city's air that are written in a second."""
MIN_MINUTES = 240
"""Minutes that are written at least, however fast kills land: an index takes three hours of dust."""
LIVES_S = 15.0
"""Seconds after which a start that met no failpoint is killed too."""


def main(words: list[str] | None = None) -> int:
    """Write, kill, compare, and print the figures in the last line; 0 if all is equal."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.kafka_kill", description="kill -9 while a producer writes"
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--late", type=float, default=0.0, help="share of readings that come hours late")
    parser.add_argument("--rate", type=int, default=MINUTES_A_SECOND, help="minutes of the city's air in a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", help="host:port of one that runs; else one is started")
    options = parser.parse_args(words)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cityair-kafka-kill-")))
        broker = Remote(options.broker) if options.broker else stack.enter_context(Broker(folder / "kafka"))
        faults, figures = prove(
            broker, folder, options.kills, options.seed, late_share=options.late, minutes_a_second=options.rate
        )
    for fault in faults:
        print(f"NOT EQUAL: {fault}")
    print(figures)
    return bool(faults)


def prove(
    broker: Remote,
    folder: Path,
    kills: int,
    seed: int,
    *,
    late_share: float = 0.0,
    minutes_a_second: int = MINUTES_A_SECOND,
    lives_s: float = LIVES_S,
) -> tuple[list[str], str]:
    """Kill a flow ``kills`` times; return its differences from an undisturbed one, and the figures in one line."""
    (folder / "city.toml").write_text(kafka_city())
    killed, calm = KafkaFlow(broker, folder, "killed"), KafkaFlow(broker, folder, "calm")
    for flow in (killed, calm):
        flow.make_topics()
    began = time.monotonic()
    calm.finish()
    start_up_s = time.monotonic() - began
    writer = Writer(killed, random.Random(seed), late_share, minutes_a_second)
    with writer:
        deaths = kill(killed, kills, random.Random(seed), writer, start_up_s, lives_s)
        lasted_s = time.monotonic() - began - start_up_s
        until(
            lambda: writer.minutes >= MIN_MINUTES,
            lambda: f"{writer.minutes} minutes are written",
            MIN_MINUTES / minutes_a_second + TIMEOUT_S,
        )
    killed.finish()
    for partition, messages in enumerate(killed.contents(READINGS)):
        calm.copy(READINGS, messages, partition)
    calm.finish()
    faults = [*differences(calm, killed), *flow_faults(killed)]
    unlike, examples = message_differences(calm, killed)
    if unlike and not late_share:
        faults += examples
    verdict = f"{len(faults)} faults" if faults else "equal to the undisturbed run"
    return faults, (
        f"{shown(deaths)} in {lasted_s:.0f} s; {counts(killed)}: {verdict}; "
        f"{unlike} messages made with or without a reading of the same minute"
    )


def counts(flow: KafkaFlow) -> str:
    """Rows and messages of a flow."""
    views = ("air_readings", "rejects", "rolling", "rejects WHERE reason = 'too_late'")
    readings, rejects, means, too_late = row_counts(flow.lake, *views)
    messages = sum(len(part) for topic in FLOW.outputs for part in flow.contents(topic))
    dead_letters = sum(map(len, flow.contents(DEAD_LETTERS)))
    return (
        f"{readings} readings and {rejects} rejects ({too_late} too late) once each, {means} means, {messages} messages "
        f"and {dead_letters} dead letters once each"
    )


def kill(
    flow: KafkaFlow, kills: int, dice: random.Random, writer: Writer, start_up_s: float, lives_s: float
) -> Counter[str]:
    """Start until it has died so many times; count the deaths by where they were.

    Args:
        flow: what is started.
        kills: how many.
        dice: choose where and when.
        writer: checked before each start.
        start_up_s: seconds that a start over an empty topic takes.
        lives_s: seconds after which a start that met no failpoint is killed.

    Raises:
        RuntimeError: a start ended by itself.
    """
    deaths: Counter[str] = Counter()
    while deaths.total() < kills:
        writer.check()
        timed = dice.random() < TIMED_SHARE
        failpoints = "" if timed else ",".join(f"{point}:{FAILPOINT_CHANCE}" for point in FAILPOINTS)
        process = flow.start(CITYAIR_CRASH=failpoints)
        try:
            timeout_s = dice.uniform(0.7, 4.0) * start_up_s if timed else lives_s
            stderr = process.communicate(timeout=timeout_s)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            deaths["at random"] += 1
            continue
        if process.returncode != -9:
            raise RuntimeError(f"exit {process.returncode} after {deaths.total()} kills: {stderr[-3000:]}")
        deaths["at failpoints"] += 1
    return deaths


if __name__ == "__main__":
    sys.exit(main())
