"""What the flow does when the broker fails, loses or refuses something: each outage is made on a real broker.

    python -m tests.chaos.outages [NAME …] [--standstill SECONDS]

Each starts the real command on topics of its own, makes the trouble, and looks at how the command ends or goes on, at
the lake's ledger and at what was sent. Each line ends with figures.
"""

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from schemas.errors import BrokerError, ConfigurationError, DataQualityError
from tests.chaos.compare import row_counts
from tests.chaos.kafka_flow import DEAD_LETTERS, READINGS, ROLLING
from tests.chaos.trial import Trial
from tests.support.broker import Broker, Cluster
from tests.support.kafka_remote import Remote
from tests.support.until import until

STANDSTILL_S = 600.0
BUSY_MESSAGES = 500
"""So many messages in the lake show that a flow is at work."""
GROWTHS = 20
"""So often the lake grows without a leader until the silences between count as measured."""
MAX_IDLE_SHARE = 0.10
"""Share of a core that a flow without air may take."""
IDLE_S = 10.0
"""Time over which that is measured."""


def restart(broker: Broker, folder: Path, _: float) -> str:
    """Kill -9 of a single broker, and its restart."""
    trial = Trial(broker, folder, "restart")
    with trial.running() as process, trial.writer() as writer:
        until(lambda: trial.landed() > BUSY_MESSAGES, lambda: "nothing lands")
        broker.kill()
        time.sleep(1)
        began = time.monotonic()
        broker.start()
        up = time.monotonic() - began
        again = trial.goes_on()
        time.sleep(2)
        writer.end()
        trial.caught_up(process)
        trial.stop(process)
    return f"broker back after {up:.1f} s, lake goes on {again:.1f} s later; {trial.landed()} messages, {trial.whole()} sent"


def standstill(broker: Broker, folder: Path, seconds: float) -> str:
    """The broker stops for a long time, in order, while a producer goes on."""
    trial = Trial(broker, folder, "standstill")
    with trial.running() as process, trial.writer() as writer:
        until(lambda: trial.landed() > BUSY_MESSAGES, lambda: "nothing lands")
        broker.stop()
        before, used = memory(process.pid), cpu(process.pid)
        time.sleep(seconds)
        trial.still_running(process)
        grown, used = memory(process.pid) - before, cpu(process.pid) - used
        broker.start()
        again = trial.goes_on()
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
        until(lambda: trial.landed() > BUSY_MESSAGES, lambda: "nothing lands")
        victim = cluster.leader(trial.flow.prefix + READINGS)
        cluster.kill(victim)
        longest_s = max(trial.goes_on() for _ in range(GROWTHS))
        cluster.start(victim)
        time.sleep(2)
        writer.end()
        trial.caught_up(process)
        trial.stop(process)
    return f"longest silence of the lake {longest_s:.1f} s; {trial.landed()} messages, {trial.whole()} sent"


def sigterm(broker: Broker, folder: Path, _: float) -> str:
    """SIGTERM while there is nothing to do, while the broker is away, and while messages cannot be sent."""
    trial = Trial(broker, folder, "sigterm")
    trial.write(30)
    with trial.running() as process:
        trial.caught_up(process)
        idle = trial.stop(process)
    with trial.running() as process, trial.writer():
        seen = trial.landed()
        until(lambda: trial.landed() > seen + BUSY_MESSAGES, lambda: "nothing lands")
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
    [refused] = row_counts(trial.flow.lake, "rejects WHERE reason = 'too_large'")
    assert refused == 2, f"{refused} were refused as too large"
    cut = [m for m in trial.flow.messages(DEAD_LETTERS)[0].values() if "cityair_cut" in dict(m.headers)]
    assert sorted(len(m.value or b"") for m in cut) == [65536, 65536], "dead letters of large messages are cut"
    limit(broker, trial.flow.prefix + ROLLING, "100")
    trial.write(20)
    stderr = trial.refused(BrokerError.status)
    assert "MSG_SIZE_TOO_LARGE" in stderr, stderr
    limit(broker, trial.flow.prefix + ROLLING, "1000000")
    trial.flow.finish()
    return f"2 too large in; out: exit {BrokerError.status}, then all {trial.whole()} sent"


