"""A real Apache Kafka for tests, benchmarks and scripts: Maven's jars, java, and nothing else.

As a command, from the root: ``python -m tests.support.broker`` (``--help`` says more). As a library::

    with Broker(folder) as broker:
        broker.create("air", partitions=4, retention_ms=-1)
        broker.kill()       # -9
        broker.start()      # same port, same data

``Cluster`` is three of them that copy one another, ``Secure`` one with TLS, users and rights, and ``Remote`` one that
somebody else runs. The servers die with the process that started them, even where that is killed with -9.
"""

import argparse
import base64
import contextlib
import random
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests.support.kafka_remote import Remote, dotted
from tests.support.kafka_server import Server, Settings, certificates, free_ports, missing, password, require_free
from tests.support.until import TIMEOUT_S

QUICK = {
    # After kill -9 the controller keeps the dead server's place until its session ends: 9 s by default.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # Retention and compaction in seconds, not minutes, so that tests of them need not wait.
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
}
"""What tests change in the settings that the city ships."""


class Broker(Remote):
    """One server for one ``with`` block, or from ``start()`` to ``stop()``.

    Args:
        folder: holds settings, log and data; what is there from an earlier broker is used.
        port: where it listens; a free one by default.
        heap: Java's memory. A quick broker needs 256m; a measured one wants 1g.
        quick: compile less and look at retention often: starts in 2 s, good for tests, wrong for benchmarks.
        settings: lines of server.properties to override.
    """

    protocol = "PLAINTEXT"

    def __init__(
        self,
        folder: str | Path,
        port: int | None = None,
        *,
        heap: str = "256m",
        quick: bool = True,
        settings: Settings | None = None,
    ) -> None:
        free, inner = free_ports(2)
        self.folder, self.port = Path(folder).resolve(), port or free
        super().__init__(f"127.0.0.1:{self.port}")
        own = (
            (QUICK if quick else {})
            | self._addresses(inner)
            | {"log.dirs": self.folder / "data"}
            | dict(settings or {})
        )
        self.server = Server(self.folder, own, heap=heap, quick=quick)

    def _addresses(self, inner: int) -> dict[str, object]:
        return {
            "listeners": f"{self.protocol}://{self.servers},CONTROLLER://127.0.0.1:{inner}",
            "advertised.listeners": f"{self.protocol}://{self.servers}",
            "controller.quorum.voters": f"1@127.0.0.1:{inner}",
        }

    def _format(self) -> None:
        self.server.format(_cluster_id())

    def start(self) -> None:
        """Start it, with the data it has, and wait until it answers."""
        require_free(self.port)
        self._format()
        self.server.launch()
        try:
            self.wait([self.server])
        except BaseException:
            self.server.kill()
            raise

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """Stop it in order."""
        self.server.stop(timeout_s)

    def kill(self) -> None:
        """Kill -9."""
        self.server.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._admin = None
        self.kill()  # nobody reads its data after this, and an orderly stop takes 2 s


class Cluster(Remote):
    """Servers 1 to ``n`` that copy one another: three copies of everything, of which two must be written.

    A writer that waits for all copies (``acks=all``, what idempotence asks for) loses nothing with any one server.
    """

    def __init__(self, folder: str | Path, n: int = 3, *, heap: str = "256m", quick: bool = True) -> None:
        ports = free_ports(2 * n)
        names = range(1, n + 1)
        addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports[:n], strict=True)}
        inner = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports[n:], strict=True)}
        super().__init__(",".join(addresses.values()))
        copies = min(n, 3)
        shared = (QUICK if quick else {}) | {
            "controller.quorum.voters": ",".join(f"{name}@{address}" for name, address in inner.items()),
            "default.replication.factor": copies,
            "min.insync.replicas": copies - 1 or 1,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": copies - 1 or 1,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": copies - 1 or 1,
        }
        self.nodes = {}
        for name in names:
            here = Path(folder).resolve() / str(name)
            own = {
                "node.id": name,
                "listeners": f"PLAINTEXT://{addresses[name]},CONTROLLER://{inner[name]}",
                "advertised.listeners": f"PLAINTEXT://{addresses[name]}",
                "log.dirs": here / "data",
            }
            self.nodes[name] = Server(here, shared | own, heap=heap, quick=quick)

    def start(self, node: int | None = None) -> None:
        """Start one server, or all of them, and wait until the cluster knows every server that runs."""
        wanted = list(self.nodes.values()) if node is None else [self.nodes[node]]
        cluster = _cluster_id()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.format(cluster), wanted))
        try:
            for server in wanted:
                server.launch()
            living = [server for server in self.nodes.values() if server.running]
            self.wait(living, count=len(living))
        except BaseException:
            for server in wanted:
                server.kill()
            raise

    def kill(self, node: int) -> None:
        """Kill -9 one server."""
        self.nodes[node].kill()

    def stop(self, node: int | None = None) -> None:
        """Stop one server in order, or all of them: it hands its partitions over first."""
        wanted = list(self.nodes.values()) if node is None else [self.nodes[node]]
        for server in wanted:
            server.ask_to_stop()
        for server in wanted:
            server.stop(TIMEOUT_S / 4)  # the last ones wait for a majority that is gone

    def leader(self, topic: str, partition: int = 0) -> int:
        """Which server takes the writes of a partition; -1 where none does at this moment."""
        return int(self._partition(topic, partition).leader)

    def in_sync(self, topic: str, partition: int = 0) -> set[int]:
        """The servers whose copy of a partition is whole."""
        return set(self._partition(topic, partition).isrs)

    def _partition(self, topic: str, partition: int) -> Any:
        return self.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._admin = None
        for server in self.nodes.values():
            server.kill()


