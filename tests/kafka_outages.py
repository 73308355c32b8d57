"""What the flow does when the broker fails, loses or refuses something: each outage is made on a real broker.

    python -m tests.kafka_outages [NAME …] [--standstill SECONDS]

Each starts the real command on topics of its own, makes the trouble, and looks at how the command ends or goes on, at
the lake's books and at what was sent. The last words of each line are figures.
"""

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from sinks.catalog import catalog
from tests.broker import Broker, Cluster, Remote
from tests.kafka_kill import LETTERS, OUT, READINGS, ROLLING, Flow, Writer, books, city_air, city_file
from tests.server import until

STANDSTILL = 600.0
RATE = 10
"""Minutes of the city's air in a second."""
MOST_IDLE = 0.10
"""Share of a core that a flow without air may take."""
IDLE = 10.0
"""Seconds over which that is measured."""
SOON = 30.0
"""Seconds in which a stop must be over, on a slow machine, too; what it took is printed."""
INTERRUPTED, CONFIGURATION, BROKER, DATA = 130, 3, 5, 6


class Trial:
    """One outage's flow, with its topics, in a folder of its own."""

    def __init__(self, broker: Remote, folder: Path, name: str, replication: int = -1, **config: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "city.toml").write_text(city_file())
        self.flow = Flow(broker, folder, name)
        self.flow.make_topics(replication, **config)
        self.air = city_air(random.Random(1), 0.0)
        self._process: subprocess.Popen[bytes] | None = None

    def writer(self) -> Writer:
        """Write while a ``with`` block lasts."""
        return Writer(self.flow, random.Random(2), 0.0, RATE)

    def write(self, minutes: int, *, transactions: bool = False) -> int:
        """Write some minutes; with transactions, every third is aborted. Return how many messages are there to read."""
        more = {"transactional_id": self.flow.prefix} if transactions else {}
        producer, kept = self.flow.producer(**more), 0
        if transactions:
            producer.init_transactions(30)
        for minute in range(minutes):
            if transactions:
                producer.begin_transaction()
            said = next(self.air)
            for key, value, headers in said:
                producer.produce(self.flow.prefix + READINGS, value, key, headers=headers)
            if transactions and minute % 3 == 1:
                producer.flush(30)
                producer.abort_transaction(30)
                continue
            if transactions:
                producer.commit_transaction(30)
            kept += len(said)
        assert producer.flush(30) == 0
        return kept

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
            said = process.communicate(timeout=60)[1].decode()
        finally:
            lasted = time.monotonic() - began
            if away is not None:
                away.start()
        assert process.returncode == INTERRUPTED, f"SIGTERM: exit {process.returncode}: {said[-2000:]}"
        assert lasted < SOON, f"SIGTERM took {lasted:.1f} s: {said[-1000:]}"
        return lasted

    def refused(self, status: int, *words: str, process: Any = None) -> str:
        """Wait for the command to end with this status, and return its last line."""
        process = process or self.flow.start("--stop-at-end", *words)
        try:
            said = process.communicate(timeout=90)[1].decode()
        finally:
            process.kill()
        assert process.returncode == status, f"exit {process.returncode}, not {status}: {said[-3000:]}"
        last = str(said.strip().splitlines()[-1])
        assert self.flow.prefix in last, f"it does not name the topic: {last}"
        return last

    def landed(self) -> int:
        """Messages that the ledger counts."""
        with contextlib.suppress(Exception), catalog.connect(self.flow.lake) as con:
            return int(con.execute("SELECT coalesce(sum(received), 0) FROM ledger").fetchone()[0])
        return 0

    def leaders(self) -> int:
        """Partitions of the input that can be written."""
        name = self.flow.prefix + READINGS
        found = self.flow.broker.admin.list_topics(name, timeout=10).topics[name].partitions.values()
        return sum(part.leader >= 0 for part in found)

    def gap(self) -> int:
        """Offsets that the ledger counts as lost."""
        with catalog.connect(self.flow.lake) as con:
            return int(con.execute("SELECT sum(gap) FROM ledger").fetchone()[0])

    def caught_up(self, process: Any, patience: float = 90) -> None:
        """Wait until the group lags no longer."""

        def done() -> bool:
            assert process.poll() is None, (
                f"it ended with {process.returncode}: {process.stderr.read().decode()[-3000:]}"
            )
            with contextlib.suppress(Exception):
                return self.landed() > 0 and not any(self.flow.lag().values())
            return False

        until(done, lambda: f"it does not catch up: {self.landed()} messages, lag {self.flow.lag()}", patience)

    def whole(self, gap: int = 0) -> int:
        """See that all messages are in the lake once and no message was sent twice; return how many were sent."""
        faults = [fault for fault in books(self.flow) if not gap or "rows of" not in fault]
        assert not faults, faults
        assert self.gap() == gap, f"the ledger's gap is {self.gap()}, not {gap}"
        there = sum(map(len, self.flow.contents(READINGS)))
        assert gap or self.landed() == there, f"{there} messages, the ledger counts {self.landed()}"
        sent = 0
        for topic in OUT:
            found, twice = self.flow.messages(topic)
            assert not twice, f"{topic}: {len(twice)} ids are there twice: {twice[:3]}"
            sent += len(found)
        return sent


