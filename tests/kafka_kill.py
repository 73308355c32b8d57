"""Proof of exactly-once through a real broker: kill -9 while a producer writes, and compare with an undisturbed run.

    python -m tests.kafka_kill --kills 100 [--late SHARE] [--rate N] [--seed N]

A producer writes what 48 stations say by the minute over four partitions, keyed by station, with duplicates, garbage
and minutes of silence. The real command reads and writes topics in epochs of 0.1 s and dies, at planted points
(``sinks/failpoints.py``) and at random times. Then the input is copied byte for byte, with its partitions and time stamps,
and a second flow reads it undisturbed. The lake's tables, the books, the messages and the dead letters must be equal.

Partitions are read as they come, so within a minute their order is free. Where a late reading arrives in the very
minute in which a step closes elsewhere, the first message of that step may be made with it or without it; the lake's
newest rows are equal either way. With ``--late`` such messages are counted and looked up in the lake's history; without
it every message must be equal.
"""

import argparse
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from flows.air import ALERT_TOPIC, FLOW, LIGHT_TOPIC
from schemas.headers import DEAD_LETTER_ID, EVENT_ID
from schemas.topics import PARTITIONS, TOPICS, dead_letter_topic
from sinks.catalog import catalog
from sinks.maintenance.audit import audit
from tests.broker import Broker, Remote
from tests.kill import BEGIN, EPOCH, FAST, GARBAGE, NEWEST, PARAMETERS, TABLES, DeltaTable, first_difference
from tests.server import until

COMMAND = Path(sys.executable).with_name("cityair")
READINGS, ROLLING = "env.air.reading.v1", "env.air.rolling.v1"
LETTERS = f"{READINGS}.dlq"
TOLD = {
    "cai": "* EXCLUDE (revision)",
    "aqi": "* EXCLUDE (revision)",
    "alerts": "*",
    "light_states": "*",
}
"""More that must be equal than of a run over files."""
LIGHTS = 3
SWING = 720
"""Minutes of a rise and fall of dust."""
OUT = [*FLOW.outputs, *(dead_letter_topic(topic) for topic in FLOW.inputs)]
POINTS = (
    "lake.before_files",
    "lake.after_files",
    "lake.before_commit",
    "lake.after_commit",
    "topics.after_write",
    "topics.before_flush",
    "topics.after_flush",
)
SHARE = 0.12
"""Chance to die at each pass of a planted point."""
TIMED = 0.4
"""Share of starts that are killed by the clock and not at a planted point."""
RATE = 20
"""Minutes of the city's air that are written in a second."""
SHORTEST = 240
"""Minutes that are written at least, however fast kills land: an index takes three hours of dust."""
LIVES_S = 15.0
"""Seconds after which a start that met no planted point is killed too."""
LONGEST = 600
FLUSHES_WITHIN = 120
"""Seconds in which a producer must get rid of what it could not send while its broker was away."""


class Kept(NamedTuple):
    """A message of a topic."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def main(words: list[str] | None = None) -> int:
    """Write, kill, compare, and say in the last lines what was seen; 0 if all is equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka_kill", description="kill -9 while a producer writes")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--late", type=float, default=0.0, help="share of readings that come hours late")
    parser.add_argument("--rate", type=int, default=RATE, help="minutes of the city's air in a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", help="host:port of one that runs; else one is started")
    asked = parser.parse_args(words)
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="cityair-kafka-kill-")))
        broker = Remote(asked.broker) if asked.broker else held.enter_context(Broker(folder / "kafka"))
        faults, figures = prove(broker, folder, asked.kills, asked.seed, late=asked.late, rate=asked.rate)
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
    late: float = 0.0,
    rate: int = RATE,
    lives_s: float = LIVES_S,
) -> tuple[list[str], str]:
    """Return what differs between a flow killed ``kills`` times and an undisturbed one, and the figures in a line."""
    (folder / "city.toml").write_text(city_file())
    killed, calm = Flow(broker, folder, "killed"), Flow(broker, folder, "calm")
    for flow in (killed, calm):
        flow.make_topics()
    began = time.monotonic()
    calm.finish()
    start_up = time.monotonic() - began
    writer = Writer(killed, random.Random(seed), late, rate)
    with writer:
        landed = kill(killed, kills, random.Random(seed), writer, start_up, lives_s)
        lasted = time.monotonic() - began - start_up
        until(lambda: writer.minutes >= SHORTEST, lambda: f"{writer.minutes} minutes are written", SHORTEST / rate + 60)
    killed.finish()
    for partition, messages in enumerate(killed.contents(READINGS)):
        calm.send(READINGS, messages, partition)
    calm.finish()
    faults = [*differences(calm, killed), *books(killed)]
    other, shown = message_differences(calm, killed)
    if other and not late:
        faults += shown
    with catalog.connect(killed.lake) as con:
        readings, rejects, means, refused = (
            con.execute(f"SELECT count(*) FROM {view}").fetchone()[0]
            for view in ("air_readings", "rejects", "rolling", "rejects WHERE reason = 'too_late'")
        )
    sent, letters = (
        sum(sum(map(len, killed.contents(topic))) for topic in topics) for topics in (FLOW.outputs, [LETTERS])
    )
    at = ", ".join(f"{count} {what}" for what, count in sorted(landed.items()))
    verdict = f"{len(faults)} faults" if faults else "equal to the undisturbed run"
    return faults, (
        f"{landed.total()} kills ({at}) in {lasted:.0f} s; {readings} readings and {rejects} rejects ({refused} too "
        f"late) once each, {means} means, {sent} messages and {letters} dead letters once each: {verdict}; "
        f"{other} messages made with or without a reading of the same minute"
    )