class Secure(Broker):
    """A broker that speaks TLS only, knows its users by SCRAM-SHA-512, and refuses what nobody allowed.

    ``admin`` may do everything, and is who ``client()`` and ``create()`` are. The others begin with no right
    at all.

    Args:
        folder: as of `Broker`; its ``certificates`` and ``passwords`` are made here.
        users: who exists besides ``admin``.
        more: as of `Broker`.
    """

    protocol = "SASL_SSL"

    USERS = ("gateway", "flows", "light-07", "analyst")

    def __init__(self, folder: str | Path, users: Iterable[str] = USERS, **more: Any) -> None:
        here = Path(folder).resolve()
        self.ca, keystore = certificates(here / "certificates")
        self._passwords = {user: password(here / "passwords" / user) for user in ("admin", *users)}
        admin = f'username="admin" password="{self._passwords["admin"]}"'
        scram = f"org.apache.kafka.common.security.scram.ScramLoginModule required {admin};"
        # Users are known only once there is a controller, so controllers know one another by the settings file.
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        plain = f'{plain} {admin} user_admin="{self._passwords["admin"]}";'
        settings = {
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SASL_SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": plain,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin",
            "allow.everyone.if.no.acl.found": "false",
        }
        more["settings"] = settings | dict(more.get("settings") or {})
        super().__init__(here, **more)

    def _format(self) -> None:
        users = [f"SCRAM-SHA-512=[name={user},password={word}]" for user, word in self._passwords.items()]
        self.server.format(_cluster_id(), *(word for user in users for word in ("--add-scram", user)))

    def client(self, **more: object) -> dict[str, Any]:
        """Settings of a confluent-kafka client of ``admin``."""
        return self.client_of("admin", **more)

    def client_of(self, user: str, **more: object) -> dict[str, Any]:
        """Settings of a confluent-kafka client of this user."""
        identity = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self._passwords[user],
            "ssl.ca.location": str(self.ca),
        }
        return super().client() | identity | dotted(more)

    def environment(self, user: str = "admin") -> dict[str, str]:
        """The variables by which ``cityair`` finds this broker and is this user."""
        return super().environment() | {
            "CITYAIR_KAFKA_SECURITY": "SASL_SSL",
            "CITYAIR_KAFKA_USER": user,
            "CITYAIR_KAFKA_PASSWORD": self._passwords[user],
            "CITYAIR_KAFKA_CA": str(self.ca),
        }

    @property
    def users(self) -> list[str]:
        """Who exists."""
        return list(self._passwords)


def _cluster_id() -> str:
    """Make one: 16 random bytes as text. The first is small, because a leading '-' would look like an option."""
    content = bytes([random.randrange(0x60)]) + random.randbytes(15)
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def main() -> None:
    """Run a broker in the foreground, until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.broker", description="Run a real Apache Kafka until Ctrl-C."
    )
    parser.add_argument("--port", type=int, default=9092, help="where it listens; not for --cluster (default: 9092)")
    parser.add_argument("--folder", type=Path, help="keep its data here; by default they go when it stops")
    parser.add_argument("--heap", default="512m", help="Java's memory (default: 512m)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--cluster", action="store_true", help="three servers that copy one another")
    kind.add_argument("--secure", action="store_true", help="TLS, users and rights")
    options = parser.parse_args()
    if lacks := missing():
        sys.exit(f"no Kafka broker can be started: {lacks} is missing")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cityair-kafka-")))
        broker: Cluster | Broker
        if options.cluster:
            broker = Cluster(folder, heap=options.heap, quick=False)
        else:
            broker = (Secure if options.secure else Broker)(folder, port=options.port, heap=options.heap, quick=False)
        with contextlib.suppress(KeyboardInterrupt), broker:
            for user in broker.users if isinstance(broker, Secure) else [""]:
                shown = broker.environment(user) if isinstance(broker, Secure) else broker.environment()
                print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in shown.items()))
            print("# Kafka is ready; Ctrl-C stops it", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
            if options.folder:  # it is read again, and a broker that was stopped in order comes back sooner
                broker.stop()


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as err:
        sys.exit(str(err))