def restart(broker: Broker, folder: Path, _: float) -> str:
    """Kill -9 of a single broker, and its restart."""
    trial = Trial(broker, folder, "restart")
    with trial.running() as process, trial.writer() as writer:
        until(lambda: trial.landed() > 500, lambda: "nothing lands")
        broker.kill()
        time.sleep(1)
        began = time.monotonic()
        broker.start()
        up = time.monotonic() - began
        before = trial.landed()
        until(lambda: trial.landed() > before, lambda: "nothing more lands")
        again = time.monotonic() - began - up
        time.sleep(2)
        writer.end()
        trial.caught_up(process)
        trial.stop(process)
    return f"broker back after {up:.1f} s, lake goes on {again:.1f} s later; {trial.landed()} messages, {trial.whole()} sent"


def standstill(broker: Broker, folder: Path, seconds: float) -> str:
    """The broker stops for a long time, in order, while a producer goes on."""
    trial = Trial(broker, folder, "standstill")
    with trial.running() as process, trial.writer() as writer:
        until(lambda: trial.landed() > 500, lambda: "nothing lands")
        broker.stop()
        before, used = memory(process.pid), cpu(process.pid)
        time.sleep(seconds)
        assert process.poll() is None, f"it ended with {process.returncode}: {process.stderr.read().decode()[-3000:]}"
        grown, used = memory(process.pid) - before, cpu(process.pid) - used
        landed = trial.landed()
        broker.start()
        began = time.monotonic()
        until(lambda: trial.landed() > landed, lambda: "nothing more lands")
        again = time.monotonic() - began
        writer.end()
        trial.caught_up(process)
        trial.stop(process)
    return (
        f"{seconds:.0f} s away: {grown:+.0f} MB, {used / seconds:.1%} of a core; lake goes on {again:.1f} s after; "
        f"{trial.landed()} messages, {trial.whole()} sent"
    )


def leader(cluster: Cluster, folder: Path, _: float) -> str:
    """Kill -9 of the leader of partitions in a cluster of three, two of which must have a message."""
    trial = Trial(cluster, folder, "leader", replication=3, min_insync_replicas="2")
    with trial.running() as process, trial.writer() as writer:
        until(lambda: trial.landed() > 500, lambda: "nothing lands")
        victim = cluster.leader(trial.flow.prefix + READINGS)
        cluster.kill(victim)
        longest, last, heard = 0.0, trial.landed(), time.monotonic()
        end = heard + 20
        while time.monotonic() < end:
            time.sleep(0.2)
            if (now := trial.landed()) > last:
                longest, last, heard = max(longest, time.monotonic() - heard), now, time.monotonic()
        assert heard > end - 5, "nothing lands without the leader"
        cluster.start(victim)
        time.sleep(2)
        writer.end()
        trial.caught_up(process)
        trial.stop(process)
    return f"longest silence of the lake {longest:.1f} s; {trial.landed()} messages, {trial.whole()} sent"


