"""A flow to which one outage is done, on topics and in a folder of its own."""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sinks.catalog import catalog
from tests.chaos.city_air import kafka_city, minutes_of_messages
from tests.chaos.kafka_compare import flow_faults
from tests.chaos.kafka_flow import OUT_TOPICS, READINGS, KafkaFlow, Writer
from tests.support.broker import Broker
from tests.support.kafka_remote import Remote
from tests.support.until import TIMEOUT_S, until

MINUTES_A_SECOND = 10
"""Minutes of the city's air that are written in a second."""
MAX_STOP_S = 60.0
"""Within it a stop must be over, on a slow machine too; what it took is printed."""
INTERRUPTED = 130


class Trial:
    """The flow of one outage, with its topics, in a folder of its own."""

    def __init__(self, broker: Remote, folder: Path, name: str, replication: int = -1, **config: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "city.toml").write_text(kafka_city())
        self.flow = KafkaFlow(broker, folder, name)
        self.flow.make_topics(replication, **config)
        self._air = minutes_of_messages(random.Random(1), 0.0)

    def writer(self) -> Writer:
        """Write while a ``with`` block lasts."""
        return Writer(self.flow, random.Random(2), 0.0, MINUTES_A_SECOND)

    def write(self, minutes: int, *, transactions: bool = False) -> int:
        """Write some minutes; with transactions, every third is aborted. Return how many messages are there to read."""
        settings = {"transactional_id": self.flow.prefix} if transactions else {}
        producer, committed = self.flow.producer(**settings), 0
        if transactions:
            producer.init_transactions(30)
        for minute in range(minutes):
            if transactions:
                producer.begin_transaction()
            messages = next(self._air)
            for key, value, headers in messages:
                producer.produce(self.flow.prefix + READINGS, value, key, headers=headers)
            if transactions and minute % 3 == 1:
                producer.flush(30)
                producer.abort_transaction(30)
                continue
            if transactions:
                producer.commit_transaction(30)
            committed += len(messages)
        assert producer.flush(30) == 0
        return committed

    @contextlib.contextmanager
    def running(self, *words: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the command without end, and see that nothing is left of it."""
        process = self.flow.start(*words, **more)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def stop(self, process: Any, away: Broker | None = None) -> float:
        """Stop it as an operator does, and return the seconds that took; a broker that is away is started then."""
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            stderr = process.communicate(timeout=TIMEOUT_S)[1].decode()
        finally:
            lasted_s = time.monotonic() - began
            if away is not None:
                away.start()
        assert process.returncode == INTERRUPTED, f"SIGTERM: exit {process.returncode}: {stderr[-2000:]}"
        assert lasted_s < MAX_STOP_S, f"SIGTERM took {lasted_s:.1f} s: {stderr[-1000:]}"
        return lasted_s

    def refused(self, status: int, *words: str, process: Any = None) -> str:
        """Wait for the command to end with this status, and return its last line."""
        process = process or self.flow.start("--stop-at-end", *words)
        try:
            stderr = process.communicate(timeout=TIMEOUT_S)[1].decode()
        finally:
            process.kill()
        assert process.returncode == status, f"exit {process.returncode}, not {status}: {stderr[-3000:]}"
        last = str(stderr.strip().splitlines()[-1])
        assert self.flow.prefix in last, f"it does not name the topic: {last}"
        return last

    @staticmethod
    def still_running(process: Any) -> None:
        """See that the command has not ended."""
        if process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}: {process.stderr.read().decode()[-3000:]}")

    def landed(self) -> int:
        """Messages that the ledger counts."""
        with contextlib.suppress(Exception), catalog.connect(self.flow.lake) as con:
            return int(con.execute("SELECT coalesce(sum(received), 0) FROM ledger").fetchone()[0])
        return 0

    def goes_on(self) -> float:
        """Wait until more messages are in the lake than now; return the seconds that took."""
        landed, began = self.landed(), time.monotonic()
        until(lambda: self.landed() > landed, lambda: f"nothing lands after {landed} messages")
        return time.monotonic() - began

    def leaders(self) -> int:
        """Partitions of the input that can be written."""
        name = self.flow.prefix + READINGS
        partitions = self.flow.broker.admin.list_topics(name, timeout=30).topics[name].partitions.values()
        return sum(part.leader >= 0 for part in partitions)

    def gap(self) -> int:
        """Offsets that the ledger counts as lost."""
        with catalog.connect(self.flow.lake) as con:
            return int(con.execute("SELECT sum(gap) FROM ledger").fetchone()[0])

    def caught_up(self, process: Any, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the group lags no longer."""

        def done() -> bool:
            self.still_running(process)
            with contextlib.suppress(Exception):
                return self.landed() > 0 and not any(self.flow.lag().values())
            return False

        until(done, lambda: f"it does not catch up: {self.landed()} messages, lag {self.flow.lag()}", timeout_s)

    def whole(self, gap: int = 0) -> int:
        """See that all messages are in the lake once and no message was sent twice; return how many were sent."""
        faults = [fault for fault in flow_faults(self.flow) if not gap or "rows of" not in fault]
        assert not faults, faults
        assert self.gap() == gap, f"the ledger's gap is {self.gap()}, not {gap}"
        messages = sum(map(len, self.flow.contents(READINGS)))
        assert gap or self.landed() == messages, f"{messages} messages, the ledger counts {self.landed()}"
        sent = 0
        for topic in OUT_TOPICS:
            messages_by_id, doubled = self.flow.messages(topic)
            assert not doubled, f"{topic}: {len(doubled)} ids are there twice: {doubled[:3]}"
            sent += len(messages_by_id)
        return sent