def city_file() -> str:
    """Write a city of 48 stations by the minute, some of them reference stations, and three lights."""
    lines = ["[city]", 'id = "kill"', 'name = "Kill"', 'timezone = "Asia/Seoul"']
    for i in range(FAST):
        lines += ["[[stations]]", f'id = "s-{i:02d}"', f"lat = {35.1 + i / 100:.2f}", "lon = 128.8"]
        lines += ['kind = "reference"'] if i % 8 == 0 else []
    for i in range(LIGHTS):
        lines += ["[[lights]]", f'id = "light-{i}"', f"lat = {35.1 + 16 * i / 100:.2f}", "lon = 128.8"]
    return "\n".join(lines) + "\n"


class Flow:
    """A run of the real command, with its own topics, lake and store.

    Args:
        broker: where its topics are.
        folder: holds city.toml, and gets the lake.
        name: of its lake, and what its topics' names begin with.
    """

    def __init__(self, broker: Remote, folder: Path, name: str) -> None:
        self.broker, self.name = broker, name
        self.prefix = f"{folder.name}.{name}."
        self.lake = folder / f"lake-{name}"
        self._city = folder / "city.toml"

    def make_topics(self, replication: int = -1, **config: str) -> None:
        """Make the city's topics."""
        settings = {"retention.ms": "-1"} | {key.replace("_", "."): value for key, value in config.items()}
        parts = {name: PARTITIONS if topic.spread else 1 for name, topic in TOPICS.items()}
        parts |= {dead_letter_topic(name): 1 for name, topic in TOPICS.items() if topic.direction == "in"}
        kept = {name: {"cleanup.policy": "compact"} if topic.compacted else {} for name, topic in TOPICS.items()}
        self.broker.create_all(
            [NewTopic(self.prefix + t, n, replication, config=settings | kept.get(t, {})) for t, n in parts.items()]
        )

    def command(self, *words: str) -> list[str]:
        """Name the command."""
        return [str(COMMAND), "run", "air", "--input", "kafka", "--output", "kafka", *words]

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a run."""
        own = {"CITYAIR_KAFKA_PREFIX": self.prefix, "CITYAIR_CITY": str(self._city), "CITYAIR_LAKE": str(self.lake)}
        return os.environ | self.broker.environment() | own | {"CITYAIR_EPOCH": EPOCH} | more

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start the command; it runs until it is stopped or has to end."""
        return subprocess.Popen(self.command(*words), stderr=subprocess.PIPE, env=self.environment(**more))

    def finish(self, *words: str, **more: str) -> str:
        """Run it to the end of the input, and return what it said.

        Raises:
            RuntimeError: it did not end well.
        """
        process = self.start("--stop-at-end", *words, **more)
        try:
            said = process.communicate(timeout=LONGEST)[1].decode()
        finally:
            process.kill()
        if process.returncode:
            raise RuntimeError(f"the {self.name} run ended with {process.returncode}: {said[-3000:]}")
        return said

    def contents(self, topic: str) -> list[list[Any]]:
        """Everything that is in a topic now, by partition."""
        settings = self.broker.client(
            group_id="kill",
            enable_partition_eof=True,
            enable_auto_commit=False,
            fetch_wait_max_ms=10,  # at an end there is nothing to wait for
            isolation_level="read_committed",
        )
        consumer = Consumer(settings)
        name = self.prefix + topic
        parts = sorted(consumer.list_topics(name, timeout=10).topics[name].partitions)
        consumer.assign([TopicPartition(name, n, -2) for n in parts])  # -2: the beginning
        found: list[list[Any]] = [[] for _ in parts]
        ended: set[int] = set()
        while len(ended) < len(parts):
            for message in consumer.consume(10_000, 0.1):
                if message.error():
                    ended.add(message.partition())
                else:
                    found[message.partition()].append(message)
        consumer.close()
        return found

    def send(self, topic: str, messages: list[Any], partition: int) -> None:
        """Copy messages as they are, with their time stamps."""
        producer = self.producer()
        for message in messages:
            producer.produce(
                self.prefix + topic,
                message.value(),
                message.key(),
                partition,
                timestamp=message.timestamp()[1],
                headers=message.headers(),
            )
            producer.poll(0)
        assert producer.flush(60) == 0

    def producer(self, **more: object) -> Any:
        """A client that writes as a gateway does."""
        return Producer(
            self.broker.client(
                enable_idempotence=True,
                partitioner="murmur2_random",
                linger_ms=5,
                queue_buffering_max_messages=1_000_000,
                message_timeout_ms=0,
                **more,
            )
        )

    def end(self, partition: int) -> int:
        """Offset at which a partition of the input ends."""
        consumer = Consumer(self.broker.client(group_id="kill"))
        _, high = consumer.get_watermark_offsets(TopicPartition(self.prefix + READINGS, partition), timeout=10)
        consumer.close()
        return int(high)

    def lag(self, topic: str = READINGS, group: str = "cityair-air") -> dict[int, int]:
        """What Kafka's own tools would show of the group: messages after the committed offset, by partition."""
        name = self.prefix + topic
        consumer = Consumer(self.broker.client(group_id=group, enable_auto_commit=False))
        parts = [TopicPartition(name, n) for n in consumer.list_topics(name, timeout=10).topics[name].partitions]
        lags = {}
        for part in consumer.committed(parts, timeout=10):
            low, high = consumer.get_watermark_offsets(part, timeout=10)
            lags[part.partition] = high - max(part.offset, low)
        consumer.close()
        return lags

    def messages(self, topic: str) -> tuple[dict[str, Kept], list[str]]:
        """Messages by their id, and the ids that are there twice."""
        found: dict[str, Kept] = {}
        twice = []
        for messages in self.contents(topic):
            for message in messages:
                name = dict(message.headers())[EVENT_ID if topic in TOPICS else DEAD_LETTER_ID].decode()
                if name in found:
                    twice.append(name)
                found.setdefault(
                    name, Kept(message.partition(), message.key(), message.value(), tuple(message.headers()))
                )
        return found, twice