def sigterm(broker: Broker, folder: Path, _: float) -> str:
    """SIGTERM while there is nothing to do, while the broker is away, and while messages cannot be sent."""
    trial = Trial(broker, folder, "sigterm")
    trial.write(30)
    with trial.running() as process:
        trial.caught_up(process)
        idle = trial.stop(process)
    with trial.running() as process, trial.writer():
        seen = trial.landed()
        until(lambda: trial.landed() > seen + 500, lambda: "nothing lands")
        broker.kill()
        time.sleep(3)
        away = trial.stop(process, broker)
    with trial.running() as process:
        trial.caught_up(process)
        broker.kill()
        time.sleep(3)
        quiet = trial.stop(process, broker)
    trial.flow.finish()
    return f"idle {idle:.1f} s, broker away {quiet:.1f} s, and with messages unsent {away:.1f} s; {trial.whole()} sent"


def too_large(broker: Broker, folder: Path, _: float) -> str:
    """Messages larger than the contract on the way in; larger than the topic takes on the way out."""
    trial = Trial(broker, folder, "large", max_message_bytes="4194304")
    trial.write(11)
    producer = trial.flow.producer(message_max_bytes=4 << 20)
    producer.produce(trial.flow.prefix + READINGS, b"x" * (3 << 20), b"s-00")
    producer.produce(trial.flow.prefix + READINGS, b'"' + b"x" * (1 << 20), b"s-00")
    assert producer.flush(30) == 0
    trial.flow.finish()
    with catalog.connect(trial.flow.lake) as con:
        refused = con.execute("SELECT count(*) FROM rejects WHERE reason = 'too_large'").fetchone()[0]
    assert refused == 2, f"{refused} were refused as too large"
    cut = [m for m in trial.flow.messages(LETTERS)[0].values() if "cityair_cut" in dict(m.headers)]
    assert sorted(len(m.value or b"") for m in cut) == [65536, 65536], "dead letters of large messages are cut"
    limit(broker, trial.flow.prefix + ROLLING, "100")
    trial.write(20)
    said = trial.refused(BROKER)
    assert "MSG_SIZE_TOO_LARGE" in said, said
    limit(broker, trial.flow.prefix + ROLLING, "1000000")
    trial.flow.finish()
    return f"2 too large in; out: exit {BROKER}, then all {trial.whole()} sent"


def recreated(broker: Broker, folder: Path, _: float) -> str:
    """The input topic is deleted and made again: between runs, and while one runs."""
    trial = Trial(broker, folder, "again")
    trial.write(15)
    trial.flow.finish()
    again(trial, broker)
    trial.write(40)
    said = trial.refused(CONFIGURATION)
    assert "deleted and made again" in said, said
    other = Trial(broker, folder / "live", "again-live")
    other.write(15)
    with other.running() as process:
        other.caught_up(process)
        began = time.monotonic()
        again(other, broker)
        other.write(40)  # more than was read: offsets alone do not show it
        said = other.refused(CONFIGURATION, process=process)
        seconds = time.monotonic() - began
    return f"exit {CONFIGURATION} at the start, and {seconds:.1f} s after it was done to a running flow"


def retention(broker: Broker, folder: Path, _: float) -> str:
    """The broker deletes what was not read yet: before a start, and under a running flow."""
    trial = Trial(broker, folder, "retention")
    trial.write(15)
    trial.flow.finish()
    trial.write(15)
    lost = sum(trial.flow.lag().values())
    delete(trial, broker)
    said = trial.refused(DATA)
    assert "--accept-gaps" in said, said
    assert "deleted by the broker" in trial.flow.finish("--accept-gaps"), "nothing was said of the gap"
    assert trial.gap() == lost, f"gap {trial.gap()}, not {lost}"  # though nothing has come after it
    trial.write(15)
    trial.flow.finish()
    trial.whole(gap=lost)
    gaps = {}
    for words in ((), ("--accept-gaps",)):
        live = Trial(broker, folder / f"live{len(words)}", "retention-live")
        live.write(15)
        with live.running(*words) as process:
            live.caught_up(process)
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(2)  # its fetch that waits at the broker ends
            live.write(15)
            delete(live, broker)
            os.kill(process.pid, signal.SIGCONT)
            if not words:
                live.refused(DATA, process=process)
                continue
            live.write(15)
            live.caught_up(process)
            live.stop(process)
            gaps[words] = live.gap()
            live.whole(gap=gaps[words])
    return f"exit {DATA}, then a gap of {lost}; under a running flow exit {DATA}, or a gap of {gaps['--accept-gaps',]}"


