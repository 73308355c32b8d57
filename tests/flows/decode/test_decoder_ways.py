"""Every way in gives the same columns: line by line, many at once, one by one, and typed."""

import json
from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import air
from flows.decode import timestamps as times
from flows.decode.batch import InMemory
from flows.decode.decoder import Columns
from schemas.measured import AIR
from tests.support.messages import GOOD, MARCH, MICROSECOND, rows_of, with_time

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
            "-0",
            "-0e-5",
            '"-0.0"',
            '"34.2"',
            '"-999"',
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
    st.dictionaries(st.sampled_from([*AIR.gridded, "humidity", "x"]), st.integers(0, 255), max_size=3).map(json.dumps),
)


@st.composite
def texts(draw):
    """A message that the wire tolerates, in any order of fields, with blanks anywhere."""
    fields = [("station_id", json.dumps(draw(st.sampled_from("abc")))), ("observed_at", json.dumps(draw(TIMES)))]
    measured = draw(st.lists(st.sampled_from(AIR.values), unique=True, max_size=8))
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
    values = [whole.get(name) for name in AIR.values]
    values = [None if v is None or v == "-" else float(v) + 0.0 for v in values]
    values = [None if v == -999 else v for v in values]
    status = whole.get("status") or 0
    status = [status.get(name, 0) for name in AIR.gridded] if isinstance(status, dict) else [status] * 6
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
    assert [reject.offset for reject in rejects] == [100 + at]
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
    assert singly.values.tobytes("F") == clean.values.tobytes("F"), "to the last bit, and to the sign of nought"
    typed, none = decoder.columns(1, np.arange(100, 100 + len(payloads)), columns, InMemory(payloads))
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
    readings, rejects = decoder.columns(0, np.arange(6), columns, InMemory([b"%d" % i for i in range(6)]))
    assert readings.offset.tolist() == [0]
    assert np.isnan(readings.values[:, :6]).all()
    assert [(r.offset, r.reason, r.payload) for r in rejects] == [
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
    assert sorted([*readings.offset.tolist(), *(r.offset for r in rejects)]) == list(range(first, first + count))
    assert (np.diff(readings.offset) > 0).all()
    assert [r.offset for r in rejects] == sorted(r.offset for r in rejects)
    assert [r.payload for r in rejects] == [cut[r.offset - first] for r in rejects]
    assert readings.payloads.take(range(len(readings))) == [cut[koff - first] for koff in readings.offset]


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
                *draw(st.lists(st.sampled_from([*AIR.values, "status"]), unique=True, max_size=4)),
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
        values |= {name: draw(PLAIN | NUMBERS) for name in fields if name in AIR.values}
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
    decoder = air.decoder(make_city())
    whole = [with_time(rfc3339(i).encode()) for i in range(200)]
    for begin in range(0, 200, 40):
        chunk = b"".join(line + b"\n" for line in whole[begin : begin + 40])
        readings, _, _ = decoder.lines(0, begin, chunk)
        assert readings.observed.tolist() == [i * 1_000_000 for i in range(begin, begin + 40)]
        singly, _ = decoder.messages(0, np.arange(40), chunk.split(b"\n")[:-1])
        assert singly.observed.tolist() == readings.observed.tolist()
        assert len(decoder._times) <= 50
