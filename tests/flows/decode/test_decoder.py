"""One bad message costs only itself, and what the wire tolerates is taken."""

import re

import numpy as np
import pytest

from schemas.measured import AIR
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES
from tests.support.messages import GOOD, MARCH, rows_of, with_pm10, with_status, with_time, with_unknown


def alone(decoder, payload):
    """What a message becomes between two good ones, which must come to no harm, on both paths."""
    readings, rejects, lines = decoder.lines(2, 10, GOOD + b"\n" + payload + b"\n" + GOOD + b"\n")
    assert lines == 3
    by_message, refused = decoder.messages(2, np.arange(10, 13), [GOOD, payload, GOOD])
    assert rows_of(by_message) == rows_of(readings)
    assert refused == rejects
    assert len(readings) + len(rejects) == 3
    good = [row for row in rows_of(readings) if row[3] != 11]
    assert [row[3] for row in good] == [10, 12]
    assert all(
        row == (0, MARCH, 2, koff, [41.0] + [None] * 7, [0] * 6, GOOD) for row, koff in zip(good, (10, 12), strict=True)
    )
    return [row for row in rows_of(readings) if row[3] == 11], rejects


DEEP = b"[" * 100_000 + b"]" * 100_000
TIME_PATH = r"\$\.observed_at"
REFUSED = {
    "no bytes": (b"", "undecodable", "truncated"),
    "blanks": (b" \t ", "undecodable", "truncated"),
    "random bytes": (b"\x8e\x00\xff\x13", "undecodable", "byte 0"),
    "a zero byte before": (b"\0" + GOOD, "undecodable", "byte 0"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "undecodable", "byte 0"),
    "cut off": (GOOD[:-5], "undecodable", "truncated"),
    "a comma too many": (GOOD[:-1] + b",}", "undecodable", "trailing comma"),
    "two objects": (GOOD + GOOD, "undecodable", "trailing characters"),
    "object and garbage": (GOOD + b" x", "undecodable", "trailing characters"),
    "invalid UTF-8 in the name": (GOOD.replace(b'"a"', b'"a\xff"'), "undecodable", "utf-8"),
    "invalid UTF-8 in an unknown field": (with_unknown(b'"\xff"'), "undecodable", "utf-8"),
    "invalid UTF-8 in an unknown key": (GOOD[:-1] + b',"\xff":1}', "undecodable", "utf-8"),
    "half a surrogate pair": (GOOD.replace(b'"a"', b'"\\ud800"'), "undecodable", "surrogate"),
    "deep nesting": (with_unknown(DEEP), "undecodable", "recursion"),
    "NaN": (with_pm10(b"NaN"), "undecodable", "byte"),
    "Infinity": (with_pm10(b"Infinity"), "undecodable", "byte"),
    "a leading zero": (with_pm10(b"041"), "undecodable", "byte"),
    "a plus": (with_pm10(b"+41"), "undecodable", "byte"),
    "only nesting": (DEEP, "contract", "Expected `object`, got `array`"),
    "an array": (b"[" + GOOD + b"]", "contract", "Expected `object`, got `array`"),
    "a number": (b"5", "contract", "Expected `object`, got `int`"),
    "null": (b"null", "contract", "Expected `object`, got `null`"),
    "nothing in it": (b"{}", "contract", "`station_id`"),
    "no time": (b'{"station_id":"a"}', "contract", "`observed_at`"),
    "a name that is a number": (GOOD.replace(b'"a"', b"7"), "contract", r"at `\$\.station_id`"),
    "a value beyond floats": (with_pm10(b"1e999"), "contract", r"out of range - at `\$\.pm10`"),
    "an integer beyond floats": (with_pm10(b"1" + b"0" * 400), "contract", r"out of range - at `\$\.pm10`"),
    "a text for a number": (with_pm10(b'"4l"'), "contract", r"got `str` - at `\$\.pm10`"),
    "an empty text for a number": (with_pm10(b'""'), "contract", r"got `str` - at `\$\.pm10`"),
    "a text beyond floats": (with_pm10(b'"1e999"'), "contract", r"got `str` - at `\$\.pm10`"),
    "an object for a number": (with_pm10(b'{"mean":41}'), "contract", r"got `object` - at `\$\.pm10`"),
    "nothing but nulls and a wrong text": (with_pm10(b'null,"o3":-999,"co":"-","no2":"x"'), "contract", r"`\$\.no2`"),
    "true": (with_pm10(b"true"), "contract", r"got `bool` - at `\$\.pm10`"),
    "a list for a number": (with_pm10(b"[41]"), "contract", r"got `array` - at `\$\.pm10`"),
    "sentinel and a wrong text": (with_pm10(b'"-","o3":"x"'), "contract", r"got `str` - at `\$\.o3`"),
    "a status too large": (with_status(b"256"), "contract", r"at `\$\.status`"),
    "a negative status": (with_status(b"-1"), "contract", r"at `\$\.status`"),
    "half a status": (with_status(b"0.5"), "contract", r"at `\$\.status`"),
    "a text for a status": (with_status(b'"ok"'), "contract", r"at `\$\.status`"),
    "an empty text for a status": (with_status(b'""'), "contract", r"at `\$\.status`"),
    "a list for a status": (with_status(b"[0]"), "contract", r"at `\$\.status`"),
    "a wrong status of one parameter": (with_status(b'{"pm10":"x"}'), "contract", r"at `\$\.status"),
    "a time that is a number": (GOOD.replace(b'"2026-03-01T09:00:00+09:00"', b"1767225600"), "contract", TIME_PATH),
    "a time without an offset": (with_time(b"2026-03-01T09:00:00"), "contract", TIME_PATH),
    "a date": (with_time(b"2026-03-01"), "contract", TIME_PATH),
    "no time at all": (with_time(b""), "contract", TIME_PATH),
    "a thirteenth month": (with_time(b"2026-13-01T09:00:00+09:00"), "contract", TIME_PATH),
    "a long text for a time": (with_time(b"2" * 5000), "contract", TIME_PATH),
    "year 0": (with_time(b"0000-01-01T00:00:00Z"), "contract", TIME_PATH),
    "year 1": (with_time(b"0001-01-01T00:00:00+23:59"), "contract", "1970 to 2099 - at `" + TIME_PATH),
    "year 9999": (with_time(b"9999-12-31T23:59:59.999999-23:59"), "contract", "1970 to 2099 - at `" + TIME_PATH),
    "a second before 1970": (with_time(b"1969-12-31T23:59:59Z"), "contract", "1970 to 2099"),
    "2100": (with_time(b"2100-01-01T00:00:00Z"), "contract", "1970 to 2099"),
    "the name twice": (GOOD[:-1] + b',"station_id":"a"}', "contract", r"twice - at `\$\.station_id`"),
    "a value twice": (GOOD[:-1] + b',"pm10":41.0}', "contract", r"twice - at `\$\.pm10`"),
    "a value, then null": (GOOD[:-1] + b',"pm10":null}', "contract", r"twice - at `\$\.pm10`"),
    "null, then a value": (with_pm10(b'null,"pm10":41.0'), "contract", r"twice - at `\$\.pm10`"),
    "sentinel, then a value": (with_pm10(b'"-","pm10":41.0'), "contract", r"twice - at `\$\.pm10`"),
    "a key twice, once in escapes": (GOOD[:-1] + b',"pm\\u0031\\u0030":41.0}', "contract", r"twice - at `\$\.pm10`"),
    "a status twice": (with_status(b'0,"status":1'), "contract", r"twice - at `\$\.status`"),
    "a parameter's status twice": (with_status(b'{"o3":0,"o3":1}'), "contract", r"twice - at `\$.*o3`"),
    "a way up the folders": (
        GOOD.replace(b'"a"', b'"../../x"'),
        "unknown_station",
        r"'\.\./\.\./x'.* at `\$\.station_id`",
    ),
    "a station nobody knows": (GOOD.replace(b'"a"', b'"A"'), "unknown_station", r"'A' is not in the city file"),
    "an endless name": (GOOD.replace(b'"a"', b'"' + b"x" * 100_000 + b'"'), "unknown_station", r"'x{64}' is not"),
    "an empty name": (GOOD.replace(b'"a"', b'""'), "unknown_station", r"at `\$\.station_id`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_message_costs_only_itself(decoder, name):
    payload, reason, detail = REFUSED[name]
    readings, rejects = alone(decoder, payload)
    assert readings == []
    assert [(r.part, r.offset, r.reason, r.payload) for r in rejects] == [(2, 11, reason, payload[:MAX_KEPT_BYTES])]
    assert re.search(detail, rejects[0].detail), rejects[0].detail


TAKEN = {
    "null": (with_pm10(b"null"), {}),
    "a sentinel": (with_pm10(b"-999"), {}),
    "a sentinel as a float": (with_pm10(b"-9.99e2"), {}),
    "a sentinel as a text": (with_pm10(b'"-"'), {}),
    "several sentinels": (with_pm10(b'"-","pm25":-999,"o3":null,"humidity":"-","co":0.4'), {"co": 0.4}),
    "1e308": (with_pm10(b"1e308"), {"pm10": 1e308}),
    "less than nothing": (with_pm10(b"-0.0"), {"pm10": 0.0}),
    "hardly anything": (with_pm10(b"1e-400"), {"pm10": 0.0}),
    "status 0": (with_status(b"0"), {"pm10": 41.0}),
    "no status": (with_status(b"null"), {"pm10": 41.0}),
    "an empty status": (with_status(b"{}"), {"pm10": 41.0}),
    "status of something unknown": (with_status(b'{"x":9}'), {"pm10": 41.0}),
    "newer firmware": (with_unknown(b'{"build":[1,{"a":null}],"\\u00e9\\"":"\\""}'), {"pm10": 41.0}),
    "a sentinel for the temperature": (GOOD[:-1] + b',"temperature":-999}', {"pm10": 41.0}),
    "a sentinel for the humidity": (GOOD[:-1] + b',"humidity":-999.0}', {"pm10": 41.0}),
    "frost, and no sentinel": (GOOD[:-1] + b',"temperature":-9.99}', {"pm10": 41.0, "temperature": -9.99}),
    "blanks": (b" \t" + GOOD.replace(b",", b" ,\t").replace(b":4", b" : 4") + b" \r", {"pm10": 41.0}),
    "another offset": (with_time(b"2026-02-28T19:00:00-05:00"), {"pm10": 41.0}),
    "zulu": (with_time(b"2026-03-01T00:00:00.000000Z"), {"pm10": 41.0}),
    "a key in escapes": (GOOD.replace(b"pm10", b"pm\\u0031\\u0030"), {"pm10": 41.0}),
    "a name in escapes": (GOOD.replace(b'"a"', b'"\\u0061"'), {"pm10": 41.0}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_wire_tolerates(decoder, name):
    payload, measured = TAKEN[name]
    readings, rejects = alone(decoder, payload)
    assert rejects == []
    assert readings == [(0, MARCH, 2, 11, [measured.get(name) for name in AIR.values], [0] * 6, payload)]


def test_status_is_of_the_instrument_or_of_a_parameter(decoder):
    assert alone(decoder, with_status(b"8"))[0][0][5] == [8] * 6
    assert alone(decoder, with_status(b'{"so2":9,"pm10":255}'))[0][0][5] == [255, 0, 0, 0, 0, 9]


@pytest.mark.parametrize(("size", "reason"), [(MAX_MESSAGE_BYTES, None), (MAX_MESSAGE_BYTES + 1, "too_large")])
def test_a_message_may_have_a_mebibyte(decoder, size, reason):
    payload = with_unknown(b'"' + b"x" * (size - len(with_unknown(b'""'))) + b'"')
    assert len(payload) == size
    readings, rejects = decoder.messages(0, np.arange(2), [payload, GOOD])
    assert [r.reason for r in rejects] == ([reason] if reason else [])
    assert [len(r.payload) for r in rejects] == ([MAX_KEPT_BYTES] if reason else [])
    assert readings.offset.tolist() == ([1] if reason else [0, 1])


def test_nothing_gives_nothing(decoder):
    readings, rejects, lines = decoder.lines(0, 0, b"")
    assert (len(readings), rejects, lines) == (0, [], 0)
    readings, rejects = decoder.messages(0, np.empty(0, np.int64), [])
    assert (len(readings), rejects) == (0, [])


@pytest.mark.parametrize(
    "chunk",
    [GOOD + GOOD + b"\n\n", GOOD[:18] + b"\n" + GOOD[18:] + GOOD + b"\n", GOOD + b"\n" + GOOD + b" " + GOOD + b"\n \n"],
    ids=["two in a line and a blank one", "over two lines and two in one", "two in a line further on"],
)
def test_a_line_holds_one_object(decoder, chunk):
    readings, rejects, count = decoder.lines(0, 0, chunk)
    singly, refused = decoder.messages(0, np.arange(count), chunk.split(b"\n")[:-1])
    assert rows_of(readings) == rows_of(singly)
    assert rejects == refused


def test_deep_nesting_after_a_sentinel_costs_only_itself(decoder):
    readings, rejects = alone(decoder, with_pm10(b'"-","x":' + DEEP))
    assert readings == []
    assert [r.reason for r in rejects] == ["undecodable"]


@pytest.mark.parametrize(
    ("fault", "path"), [(b'"o3":[]', "$.o3"), (b'"status":300', "$.status"), (b'"so2":1e999', "$.so2")]
)
def test_a_sentinel_is_not_blamed_for_another_field(decoder, fault, path):
    _, rejects = alone(decoder, with_pm10(b'"-",' + fault))
    assert [r.reason for r in rejects] == ["contract"]
    assert path in rejects[0].detail


def test_bytes_broken_after_a_sentinel_are_undecodable(decoder):
    _, rejects = alone(decoder, with_pm10(b'"-",x'))
    assert [r.reason for r in rejects] == ["undecodable"]
