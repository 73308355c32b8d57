"""Makes the environments of the peers that run on Java: ``python -m benchmarks.peers.install [flink] [spark]``.

Each gets a virtual environment and its Kafka connector, in ``cityair/peers`` of the user's cache folder: about 700 MB
to fetch, from the Python and Maven registries as they are set up on this machine. What is there already stays.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>cityair</groupId><artifactId>peer</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>
</dependencies></project>"""


class Peer(NamedTuple):
    """What a peer is made of: a Python package, a Maven artifact (group, name, version), and the jars to take of it."""

    package: str
    connector: tuple[str, str, str]
    jars: tuple[str, ...]


PEERS = {
    "flink": Peer(
        "apache-flink==2.3.0",
        ("org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2"),
        ("flink-sql-connector-kafka",),
    ),
    "spark": Peer(
        "pyspark==4.2.0",
        ("org.apache.spark", "spark-sql-kafka-0-10_2.13", "4.2.0"),
        ("spark-sql-kafka-0-10_2.13", "spark-token-provider-kafka-0-10_2.13", "kafka-clients", "commons-pool2"),
    ),
}


def home(name: str) -> Path:
    """Where a peer's environment is."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cityair" / "peers" / f"{name}-{PEERS[name].package.rpartition('=')[2]}"


def python(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return home(name) / "bin" / "python"


def jars(name: str) -> Path:
    """The folder of a peer's connector."""
    return home(name) / "jars"


def there(name: str) -> bool:
    """Whether a peer was installed whole."""
    return (home(name) / "complete").exists()


def install(name: str) -> None:
    """Make a peer's environment.

    Raises:
        RuntimeError: java or mvn is not there, or a registry has not what is needed.
    """
    for program in ("java", "mvn"):
        if not shutil.which(program):
            raise RuntimeError(f"{name} needs {program}, which is not there")
    peer, folder = PEERS[name], home(name)
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    _run(str(python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.package)
    group, artifact, version = peer.connector
    with tempfile.TemporaryDirectory() as temporary:
        pom = Path(temporary) / "pom.xml"
        pom.write_text(POM.format(group=group, artifact=artifact, version=version), encoding="utf-8")
        chosen = f"-DincludeArtifactIds={','.join(peer.jars)}"
        _run(
            "mvn",
            "-B",
            "-q",
            "-U",
            "-f",
            str(pom),
            "dependency:copy-dependencies",
            chosen,
            f"-DoutputDirectory={jars(name)}",
        )
    (folder / "complete").touch()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")


def main() -> int:
    """Make those that are named, or all."""
    failed = 0
    for name in sys.argv[1:] or PEERS:
        if name not in PEERS:
            print(f"no peer named {name!r}; known: {', '.join(PEERS)}", file=sys.stderr)
            return 2
        print(f"{name}: {'is there' if there(name) else 'fetching'}: {home(name)}", file=sys.stderr)
        try:
            if not there(name):
                install(name)
        except RuntimeError as err:
            print(f"{name} cannot be installed: {err}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