def transactions(broker: Broker, folder: Path, _: float) -> str:
    """A producer that commits and aborts transactions leaves gaps that are no loss."""
    trial = Trial(broker, folder, "transactions")
    kept = trial.write(21, transactions=True)
    said = trial.flow.finish()
    ends = sum(trial.flow.end(n) for n in range(4))
    assert trial.landed() == kept, f"{kept} were committed, {trial.landed()} landed"
    trial.whole(gap=ends - kept)
    assert "deleted" not in said, said
    return f"{kept} of {ends} offsets are messages; gap {trial.gap()}, lag {sum(trial.flow.lag().values())}"


def partitions(broker: Broker, folder: Path, _: float) -> str:
    """The input topic gets more partitions: a running flow goes on, the next start reads them."""
    trial = Trial(broker, folder, "partitions")
    trial.write(15)
    with trial.running() as process:
        trial.caught_up(process)
        for future in broker.admin.create_partitions([NewPartitions(trial.flow.prefix + READINGS, 6)]).values():
            future.result(30)
        until(lambda: trial.leaders() == 6, lambda: "no new partitions")
        trial.write(15)
        until(lambda: not any(trial.flow.lag()[n] for n in range(4)), lambda: f"lag {trial.flow.lag()}")
        behind = sum(trial.flow.lag().values())
        trial.stop(process)
    trial.flow.finish()
    return f"{behind} messages of new partitions waited for a restart; {trial.landed()} messages, {trial.whole()} sent"


def idle(broker: Broker, folder: Path, _: float) -> str:
    """A flow without air takes little of a core, with the epochs that are the default and with short ones."""
    trial = Trial(broker, folder, "idle")
    trial.write(15)
    shares = {}
    for epoch in ("10s", "0.1s"):
        with trial.running(CITYAIR_EPOCH=epoch) as process:
            until(lambda: not any(trial.flow.lag().values()), lambda: f"lag {trial.flow.lag()}")
            time.sleep(2)
            before = cpu(process.pid)
            time.sleep(IDLE)
            shares[epoch] = (cpu(process.pid) - before) / IDLE
            trial.stop(process)
    assert shares["10s"] < MOST_IDLE, f"idle takes {shares['10s']:.1%} of a core"
    return ", ".join(f"epochs of {epoch}: {share:.1%} of a core" for epoch, share in shares.items())


def again(trial: Trial, broker: Remote) -> None:
    """Delete the input topic and make it again."""
    name = trial.flow.prefix + READINGS
    broker.delete(name)
    broker.create(name, partitions=4, retention_ms=-1)


def delete(trial: Trial, broker: Remote) -> None:
    """Delete every message of the input topic, as retention does."""
    name = trial.flow.prefix + READINGS
    for future in broker.admin.delete_records([TopicPartition(name, n, -1) for n in range(4)]).values():
        future.result(30)


def limit(broker: Remote, topic: str, size: str) -> None:
    """Set how large a message of a topic may be."""
    entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in broker.admin.incremental_alter_configs([resource]).values():
        future.result(30)


def memory(pid: int) -> float:
    """Megabytes in use by a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def cpu(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


OUTAGES: dict[str, Callable[[Any, Path, float], str]] = {
    outage.__name__: outage
    for outage in (
        restart,
        standstill,
        sigterm,
        too_large,
        recreated,
        retention,
        transactions,
        partitions,
        idle,
        leader,
    )
}


def main(words: list[str] | None = None) -> int:
    """Make each outage and say what was seen; 0 if all held."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka_outages", description="what outages do to the flow")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(OUTAGES)} (default: all)")
    parser.add_argument("--standstill", type=float, default=STANDSTILL, help="seconds (default: %(default).0f)")
    asked = parser.parse_args(words)
    if unknown := set(asked.names) - OUTAGES.keys():
        parser.error(f"no outage named {', '.join(sorted(unknown))}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cityair-outages-") as place, contextlib.ExitStack() as held:
        folder, brokers = Path(place), {}
        for name in asked.names or OUTAGES:
            kind = Cluster if name == "leader" else Broker
            if kind not in brokers:
                brokers[kind] = held.enter_context(kind(folder / kind.__name__))
            try:
                print(f"{name}: {OUTAGES[name](brokers[kind], folder / name, asked.standstill)}", flush=True)
            except Exception as err:
                failed += 1
                print(f"{name}: FAILED: {err!r}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