class Writer:
    """Writes the city's air minute by minute while a ``with`` block lasts, in a thread of its own."""

    def __init__(self, flow: Flow, dice: random.Random, late: float, rate: int) -> None:
        self._flow, self._dice, self._late, self._rate = flow, dice, late, rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._fault: BaseException | None = None
        self.minutes = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.end()
        else:  # what went wrong shall be heard, not that its producer was stopped
            self._ended.set()

    def end(self) -> None:
        """Write no more, and see that all of it has arrived."""
        self._ended.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what ended the thread too early."""
        if self._fault is not None:
            raise self._fault

    def _write(self) -> None:
        try:
            producer, name = self._flow.producer(), self._flow.prefix + READINGS
            began = time.monotonic()
            for minute, said in enumerate(city_air(self._dice, self._late), 1):
                at = int((BEGIN + timedelta(minutes=minute)).timestamp() * 1000)
                for key, value, headers in said:
                    producer.produce(name, value, key, timestamp=at, headers=headers)
                producer.poll(0)
                self.minutes = minute
                if self._ended.wait(max(0.0, began + minute / self._rate - time.monotonic())):
                    break
            left = producer.flush(FLUSHES_WITHIN)
            assert not left, f"{left} of the writer's messages could not be sent within {FLUSHES_WITHIN} s"
        except BaseException as err:
            self._fault = err


def city_air(dice: random.Random, late: float) -> Iterator[list[tuple[bytes | None, bytes, Any]]]:
    """Yield what each minute brings, as key, value and headers, for ever.

    2 % of readings are not sent, and now and then a station is silent for up to two hours; 2 % come twice, at once or
    up to half an hour later, 1 % of messages are garbage; ``late`` is the share that comes hours late.
    """
    held: dict[int, list[tuple[bytes | None, bytes, Any]]] = {}
    silent_until = [0] * FAST
    minute = 0
    while True:
        minute += 1
        out: list[tuple[bytes | None, bytes, Any]] = []
        at = (BEGIN + timedelta(minutes=minute)).isoformat()
        swing = 0.4 + 3 * max(0.0, math.sin(2 * math.pi * minute / SWING))  # through all colors, and an alert
        for station in range(FAST):
            if dice.random() < 0.0005:
                silent_until[station] = minute + dice.randint(1, 120)
            chance = dice.random()
            if silent_until[station] > minute or chance < 0.02:
                continue
            values: dict[str, object] = {
                name: round(level * dice.uniform(0.8, 1.2) * (swing if name.startswith("pm") else 1), digits)
                for name, (level, digits) in PARAMETERS.items()
            }
            if dice.random() < 0.001:
                values["pm10"] = dice.choice((-400.0, 300.0, 5000.0))
            name = f"s-{station:02d}"
            message = (name.encode(), json.dumps({"station_id": name, "observed_at": at, **values}).encode(), None)
            if dice.random() < late:
                held.setdefault(minute + dice.randint(2, 180), []).append(message)
            else:
                out.append(message)
            if chance < 0.04:
                held.setdefault(minute + dice.randint(0, 30), []).append(message)
            if chance > 0.99:
                key = dice.choice((name.encode(), b"\xffno station", None, b""))
                out.append((key, dice.choice(GARBAGE), [("origin", b"gateway-3"), ("null", None)]))
        yield out + held.pop(minute, [])


def kill(flow: Flow, kills: int, dice: random.Random, writer: Writer, start_up: float, lives_s: float) -> Counter[str]:
    """Start until so many kills have landed; count what landed where.

    Args:
        flow: what is started.
        kills: how many.
        dice: choose where and when.
        writer: asked before each start whether it still writes.
        start_up: seconds that a start over an empty topic takes.
        lives_s: seconds after which a start that met no planted point is killed.

    Raises:
        RuntimeError: a start ended by itself.
    """
    landed: Counter[str] = Counter()
    while landed.total() < kills:
        writer.check()
        timed = dice.random() < TIMED
        planted = "" if timed else ",".join(f"{point}:{SHARE}" for point in POINTS)
        process = flow.start(CITYAIR_CRASH=planted)
        try:
            said = process.communicate(timeout=dice.uniform(0.7, 4.0) * start_up if timed else lives_s)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            landed["at random"] += 1
            continue
        if process.returncode != -9:
            raise RuntimeError(f"exit {process.returncode} after {landed.total()} kills: {said[-3000:]}")
        landed["at planted points"] += 1
    return landed


def differences(calm: Flow, killed: Flow) -> Iterator[str]:
    """Find what one lake has and the other has not, messages that are there twice, or are in one topic only."""
    with catalog.connect(calm.lake) as one_con, catalog.connect(killed.lake) as other_con:
        [(minutes,)] = one_con.execute(
            "SELECT date_diff('minute', min(observed_at), max(observed_at)) FROM air_readings"
        ).fetchall()
        quiet = {"alerts", ALERT_TOPIC} if minutes < SWING else set()  # dust has not risen for two hours yet
        for view, columns in (NEWEST | TOLD).items():
            one, other = (
                con.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table()
                for con in (one_con, other_con)
            )
            if not one.num_rows and view not in quiet:
                yield f"{view} is empty: nothing was proved"
            if not one.equals(other):
                yield f"{view}: {one.num_rows} rows and {other.num_rows}, first {first_difference(one, other)}"
    for topic in OUT:
        (one, twice_calm), (other, twice) = calm.messages(topic), killed.messages(topic)
        if not one and topic in {ROLLING, LETTERS, LIGHT_TOPIC, ALERT_TOPIC} - quiet:
            yield f"{topic} is empty: nothing was proved"
        if twice or twice_calm:
            yield f"{topic}: {len(twice)} and {len(twice_calm)} ids are there twice: {(twice or twice_calm)[:3]}"
        if only := sorted(one.keys() ^ other.keys()):
            yield f"{topic}: {len(only)} ids are in one run only: {only[:3]}"
        if topic == LETTERS and (unlike := [name for name in one.keys() & other.keys() if one[name] != other[name]]):
            yield f"{topic}: {len(unlike)} dead letters differ, first {one[unlike[0]]} and {other[unlike[0]]}"
    for flow in (calm, killed):
        yield from light_differences(flow)
        for partition, messages in enumerate(flow.contents(ROLLING)):
            newest: dict[bytes, int] = {}
            for message in messages:
                at = int(dict(message.headers())[EVENT_ID].decode().rsplit(":")[-1])
                if newest.get(message.key(), 0) >= at:
                    yield f"{ROLLING} [{partition}]: {message.key()} goes back in time at offset {message.offset()}"
                newest[message.key()] = at


def light_differences(flow: Flow) -> Iterator[str]:
    """Find lights whose newest state in the topic is not the lake's, and states that one of both lacks."""
    told = [json.loads(message.value()) for messages in flow.contents(LIGHT_TOPIC) for message in messages]
    with catalog.connect(flow.lake) as con:
        kept = con.execute("SELECT light_id, seq, color, reason FROM light_states ORDER BY ALL").fetchall()
    sent = sorted((state["light_id"], state["seq"], state["color"], state["reason"]) for state in told)
    if not sent:
        yield f"{LIGHT_TOPIC} is empty: nothing was proved"
    if sent != kept:
        yield f"{LIGHT_TOPIC}: {len(sent)} states, light_states {len(kept)}, first {next(iter({*sent} ^ {*kept}), None)}"
    for light in sorted({state["light_id"] for state in told}):
        seqs = [state["seq"] for state in told if state["light_id"] == light]
        if seqs != list(range(len(seqs))):
            yield f"{light}: its seqs do not rise by one: {seqs[:10]}"


