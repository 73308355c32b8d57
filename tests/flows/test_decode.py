"""One bad message costs only itself, and every way in gives the same columns."""

import json
import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import decode as decode_module
from flows import times
from flows.arrivals import Texts
from flows.decode import Columns, Decoder
from schemas.reading import PARAMETERS, VALUES
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES

GOOD = b'{"station_id":"a","observed_at":"2026-03-01T09:00:00+09:00","pm10":41.0}'
MICROSECOND = timedelta(microseconds=1)
MARCH = (datetime(2026, 3, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


@pytest.fixture(scope="module", autouse=True)
def _by_layout():
    """Two lines are enough to be read by their layout, all at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_module, "FEW", 2)
        patch.setattr(decode_module, "LEFT", 2)
        yield


@pytest.fixture(scope="module")
def decoder(make_city):
    return Decoder(make_city())


def with_pm10(text):
    return GOOD.replace(b"41.0", text)


def with_time(text):
    return GOOD.replace(b"2026-03-01T09:00:00+09:00", text)


def with_status(text):
    return GOOD[:-1] + b',"status":' + text + b"}"


def with_unknown(text):
    return GOOD[:-1] + b',"firmware":' + text + b"}"


def rows_of(readings):
    """Rows as plain data, NaN as None, with the bytes each came from."""
    texts = readings.payloads.take(range(len(readings)))
    values = [[None if math.isnan(v) else v for v in row] for row in readings.values.tolist()]
    columns = (readings.station, readings.observed, readings.part, readings.koff)
    return list(zip(*(column.tolist() for column in columns), values, readings.status.tolist(), texts, strict=True))


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
    "a text for a number": (with_pm10(b'"41"'), "contract", r"got `str` - at `\$\.pm10`"),
    "true": (with_pm10(b"true"), "contract", r"got `bool` - at `\$\.pm10`"),
    "a list for a number": (with_pm10(b"[41]"), "contract", r"got `array` - at `\$\.pm10`"),
    "sentinel and a wrong text": (with_pm10(b'"-","o3":"x"'), "contract", r"got `str` - at `\$\.o3`"),
    "a status too large": (with_status(b"256"), "contract", r"at `\$\.status`"),
    "a negative status": (with_status(b"-1"), "contract", r"at `\$\.status`"),
    "half a status": (with_status(b"0.5"), "contract", r"at `\$\.status`"),
    "a text for a status": (with_status(b'"0"'), "contract", r"at `\$\.status`"),
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
    assert [(r.part, r.koff, r.reason, r.payload) for r in rejects] == [(2, 11, reason, payload[:MAX_KEPT_BYTES])]
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
    "a sentinel for the weather is a value": (
        GOOD[:-1] + b',"temperature":-999}',
        {"pm10": 41.0, "temperature": -999.0},
    ),
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
    assert readings == [(0, MARCH, 2, 11, [measured.get(name) for name in VALUES], [0] * 6, payload)]


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
    assert readings.koff.tolist() == ([1] if reason else [0, 1])


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


NUMBERS = st.one_of(
    st.sampled_from(
        [
            "1E2",
            "-0.0",
            "1e-7",
            "41",
            "0",
            "-999",
            "-999.000",
            "1e308",
            "5E-324",
            "0.1e+1",
            "9007199254740993",
            "-1",
            "2.5e-400",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-1000, 1000, places=6).map(str).filter(lambda text: "E" not in text or text[-1] != "E"),
    st.integers(-(10**30), 10**30).map(str),
)
BLANK = st.text(" \t\r", max_size=2)
UNKNOWN = st.sampled_from(['"x"', "[1,2,{}]", "null", '{"y":"\\"z"}', "1e5", "true", '""'])
SPELLINGS = (
    "2026-03-01T09:%02d:00+09:00",
    "2026-03-01T00:%02d:00.000Z",
    "2026-03-01t00:%02d:00z",
    "2026-02-28T19:%02d:00-05:00",
)
TIMES = st.builds(lambda spelling, minute: spelling % minute, st.sampled_from(SPELLINGS), st.integers(0, 59))
STATUS = st.one_of(
    st.just("null"),
    st.integers(0, 255).map(str),
    st.dictionaries(st.sampled_from([*PARAMETERS, "humidity", "x"]), st.integers(0, 255), max_size=3).map(json.dumps),
)


@st.composite
def texts(draw):
    """A message that the wire tolerates, in any order of fields, with blanks anywhere."""
    fields = [("station_id", json.dumps(draw(st.sampled_from("abc")))), ("observed_at", json.dumps(draw(TIMES)))]
    measured = draw(st.lists(st.sampled_from(VALUES), unique=True, max_size=8))
    fields += [(name, draw(NUMBERS | st.sampled_from(["null", '"-"']))) for name in measured]
    fields += [("status", draw(STATUS))] * draw(st.booleans())
    fields += [("firmware", draw(UNKNOWN))] * draw(st.booleans())
    parts = [
        f'{draw(BLANK)}"{key}"{draw(BLANK)}:{draw(BLANK)}{value}{draw(BLANK)}'
        for key, value in draw(st.permutations(fields))
    ]
    return f"{draw(BLANK)}{{{','.join(parts)}}}{draw(BLANK)}".encode()


def expected(text):
    """The same by way of the standard library."""
    whole = json.loads(text)
    at = datetime.fromisoformat(whole["observed_at"].upper().replace("Z", "+00:00"))
    values = [whole.get(name) for name in VALUES]
    values = [
        None if v is None or v == "-" or (v == -999 and name in PARAMETERS) else float(v)
        for name, v in zip(VALUES, values, strict=True)
    ]
    status = whole.get("status") or 0
    status = [status.get(name, 0) for name in PARAMETERS] if isinstance(status, dict) else [status] * 6
    return "abc".index(whole["station_id"]), (at - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND, values, status


@settings(deadline=None, max_examples=60)
@given(
    st.lists(texts(), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from([b"", b"{", b"[]", b"\xff", GOOD + b"," + GOOD]),
)
def test_all_ways_in_give_the_same_columns(decoder, payloads, at, bad):
    at = min(at, len(payloads))
    clean, none, count = decoder.lines(1, 100, b"".join(text + b"\n" for text in payloads))
    assert (none, count) == ([], len(payloads))
    assert [row[:2] + row[4:] for row in rows_of(clean)] == [(*expected(text), text) for text in payloads]
    assert [row[2:4] for row in rows_of(clean)] == [(1, 100 + i) for i in range(len(payloads))]

    lines = [*payloads[:at], bad, *payloads[at:]]
    slow, rejects, _ = decoder.lines(1, 100, b"".join(text + b"\n" for text in lines))
    assert [reject.koff for reject in rejects] == [100 + at]
    moved = [(*row[:3], row[3] + (row[3] >= 100 + at), *row[4:]) for row in rows_of(clean)]
    assert rows_of(slow) == moved

    singly, none = decoder.messages(1, np.arange(100, 100 + len(payloads)), payloads)
    assert none == []
    assert rows_of(singly) == rows_of(clean)

    rows = [expected(text) for text in payloads]
    columns = Columns(
        (("c", "b", "a"), np.array([2 - row[0] for row in rows], np.int32)),
        np.array([row[1] for row in rows]),
        np.asfortranarray([[np.nan if v is None else v for v in row[2]] for row in rows]),
        np.array([row[3] for row in rows], np.uint8),
    )
    typed, none = decoder.columns(1, np.arange(100, 100 + len(payloads)), columns, Texts(payloads))
    assert none == []
    assert rows_of(typed) == rows_of(clean)
    assert all(r.values.flags.f_contiguous for r in (clean, slow, singly, typed))


def test_columns_judge_as_messages_do(decoder):
    no_time = np.iinfo(np.int64).min
    columns = Columns(
        (("a", None, "../x", ""), np.array([0, 1, 2, 0, 0, 3], np.int32)),
        np.array([MARCH, MARCH, MARCH, no_time, 4102444800_000000, MARCH]),
        np.asfortranarray(np.full((6, 8), -999.0)),
        np.zeros((6, 6), np.uint8),
    )
    readings, rejects = decoder.columns(0, np.arange(6), columns, Texts([b"%d" % i for i in range(6)]))
    assert readings.koff.tolist() == [0]
    assert np.isnan(readings.values[:, :6]).all()
    assert [(r.koff, r.reason, r.payload) for r in rejects] == [
        (1, "unknown_station", b"1"),
        (2, "unknown_station", b"2"),
        (3, "contract", b"3"),
        (4, "contract", b"4"),
        (5, "unknown_station", b"5"),
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([GOOD, b"", b"{}", GOOD[:-1], b"[1]"]) | texts(), max_size=12),
    st.integers(0, 10**12),
)
def test_every_line_is_a_reading_or_a_reject(decoder, lines, first):
    chunk = b"".join(line + b"\n" for line in lines)
    readings, rejects, count = decoder.lines(0, first, chunk)
    cut = chunk.split(b"\n")[:-1]
    assert count == len(cut) == len(readings) + len(rejects)
    assert sorted([*readings.koff.tolist(), *(r.koff for r in rejects)]) == list(range(first, first + count))
    assert (np.diff(readings.koff) > 0).all()
    assert [r.koff for r in rejects] == sorted(r.koff for r in rejects)
    assert [r.payload for r in rejects] == [cut[r.koff - first] for r in rejects]
    assert readings.payloads.take(range(len(readings))) == [cut[koff - first] for koff in readings.koff]


PLAIN = st.sampled_from(
    [
        "41.0",
        "0.031",
        "-2.5",
        "0",
        "7",
        "-0.0",
        "12345678",
        "1234567.8",
        "-1234567",
        "0.000001",
        "-999",
        "-999.0",
        "00.5",
        ".5",
        "5.",
        "1.2.3",
        "-",
    ]
)
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 200), st.sampled_from([*b'"\\,:{}[]0123456789.-+eE/ \t\r\0\x01\xff\x80abt', None]), st.booleans()
    ),
    max_size=2,
)


@st.composite
def alike(draw):
    """Lines of one layout, as a device writes them, some with a byte changed, put in or left out."""
    fields = draw(
        st.permutations(
            [
                *draw(st.lists(st.sampled_from([*VALUES, "status"]), unique=True, max_size=4)),
                "station_id",
                "observed_at",
            ]
        )
    )
    comma, colon = draw(st.sampled_from([",", ", "])), draw(st.sampled_from([":", ": "]))
    lines = []
    for _ in range(draw(st.integers(2, 8))):
        values = {
            "station_id": json.dumps(draw(st.sampled_from(["a", "b", "c", "nobody", "a" * 40]))),
            "observed_at": json.dumps(draw(TIMES)),
        }
        values["status"] = draw(st.sampled_from(["0", "1", "255", "256", "-1", "0.0"]))
        values |= {name: draw(PLAIN | NUMBERS) for name in fields if name in VALUES}
        line = bytearray("{" + comma.join(f'"{name}"{colon}{values[name]}' for name in fields) + "}", "utf-8")
        for at, byte, instead in draw(st.just([]) | st.just([]) | MUTATIONS):
            line[at : at + instead] = b"" if byte is None else bytes([byte])
        lines.append(bytes(line))
    return lines


@settings(deadline=None, max_examples=200)
@given(st.lists(alike(), min_size=1, max_size=2), st.randoms(use_true_random=False))
def test_many_lines_at_once_are_what_they_are_one_by_one(decoder, groups, random):
    lines = [line for group in groups for line in group]
    random.shuffle(lines)
    readings, rejects, count = decoder.lines(3, 7, b"".join(line + b"\n" for line in lines))
    singly, refused = decoder.messages(3, np.arange(7, 7 + len(lines)), lines)
    assert count == len(lines)
    assert rows_of(readings) == rows_of(singly)
    assert np.signbit(readings.values).tolist() == np.signbit(singly.values).tolist()
    assert rejects == refused


def test_times_seen_are_forgotten(make_city, rfc3339, monkeypatch):
    monkeypatch.setattr(times, "CACHED_TIMES", 50)
    decoder = Decoder(make_city())
    whole = [with_time(rfc3339(i).encode()) for i in range(200)]
    for begin in range(0, 200, 40):
        chunk = b"".join(line + b"\n" for line in whole[begin : begin + 40])
        readings, _, _ = decoder.lines(0, begin, chunk)
        assert readings.observed.tolist() == [i * 1_000_000 for i in range(begin, begin + 40)]
        singly, _ = decoder.messages(0, np.arange(40), chunk.split(b"\n")[:-1])
        assert singly.observed.tolist() == readings.observed.tolist()
        assert len(decoder._times) <= 50
