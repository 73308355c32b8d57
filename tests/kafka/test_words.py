"""What people have lights say, through a real broker: onto the lights, and refused where it cannot be."""

import json

import pytest

from sinks.catalog import catalog

READINGS, WORDS, STATES = "env.air.reading.v1", "env.light.message.v1", "env.light.state.v1"


@pytest.fixture
def lit_city(city_file):
    """The city of four stations, with a light."""
    city_file.write_text(
        city_file.read_text() + '[[lights]]\nid = "light-07"\nlat = 35.0\nlon = 128.8\nstations = ["s-0"]\n'
    )


def test_words_reach_their_light_and_others_become_dead_letters(lit_city, cityair, send, contents, reading, tmp_path):
    send(
        WORDS,
        [
            (
                b"light-07",
                json.dumps(
                    {"light_id": "light-07", "text": "산불 조심", "valid_until": "2026-03-03T00:00:00+09:00"}
                ).encode(),
            )
        ],
    )
    send(
        WORDS,
        [(b"light-99", b'{"light_id":"light-99","text":"x","valid_until":"2026-03-03T00:00:00+09:00"}'), (None, b"{")],
    )
    send(READINGS, [reading(f"s-{s}", minute, pm10=40.0, pm25=20.0) for minute in range(1, 91) for s in range(4)])
    cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    sent = [json.loads(m.value()) for m in contents(STATES)]
    assert [state["seq"] for state in sent] == list(range(len(sent)))
    assert {state["color"] for state in sent} == {"gray", "green"}
    assert "산불 조심" in (sent[-1]["text"] or ""), sent[-3:]
    letters = {dict(m.headers())["cityair_reason"]: m for m in contents(f"{WORDS}.dlq")}
    assert set(letters) == {b"contract", b"undecodable"}
    assert letters[b"contract"].key() == b"light-99"
    with catalog.connect(tmp_path / "lake") as con:
        rows = con.execute("SELECT seq, color, text FROM light_states ORDER BY seq").fetchall()
    assert rows == [(state["seq"], state["color"], state["text"]) for state in sent], (
        "the lake holds what the topic holds"
    )


def test_a_new_lake_goes_on_where_the_topic_is(lit_city, cityair, send, contents, reading, tmp_path, monkeypatch):
    send(READINGS, [reading(f"s-{s}", minute, pm10=40.0, pm25=20.0) for minute in range(1, 91) for s in range(4)])
    cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    before = [json.loads(m.value()) for m in contents(STATES)]
    monkeypatch.setenv("CITYAIR_LAKE", str(tmp_path / "other"))
    send(READINGS, [reading(f"s-{s}", minute, pm10=40.0, pm25=80.0) for minute in range(91, 181) for s in range(4)])
    cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    after = [json.loads(m.value()) for m in contents(STATES)]
    assert after[: len(before)] == before
    assert [state["seq"] for state in after] == list(range(len(after)))
    assert after[-1]["color"] == "red"
    assert min(state["as_of"] for state in after[len(before) :]) > before[-1]["as_of"]
    with catalog.connect(tmp_path / "other") as con:
        assert con.execute("SELECT max(seq), count(*) = max(seq) - min(seq) + 1 FROM light_states").fetchone() == (
            len(after) - 1,
            True,
        )