def message_differences(calm: Flow, killed: Flow) -> tuple[int, list[str]]:
    """Count the messages of an id that differ, and show a few."""
    unlike: list[str] = []
    for topic in FLOW.outputs:
        (one, _), (other, _) = calm.messages(topic), killed.messages(topic)
        names = sorted(name for name in one.keys() & other.keys() if one[name] != other[name])
        unlike += [f"{topic}: {name}: {one[name].value!r} and {other[name].value!r}" for name in names]
    return len(unlike), unlike[:3]


def books(flow: Flow) -> Iterator[str]:
    """Find books that do not balance, offsets that are missing or there twice, and data files that no log knows."""
    yield from audit(flow.lake).faults
    with catalog.connect(flow.lake) as con:
        everything = "(SELECT kpart, koff FROM air_readings UNION ALL SELECT kpart, koff FROM rejects)"
        found = con.execute(
            f"SELECT kpart, count(*), count(DISTINCT koff), max(koff) FROM {everything} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        ends = [len(messages) for messages in flow.contents(READINGS)]
        for (partition, count, distinct, last), end in zip(found, ends, strict=True):
            if not count == distinct == last + 1 == end:
                yield f"partition {partition}, {end} messages: {count} rows of {distinct} offsets up to {last}"
        twice = con.execute(
            "SELECT count(*) FROM (FROM rolling_history SELECT count(*) AS n "
            "GROUP BY station_id, parameter, window_length, ended_at, revision HAVING n > 1)"
        ).fetchone()[0]
        if twice:
            yield f"{twice} revisions of means are there twice"
    for table in TABLES:
        listed = set(DeltaTable(str(flow.lake / table)).file_uris())
        strays = [path for path in (flow.lake / table).glob("dt=*/*.parquet") if str(path) not in listed]
        if strays:
            yield f"{table}: {len(strays)} stray files, first {strays[0].name}"
    until(lambda: not any(flow.lag().values()), lambda: f"the group lags after the end: {flow.lag()}", 10)


if __name__ == "__main__":
    sys.exit(main())
