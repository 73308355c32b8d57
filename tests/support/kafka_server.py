"""Apache Kafka's server as a process of ours: its jars from Maven, its folder, its life and its death.

Tests ask ``tests.support.broker`` for whole brokers; this is what those are made of.
"""

import contextlib
import fcntl
import hashlib
import os
import random
import re
import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.until import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "config" / "kafka" / "server.properties"
LOGGING = ROOT / "config" / "kafka" / "log4j2.properties"
POM = ROOT / "tests" / "kafka" / "pom.xml"

Settings = Mapping[str, object]


def missing() -> str:
    """Say what this machine lacks to run a broker; empty where it lacks nothing."""
    lacks = []
    if java := shutil.which("java"):
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        version = re.search(r'version "(\d+)', said)
        if not version or int(version[1]) < 17:
            lacks.append(f"Java 17 or newer ({said.splitlines()[0] if said else 'java says nothing'})")
    else:
        lacks.append("java (17 or newer)")
    if not shutil.which("mvn") and not _complete(_cache()):
        lacks.append("mvn (Maven)")
    return " and ".join(lacks)


def jars() -> Path:
    """Find the folder of Kafka's jars; the first time Maven fetches them, 45 MB in about 10 s.

    Raises:
        RuntimeError: Maven could not.
    """
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits for the first one's jars
        if not _complete(cache):
            shutil.rmtree(cache / "lib", ignore_errors=True)
            # -U: Maven remembers a failed download and would refuse to try again.
            command = ["mvn", "-B", "-q", "-U", "-f", str(POM), "dependency:copy-dependencies"]
            done = subprocess.run(
                [*command, f"-DoutputDirectory={cache / 'lib'}"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{shlex.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
            (cache / "complete").write_text(_wanted())
    return cache / "lib"


def _cache() -> Path:
    version = re.search(r"<kafka.version>(.+)</kafka.version>", POM.read_text())
    assert version
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cityair" / f"kafka-{version[1]}"


def _wanted() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def _complete(cache: Path) -> bool:
    marker = cache / "complete"
    return marker.exists() and marker.read_text() == _wanted()


def free_ports(count: int) -> list[int]:
    """Find ports nobody listens on, below those that the system gives to clients.

    A client that calls a dead server's port again and again would else one day be given that very port as its own,
    and talk to itself.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def require_free(port: int) -> None:
    """Look whether somebody listens there: his broker would answer in the name of ours.

    Raises:
        RuntimeError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of our dead server do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise RuntimeError(f"port {port} is taken ({err.strerror}); choose another") from err


class Server:
    """One Java process, its settings, its data and its log in ``folder``."""

    def __init__(self, folder: Path, settings: Settings, *, heap: str, quick: bool) -> None:
        self.folder = folder
        self.properties = folder / "server.properties"
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._options = [f"-Xmx{heap}", "-XX:+UseG1GC", "-Djava.awt.headless=true"]
        self._options += ["-XX:TieredStopAtLevel=1"] if quick else []
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        self.properties.write_text(f"{SETTINGS.read_text()}\n# from here on: {Path(__file__).name}\n{lines}")
        self.properties.chmod(0o600)  # passwords

    def _java(self, *words: str) -> list[str]:
        options = [*self._options, f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{jars()}/*"]
        return ["java", *options, *words]

    def format(self, cluster: str, *more: str) -> None:
        """Make the data folder, unless it is there."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        tool = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self.properties), *more)
        done = subprocess.run(tool, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's storage tool: {done.stdout[-3000:]}{done.stderr[-3000:]}")

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self) -> None:
        """Start the process; it is not ready yet."""
        if self.running:
            raise RuntimeError(f"the server in {self.folder} runs already")
        self._reap()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.properties)),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, and we stop it in order
            )
        # Its standard input ends when we do, however we do. (prctl's death signal would come with the end of the
        # thread that started the server, and needs Linux.)
        self._guard = subprocess.Popen(
            ["sh", "-c", f"read -r _; kill -9 {self._process.pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """End it with kill -9, wherever it is."""
        if self._process is not None:
            self._process.kill()
        self._reap()

    def ask_to_stop(self) -> None:
        """Send SIGTERM and come back at once."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """Stop it in order (about 2 s); where that lasts too long, kill it."""
        self.ask_to_stop()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def _reap(self) -> None:
        """Forget both processes; the guard first, so that it never kills a stranger with the same id."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.kill()
            self._guard.wait()
            self._guard.stdin.close()
            self._guard = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def certificates(folder: Path) -> tuple[Path, Path]:
    """Make an authority and the server's certificate; return the first, and the second with its key and chain."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key, key, request, signed = (folder / n for n in ("ca.crt", "ca.key", "key", "broker.csr", "broker.crt"))
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
    new = ["-newkey", "rsa:2048", "-nodes"]
    by: list[str | Path] = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", names]
    commands: list[list[str | Path]] = [
        ["req", "-x509", *new, "-days", "30", "-subj", "/CN=cityair-lab", "-keyout", ca_key, "-out", ca],
        ["req", *new, "-subj", "/CN=broker", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, *by, "-days", "30", "-out", signed],
        ["pkcs8", "-topk8", "-nocrypt", "-in", key, "-out", folder / "key.pk8"],
    ]
    for command in commands:
        done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl {command[0]}: {done.stderr}")
    keystore = folder / "broker.pem"
    keystore.write_bytes(b"".join(path.read_bytes() for path in (folder / "key.pk8", signed, ca)))
    return ca, keystore


def password(path: Path) -> str:
    """The password kept there, or a new one: a folder that is used again knows its users by their first ones."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(secrets.token_urlsafe(18))
    return path.read_text()
