"""`docker-compose.kafka.yml` and the Dockerfile hold together, as far as that can be seen without a Docker engine."""

import importlib.util
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest
import typer
from ruamel.yaml import YAML

from flows.cli import application
from tests.support.kafka_server import POM, SETTINGS

SECRET = re.compile(r"password|passwd|secret|token|credential|jaas|private.?key", re.I)


@pytest.fixture(scope="module")
def file(root):
    return root / "docker-compose.kafka.yml"


@pytest.fixture(scope="module")
def compose(file):
    return YAML(typ="safe").load(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def kafka(compose):
    return compose["services"]["kafka"]


@pytest.fixture(scope="module")
def properties(kafka, root):
    """What the broker is told: the mounted file, then the environment, as the image joins them."""
    [folder] = [v.split(":")[0] for v in kafka["volumes"] if v.split(":")[1] == "/mnt/shared/config"]
    lines = [
        line for line in (root / folder / "server.properties").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    told = dict(line.split("=", 1) for line in lines)
    for name, value in kafka["environment"].items():
        if name != "KAFKA_HEAP_OPTS":
            told[name.removeprefix("KAFKA_").lower().replace("_", ".")] = value
    return told


def test_it_follows_the_schema_of_compose(file):
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        words = [docker, "compose", "--file", str(file), "config", "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_services_lean_on_is_there(compose, root):
    named = set()
    for name, service in compose["services"].items():
        for other in service.get("depends_on", {}):
            assert other in compose["services"]
        for volume in service["volumes"]:
            whole = volume["source"] if isinstance(volume, dict) else volume
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", whole).split(":")[0]
            if source.startswith("."):
                assert (root / source).exists(), volume
            else:
                named.add(source)
        assert service["mem_limit"], name
        assert service["restart"] == ("no" if name == "topics" else "unless-stopped")
    assert named == set(compose["volumes"])
    assert compose["services"]["air"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert compose["services"]["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_the_broker_reads_the_file_that_the_tests_broker_reads(kafka, root):
    [mounted] = [v.split(":")[0] for v in kafka["volumes"] if v.split(":")[1] == "/mnt/shared/config"]
    assert (root / mounted).resolve() / "server.properties" == SETTINGS
    version = re.search(r"<kafka.version>(.+)</kafka.version>", POM.read_text(encoding="utf-8"))[1]
    assert kafka["image"] == f"apache/kafka:{version}"


def test_the_brokers_addresses_fit(kafka, properties):
    listeners = dict(part.split("://:") for part in properties["listeners"].split(","))
    told = dict(part.split("://") for part in properties["advertised.listeners"].split(","))
    protocols = dict(part.split(":") for part in properties["listener.security.protocol.map"].split(","))
    assert set(listeners) == set(protocols) == {*told, properties["controller.listener.names"]}
    assert properties["inter.broker.listener.name"] in told
    assert told["PLAINTEXT"] == f"{kafka['hostname']}:{listeners['PLAINTEXT']}"
    outside = told["HOST"].rpartition(":")[2]
    assert kafka["ports"] == [f"127.0.0.1:{outside}:{listeners['HOST']}"]
    assert properties["controller.quorum.voters"].endswith(f"@localhost:{listeners['CONTROLLER']}")
    assert f"localhost:{listeners['PLAINTEXT']}" in kafka["healthcheck"]["test"][1]
    assert f"kafka:{properties['log.dirs']}" in kafka["volumes"]
    assert properties["auto.create.topics.enable"] == "false"


def test_services_run_commands_that_exist(compose, root):
    spec = importlib.util.spec_from_file_location("generate_cli", root / "docs" / "generate_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = dict(module.commands(typer.main.get_command(application())))
    ran = []
    for service in compose["services"].values():
        if service.get("image") == "cityair":
            words = service["command"]
            [name] = [name for name in known if words[: len(name.split())] == name.split()]
            known[name].make_context(name, words[len(name.split()) :])  # an unknown option raises
            ran.append(name)
            assert service["environment"]["CITYAIR_KAFKA"] == "kafka:9092"
    assert ran == ["topics create", "run"]


def test_flows_keep_lake_and_recovery_on_volumes_of_a_normal_user(compose, root):
    air = compose["services"]["air"]
    places = dict(pairwise(air["command"]))
    image = (root / "Dockerfile").read_text(encoding="utf-8")
    for option in ("--lake", "--recovery"):
        assert any(str(volume).endswith(f":{places[option]}") for volume in air["volumes"])
        assert re.search(rf"install --directory --owner cityair .*{places[option]}\b", image)
    assert re.findall(r"^USER (.+)$", image, re.M) == ["cityair"]
    assert image.index("\nUSER cityair") > image.rindex("\nRUN ")
    assert re.findall(r'^ENTRYPOINT \["(\w+)"\]$', image, re.M) == ["cityair"]


def test_the_image_is_built_once(compose):
    assert [name for name, service in compose["services"].items() if "build" in service] == ["topics"]
    assert {name for name, service in compose["services"].items() if service["image"] == "cityair"} == {"topics", "air"}


def test_the_image_is_built_from_what_is_sent_to_the_engine(root):
    image = (root / "Dockerfile").read_text(encoding="utf-8")
    sent = re.findall(r"^!(.+)$", (root / ".dockerignore").read_text(encoding="utf-8"), re.M)
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", image, re.M) for word in line.split()[:-1]]
    assert sorted(copied) == sorted(sent)
    for name in copied:
        assert (root / name).exists()
    assert "--constraint constraints.txt" in image
    assert image.count("python:3.12-slim") == 2


def test_no_secret_stands_in_it(compose, root):
    def walk(thing):
        if isinstance(thing, dict):
            for key, value in thing.items():
                yield key
                yield from walk(value)
        elif isinstance(thing, list):
            for value in thing:
                yield from walk(value)
        else:
            yield str(thing)

    words = [*walk(compose), *(root / "Dockerfile").read_text().split("\n"), *SETTINGS.read_text().split("\n")]
    assert len(words) > 100
    for word in words:
        assert word.startswith("#") or not SECRET.search(word), word
