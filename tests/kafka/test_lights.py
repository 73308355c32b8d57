"""Lights on a real broker: the real pipeline decides, the real client shows, and grays itself when that is dead."""

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

COMMAND = Path(sys.executable).with_name("cityair")
READINGS, STATES, MESSAGES = "env.air.reading.v1", "env.light.state.v1", "env.light.message.v1"
MINUTE = timedelta(minutes=1)
LIFE = 15 * MINUTE
SOON = (timedelta(seconds=30), timedelta(seconds=150))
"""How far ahead a color's time is over at least: until then the pipeline has to decide it and be killed. The second is
for a machine on which that takes longer."""
MAX_WAIT_S = 240


@pytest.fixture
def lit_city(city_file):
    """The city of four stations, with a light for each of three."""
    lights = [f'[[lights]]\nid = "light-{i}"\nname = "등 {i}"\nlat = 35.{i}\nlon = 128.8' for i in range(3)]
    city_file.write_text(city_file.read_text() + "\n".join(lights) + "\n")
    return [f"light-{i}" for i in range(3)]


@pytest.fixture
def send(city_topics, broker):
    """Puts objects into a topic, keyed by ``key``."""

    def put(topic, key, rows):
        producer = Producer({"bootstrap.servers": broker.servers})
        for row in rows:
            producer.produce(city_topics + topic, json.dumps(row).encode(), row[key].encode())
        assert producer.flush(30) == 0

    return put


def contents(name, servers):
    """Every message of a topic of one partition: key and value."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(name, 0, 0)])
    found = []
    while (message := consumer.poll(60)) is not None and message.error() is None:
        found.append((message.key().decode(), json.loads(message.value())))
    consumer.close()
    return found


class Client:
    """``cityair lights --kafka --follow --json`` while it runs."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [COMMAND, "lights", "--kafka", "--follow", "--json", *words], stdout=subprocess.PIPE, text=True
        )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.shows = {}

    def _read(self):
        for line in self.process.stdout:
            if line.endswith("}\n"):  # not what kill cut off
                self._lines.put((datetime.now(UTC), json.loads(line)))

    def until(self, holds):
        """Take lines until what the lights show holds; returns those lines with when they came."""
        end, came = time.monotonic() + MAX_WAIT_S, []
        while not holds(self.shows):
            assert time.monotonic() < end, f"after {MAX_WAIT_S} s the lights show {self.shows}"
            with contextlib.suppress(queue.Empty):
                came.append(self._lines.get(timeout=0.2))
                self.shows[came[-1][1]["light_id"]] = came[-1][1]
        return came

    def silent(self, seconds):
        """Nothing may be told for so long."""
        time.sleep(seconds)
        assert self._lines.empty(), self._lines.get()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture
def pipeline(tmp_path):
    """Starts the real flow, live, in a process of its own; whatever runs at the end is killed."""
    started = []

    def start():
        words = [COMMAND, "run", "air", "--input", "kafka", "--output", "kafka"]
        with (tmp_path / "run.log").open("w") as log:
            started.append(subprocess.Popen(words, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def air_of(begin, end, **values):
    """Readings of all stations in (begin, end], a minute apart."""
    minutes = (end - begin) // MINUTE
    return [
        {"station_id": f"s-{s}", "observed_at": (begin + i * MINUTE).isoformat(), **values}
        for i in range(1, minutes + 1)
        for s in range(4)
    ]


def all_show(color, lights):
    return lambda shows: {light for light, seen in shows.items() if seen["color"] == color} == set(lights)


def color_for_a_while(client, send, lights, since):
    """Send air after ``since`` that may be shown for a minute or so: nobody wants to wait for 15. Its last minute makes
    it worse, which is told at once. Returns when that time is over."""
    yellow = all_show("yellow", lights)
    for soon in SOON:
        over = (datetime.now(UTC) + soon).replace(second=0, microsecond=0) + MINUTE
        air = over - LIFE
        send(READINGS, "station_id", air_of(since, air - MINUTE, pm10=40.0, pm25=35.0))
        send(READINGS, "station_id", air_of(air - MINUTE, air, pm10=40.0, pm25=95.0))
        client.until(lambda shows, over=over: yellow(shows) or datetime.now(UTC) >= over)
        if datetime.now(UTC) < over:
            return over
        since = air
    raise AssertionError(f"the lights show no color within {SOON[-1]}: {client.shows}")


# More than 50 lines: one life of a pipeline, of which each part needs what was there before.
def test_lights_gray_themselves_when_the_pipeline_is_killed(
    cityair, lit_city, send, pipeline, city_topics, broker, tmp_path
):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    cityair("lights", "say", "light-1", "산불 조심", "--until", (now + 60 * MINUTE).isoformat())
    run = pipeline()
    with Client() as client:
        client.until(all_show("gray", lit_city))
        assert {seen["why"] for seen in client.shows.values()} == {"nothing yet"}

        # The pipeline is there once it tells of old air; a light that hears of that shows no color.
        old = now - 40 * MINUTE
        send(READINGS, "station_id", air_of(old - 60 * MINUTE, old, pm10=40.0, pm25=35.0))
        client.until(lambda shows: {seen["why"] for seen in shows.values()} == {"over"})
        assert {seen["color"] for seen in client.shows.values()} == {"gray"}

        over = color_for_a_while(client, send, lit_city, old)
        assert client.shows["light-1"]["text"] == "산불 조심"
        run.send_signal(signal.SIGKILL)
        run.wait()
        told = dict(contents(city_topics + STATES, broker.servers))  # newest last
        assert {datetime.fromisoformat(state["valid_until"]) for state in told.values()} == {over}
        assert client.shows["light-0"]["face"] == "worry"
        assert client.shows["light-0"]["pm25"] in (36.0, 37.0), "one minute of the hour, or two, was worse"

        # Before that time is over, and after: by the clock alone, with nothing in between.
        early = one_shot(cityair, over - timedelta(seconds=1))
        assert {seen["color"] for seen in early} == {"yellow"}
        assert {(seen["color"], seen["why"], seen["pm25"]) for seen in one_shot(cityair, over)} == {
            ("gray", "over", None)
        }
        came = client.until(all_show("gray", lit_city))
        assert len(came) == 3
        assert all(seen["why"] == "over" and seen["text"] is None for _, seen in came)
        delays = [(at - over).total_seconds() for at, _ in came]
        assert 0 <= min(delays) <= max(delays) < 30, delays

        # Replayed, stale and reordered messages, whatever they promise.
        seqs = {light: state["seq"] for light, state in told.items()}
        replay = [value for _, value in contents(city_topics + STATES, broker.servers)]
        promise = {"valid_until": (over + 60 * MINUTE).isoformat(), "as_of": over.isoformat()}
        lies = [told[light] | promise | {"seq": seq} for light, last in seqs.items() for seq in (0, last - 1, last)]
        send(STATES, "light_id", [*replay, *reversed(replay), *lies])
        client.silent(3)
        assert {(seen["color"], seen["why"]) for seen in one_shot(cityair)} == {("gray", "over")}

        # It does listen: a newer one counts, and what is older than that does not.
        newer = told["light-0"] | promise | {"seq": seqs["light-0"] + 5}
        send(STATES, "light_id", [newer])
        client.until(lambda shows: shows["light-0"]["color"] == "yellow")
        red = {"seq": newer["seq"] - 1, "color": "red", "grade": 4}
        send(STATES, "light_id", [newer | red, newer | red | {"seq": newer["seq"]}])
        client.silent(2)


def one_shot(cityair, at=None):
    words = ["--at", at.isoformat()] if at else []
    return [json.loads(line) for line in cityair("lights", "--kafka", "--json", *words).splitlines()]


def test_a_message_that_is_none_is_left_out(cityair, lit_city, send, city_topics, broker):
    now = datetime.now(UTC)
    good = {"light_id": "light-0", "seq": 1, "color": "blue", "grade": 1, "parameter": "pm10", "pm10": 3.0, "pm25": 2.0}
    good |= {"as_of": now.isoformat(), "valid_until": (now + LIFE).isoformat(), "stations": ["s-0"], "coverage": 1.0}
    good |= {"reason": "", "text": None, "firmware": "newer"}
    send(STATES, "light_id", [good, good | {"seq": 2, "color": "red"}, good | {"light_id": "elsewhere"}])
    seen = {one["light_id"]: one for one in one_shot(cityair)}
    assert list(seen) == [*lit_city, "elsewhere"]
    assert (seen["light-0"]["seq"], seen["light-0"]["face"]) == (1, "smile")
    assert seen["light-1"]["why"] == "nothing yet"
    assert "등 0" in cityair("lights", "--kafka", "--light", "light-0")


def test_what_people_say_is_delivered_or_the_command_fails(cityair, lit_city, city_topics, broker):
    said = cityair("lights", "say", "light-0", "폭염 경보", "--until", "2099-01-01T18:00")
    assert "light-0 says '폭염 경보' until 2099-01-01 18:00 KST" in said
    cityair("lights", "say", "light-0", "")
    cityair("lights", "say", "all", "안녕", "--until", "2099-01-01T18:00Z")
    messages = contents(city_topics + MESSAGES, broker.servers)
    assert messages[0] == (
        "light-0",
        {"light_id": "light-0", "text": "폭염 경보", "valid_until": "2099-01-01T18:00:00+09:00"},
    )
    assert messages[1][1]["text"] == ""
    assert [(key, value["text"]) for key, value in messages[2:]] == [(light, "안녕") for light in lit_city]
    broker.delete(city_topics + MESSAGES)
    told = cityair("lights", "say", "light-0", "x", "--until", "2099-01-01T18:00", status=3)
    assert "cityair topics create" in told


def test_no_topic_names_its_cure(cityair, lit_city, city_topics, broker):
    broker.delete(city_topics + STATES)
    assert "cityair topics create" in cityair("lights", "--kafka", status=3)
