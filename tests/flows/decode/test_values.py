"""One bad cell costs itself alone, whatever it holds; and whoever reads the reading can see how it was taken."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.decode.values import MAX_SHOWN_CHARACTERS, read_json, read_text
from schemas.measured import AIR
from tests.support.messages import GOOD, rows_of, with_pm10, with_status

UNREADABLE = {
    "an empty text": ('""', '"" is no number'),
    "a word for a broken line": ('"통신장애"', '"통신장애" is no number'),
    "below the detection limit": ('"<2.0"', '"<2.0" is no number'),
    "a mark behind the number": ('"34.2#"', '"34.2#" is no number'),
    "a decimal comma": ('"34,2"', '"34,2" is no number'),
    "a unit": ('"34.2 ppb"', '"34.2 ppb" is no number'),
    "a plus": ('"+3"', '"+3" is no number'),
    "a leading zero": ('"034"', '"034" is no number'),
    "a word of another language": ('"NaN"', '"NaN" is no number'),
    "an infinite text": ('"Infinity"', '"Infinity" is no number'),
    "other digits": ('"٣٤"', '"٣٤" is no number'),
    "underscores": ('"1_000"', '"1_000" is no number'),
    "blanks": ('"  "', '"  " is no number'),
    "two sentinels": ('"--"', '"--" is no number'),
    "true": ("true", "true is no number"),
    "false": ("false", "false is no number"),
    "a list": ("[34.2]", "[34.2] is no number"),
    "an object": ('{"mean":34.2}', '{"mean":34.2} is no number'),
    "a number beyond floats": ("1e999", "1e999 is too large"),
    "a text beyond floats": ('"-1e999"', '"-1e999" is too large'),
    "a long text": (json.dumps("x" * 10_000), f'"{"x" * MAX_SHOWN_CHARACTERS}…" is no number'),
    "a line break": ('"a\\nb"', '"a\\nb" is no number'),
}
READ = {
    "a text": ('"34.2"', 34.2),
    "a whole text": ('"34"', 34.0),
    "an exponent": ('"3.42E+1"', 34.2),
    "blanks around": ('" 34.2\\t"', 34.2),
    "minus nought": ('"-0.0"', 0.0),
    "below nought": ('"-3.5"', -3.5),
    "a sentinel": ('"-999"', math.nan),
    "escapes": ('"\\u0033\\u0034"', 34.0),
}


def one_by_one(decoder, message):
    """What lines make of a message, which must be what messages make of it."""
    lines, refused, _ = decoder.lines(0, 0, message + b"\n")
    messages, rejects = decoder.messages(0, np.arange(1), [message])
    assert rows_of(lines) == rows_of(messages)
    assert refused == rejects
    assert notes_of(lines) == notes_of(messages)
    return lines, refused


def notes_of(readings):
    if readings.notes is None:
        return [None] * len(readings)
    return [None if note is None else (note.text, note.unreadable, note.texts) for note in readings.notes.tolist()]


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("name", ["pm25", "so2", "humidity"])
def test_one_bad_cell_costs_its_value_and_no_neighbour(decoder, kind, name):
    text, note = UNREADABLE[kind]
    readings, rejects = one_by_one(decoder, GOOD[:-1] + f',"{name}":{text},"o3":0.03}}'.encode())
    assert rejects == []
    values = dict(zip(AIR.values, rows_of(readings)[0][4], strict=True))
    assert values == {**dict.fromkeys(AIR.values), "pm10": 41.0, "o3": 0.03}
    assert notes_of(readings) == [(f"{name}: {note}", 1, 0)]


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_reading_with_something_unreadable_and_nothing_readable_is_refused(decoder, kind):
    readings, rejects = one_by_one(decoder, with_pm10(UNREADABLE[kind][0].encode()))
    assert len(readings) == 0
    assert [reject.reason for reject in rejects] == ["contract"]
    assert rejects[0].detail.endswith(" - at `$.pm10`")


def test_a_reading_of_nulls_and_sentinels_alone_is_stored(decoder):
    readings, rejects = one_by_one(decoder, with_pm10(b'null,"pm25":"-","o3":-999,"no2":"-999"'))
    assert rejects == []
    assert rows_of(readings)[0][4] == [None] * 8
    assert notes_of(readings) == [('no2: text "-999" read', 0, 1)]


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("name", ["pm25", "temperature"])
def test_a_text_that_is_a_number_is_that_number(decoder, kind, name):
    text, number = READ[kind]
    readings, rejects = one_by_one(decoder, GOOD[:-1] + f',"{name}":{text}}}'.encode())
    assert rejects == []
    value = readings.values[0, AIR.values.index(name)]
    np.testing.assert_array_equal(value, number)
    assert not math.copysign(1, value) < 0 or number < 0
    (text, unreadable, texts), *_ = notes_of(readings)
    assert (unreadable, texts) == (0, 1)
    assert text.startswith(f"{name}: text ")


def test_every_value_that_was_no_plain_number_is_noted(decoder):
    readings, _ = one_by_one(decoder, with_pm10(b'"41","pm25":"","o3":null,"no2":"-","co":[],"status":"8"'))
    assert notes_of(readings) == [
        ('pm10: text "41" read; pm25: "" is no number; co: [] is no number; status: text "8" read', 2, 2)
    ]
    assert readings.status.tolist() == [[8] * 6]


def test_a_status_of_one_value_that_is_none_costs_that_value(decoder):
    message = GOOD[:-1] + b',"o3":0.03,"co":0.4,"status":{"o3":"broken","co":"2","pm10":null,"unknown":"x"}}'
    readings, rejects = one_by_one(decoder, message)
    assert rejects == []
    values = dict(zip(AIR.values, rows_of(readings)[0][4], strict=True))
    assert (values["pm10"], values["o3"], values["co"]) == (41.0, None, 0.4)
    assert readings.status.tolist() == [[0, 0, 0, 0, 2, 0]]
    assert notes_of(readings) == [('o3: its status "broken" is none; co: text "2" read as its status', 1, 1)]


@pytest.mark.parametrize("status", ["1.0", '"1"', '" 1"', '"1.0"'])
def test_a_status_may_be_spelled_as_numbers_are(decoder, status):
    readings, rejects = one_by_one(decoder, with_status(status.encode()))
    assert rejects == []
    assert readings.status.tolist() == [[1] * 6]


NOUGHTS = ["-0", "-0.0", "-0.000", "0e-5", "-0e-5", "-0E+7", "0.0", "0", '"-0"', '"-0.0"', "-1e-400"]


@pytest.mark.parametrize("spelling", NOUGHTS)
def test_minus_nought_is_nought_by_every_way_of_reading(decoder, spelling):
    message = with_pm10(spelling.encode() + b',"temperature":' + spelling.encode())
    readings, _ = one_by_one(decoder, message)
    for name in ("pm10", "temperature"):
        value = readings.values[0, AIR.values.index(name)]
        assert value.tobytes() == np.float64(0.0).tobytes()


def test_good_lines_among_odd_ones_keep_their_place_and_have_no_note(decoder):
    odd = with_pm10(b'"41","pm25":"x"')
    readings, rejects, _ = decoder.lines(0, 5, b"\n".join([GOOD, odd, b"{", GOOD, b""]))
    assert [reject.offset for reject in rejects] == [7]
    assert readings.offset.tolist() == [5, 6, 8]
    assert [note is None for note in notes_of(readings)] == [True, False, True]
    taken = readings.take(np.array([1, 2]))
    assert notes_of(taken) == notes_of(readings)[1:]
    assert notes_of(readings.slice(0, 2)) == notes_of(readings)[:2]


@given(st.text(max_size=30))
def test_a_text_is_read_where_json_has_it_as_a_number(text):
    try:
        number = json.loads(text.strip(" \t\n\r"), parse_constant=lambda _: None)
    except ValueError:
        number = None
    read = read_text("pm10", text)
    if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
        assert (read.number, read.fault) == (number, "")
    else:
        assert math.isnan(read.number)
        assert bool(read.fault) == (text != "-")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_no_value_is_without_a_meaning(value):
    raw = json.dumps(value)
    if "NaN" in raw or "Infinity" in raw:
        return
    read = read_json("pm10", raw.encode())
    if isinstance(value, float):
        assert read == (value, "", "")
    else:
        assert value is None or value == "-" or read.note
    assert len(read.note) < 250