def recreated(broker: Broker, folder: Path, _: float) -> str:
    """The input topic is deleted and made again: between runs, and while one runs."""
    trial = Trial(broker, folder, "again")
    trial.write(15)
    trial.flow.finish()
    again(trial, broker)
    trial.write(40)
    stderr = trial.refused(ConfigurationError.status)
    assert "deleted and made again" in stderr, stderr
    other = Trial(broker, folder / "live", "again-live")
    other.write(15)
    with other.running() as process:
        other.caught_up(process)
        began = time.monotonic()
        again(other, broker)
        other.write(40)  # more than was read: offsets alone do not show it
        stderr = other.refused(ConfigurationError.status, process=process)
        seconds = time.monotonic() - began
    return f"exit {ConfigurationError.status} at the start, and {seconds:.1f} s after it was done to a running flow"


def retention(broker: Broker, folder: Path, _: float) -> str:
    """The broker deletes what was not read yet: before a start, and under a running flow."""
    trial = Trial(broker, folder, "retention")
    trial.write(15)
    trial.flow.finish()
    trial.write(15)
    lost = sum(trial.flow.lag().values())
    delete(trial, broker)
    stderr = trial.refused(DataQualityError.status)
    assert "--accept-gaps" in stderr, stderr
    assert "deleted by the broker" in trial.flow.finish("--accept-gaps"), "the gap is not named"
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
                live.refused(DataQualityError.status, process=process)
                continue
            live.write(15)
            live.caught_up(process)
            live.stop(process)
            gaps[words] = live.gap()
            live.whole(gap=gaps[words])
    return f"exit {DataQualityError.status}, then a gap of {lost}; under a running flow exit {DataQualityError.status}, or a gap of {gaps['--accept-gaps',]}"


def transactions(broker: Broker, folder: Path, _: float) -> str:
    """A producer that commits and aborts transactions leaves gaps that are no loss."""
    trial = Trial(broker, folder, "transactions")
    committed = trial.write(21, transactions=True)
    stderr = trial.flow.finish()
    ends = sum(trial.flow.end(n) for n in range(4))
    assert trial.landed() == committed, f"{committed} were committed, {trial.landed()} landed"
    trial.whole(gap=ends - committed)
    assert "deleted" not in stderr, stderr
    return f"{committed} of {ends} offsets are messages; gap {trial.gap()}, lag {sum(trial.flow.lag().values())}"


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
    shares = {}
    for epoch in ("10s", "0.1s"):
        trial.write(15)  # each start has something to catch up with, by which it is known to be up
        with trial.running(CITYAIR_EPOCH=epoch) as process:
            trial.caught_up(process)
            time.sleep(2)
            before = cpu(process.pid)
            time.sleep(IDLE_S)
            shares[epoch] = (cpu(process.pid) - before) / IDLE_S
            trial.stop(process)
    assert shares["10s"] < MAX_IDLE_SHARE, f"idle takes {shares['10s']:.1%} of a core"
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
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description="what outages do to the flow")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(OUTAGES)} (default: all)")
    parser.add_argument("--standstill", type=float, default=STANDSTILL_S, help="seconds (default: %(default).0f)")
    options = parser.parse_args(words)
    if unknown := set(options.names) - OUTAGES.keys():
        parser.error(f"no outage named {', '.join(sorted(unknown))}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cityair-outages-") as place, contextlib.ExitStack() as stack:
        folder, brokers = Path(place), {}
        for name in options.names or OUTAGES:
            kind = Cluster if name == "leader" else Broker
            if kind not in brokers:
                brokers[kind] = stack.enter_context(kind(folder / kind.__name__))
            try:
                print(f"{name}: {OUTAGES[name](brokers[kind], folder / name, options.standstill)}", flush=True)
            except Exception as err:
                failed += 1
                print(f"{name}: FAILED: {err!r}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
