"""Plain lines against the decoder that reads message by message: the same bits, or left to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.decode.fast_path import Scanner
from schemas.measured import AIR
from tests.support.messages import GOOD, rows_of, with_pm10, with_status, with_time

PLAIN = {
    "a reading": GOOD,
    "zulu": with_time(b"2026-03-01T00:00:00Z"),
    "microseconds": with_time(b"2026-03-01T00:00:00.123456Z"),
    "half a second": with_time(b"2026-03-01T00:00:00.5+09:00"),
    "behind UTC": with_time(b"2026-02-28T19:00:00-05:30"),
    "a leap day": with_time(b"2028-02-29T23:59:59+09:00"),
    "the first day": with_time(b"1970-01-01T00:00:00Z"),
    "the last day": with_time(b"2099-12-31T23:59:59Z"),
    "a whole number": with_pm10(b"41"),
    "below zero": with_pm10(b"-0.25"),
    "minus zero": with_pm10(b"-0.0"),
    "minus nothing": with_pm10(b"-0"),
    "fifteen digits": with_pm10(b"0.12345678901234"),
    "nothing measured": with_pm10(b"null"),
    "a sentinel": with_pm10(b"-999"),
    "a status": with_status(b"255"),
    "no status": with_status(b"null"),
    "spaces": b' {\t"station_id" : "a" , "observed_at":"2026-03-01T09:00:00+09:00"}\r',
    "another order": b'{"so2":0.003,"observed_at":"2026-03-01T09:00:00+09:00","o3":0.03,"station_id":"b"}',
}
LEFT = {
    "an exponent": with_pm10(b"4e1"),
    "sixteen digits": with_pm10(b"0.123456789012345"),
    "a leading zero": with_pm10(b"041"),
    "no digit before the point": with_pm10(b".5"),
    "no digit after the point": with_pm10(b"5."),
    "a sign alone": with_pm10(b"-"),
    "a plus": with_pm10(b"+5"),
    "not a number": with_pm10(b"NaN"),
    "nearly null": with_pm10(b"nul"),
    "a text": with_pm10(b'"41"'),
    "a list": with_pm10(b"[41]"),
    "a status with a point": with_status(b"1.0"),
    "a status too large": with_status(b"256"),
    "a status below zero": with_status(b"-1"),
    "a status by pollutant": with_status(b'{"pm10":1}'),
    "an empty time": with_time(b""),
    "an hour too many": with_time(b"2026-03-01T24:00:00Z"),
    "a minute too many": with_time(b"2026-03-01T00:60:00Z"),
    "a second too many": with_time(b"2026-03-01T00:00:60Z"),
    "a month too many": with_time(b"2026-13-01T00:00:00Z"),
    "no month": with_time(b"2026-00-01T00:00:00Z"),
    "a day too many": with_time(b"2026-04-31T00:00:00Z"),
    "no leap day": with_time(b"2026-02-29T00:00:00Z"),
    "no day": with_time(b"2026-03-00T00:00:00Z"),
    "an offset too large": with_time(b"2026-03-01T00:00:00+24:00"),
    "an offset without its colon": with_time(b"2026-03-01T00:00:00+0900"),
    "no offset": with_time(b"2026-03-01T00:00:00.000"),
    "nanoseconds": with_time(b"2026-03-01T00:00:00.1234567Z"),
    "a point alone": with_time(b"2026-03-01T00:00:00.Z"),
    "small letters": with_time(b"2026-03-01t00:00:00z"),
    "more behind the time": with_time(b"2026-03-01T00:00:00Zz"),
    "before 1970": with_time(b"1969-12-31T23:59:59Z"),
    "after 2099": with_time(b"2100-01-01T00:00:00Z"),
    "letters for digits": with_time(b"2026-0x-01T00:00:00Z"),
    "a longer name": GOOD.replace(b'"a"', b'"aa"'),
    "an empty name": GOOD.replace(b'"a"', b'""'),
    "an escape": GOOD.replace(b'"a"', b'"\\u0061"'),
    "an unknown field": GOOD[:-1] + b',"firmware":1}',
    "a field's beginning": GOOD.replace(b"pm10", b"pm1"),
    "a field twice": GOOD[:-1] + b',"pm10":41.0}',
    "no station": b'{"observed_at":"2026-03-01T09:00:00+09:00"}',
    "no time": b'{"station_id":"a"}',
    "no comma": GOOD.replace(b',"pm10"', b' "pm10"'),
    "no colon": GOOD.replace(b'"pm10":', b'"pm10" '),
    "a comma too many": GOOD[:-1] + b",}",
    "two objects": GOOD + GOOD,
    "more behind it": GOOD + b"x",
    "no end": GOOD[:-1],
    "an empty object": b"{}",
    "nothing": b"",
}


def scan(line):
    return Scanner(["a", "b", "c"], AIR).read(line + b"\n", 1)


@pytest.mark.parametrize("line", PLAIN.values(), ids=PLAIN)
def test_plain_lines_are_read_as_they_are_one_by_one(decoder, line):
    assert scan(line).plain.all()
    readings, none, _ = decoder.lines(0, 0, line + b"\n")
    slowly, none_either = decoder.messages(0, np.arange(1), [line])
    assert none == none_either == []
    assert rows_of(readings) == rows_of(slowly)
    assert np.signbit(readings.values).tolist() == np.signbit(slowly.values).tolist()


@pytest.mark.parametrize("line", LEFT.values(), ids=LEFT)
def test_whatever_else_is_left_to_the_one_that_reads_one_by_one(decoder, line):
    found = scan(line)
    assert not found.plain.any()
    assert (found.begin.tolist(), found.end.tolist()) == ([0], [len(line)])
    fast, slow = decoder.lines(0, 0, line + b"\n"), decoder.messages(0, np.arange(1), [line])
    assert rows_of(fast[0]) == rows_of(slow[0])
    assert fast[1] == slow[1]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_lines_changed_anywhere_are_what_they_are_one_by_one(decoder, data):
    lines = []
    for line in data.draw(st.lists(st.sampled_from([*PLAIN.values(), *LEFT.values()]), min_size=1, max_size=5)):
        changed = bytearray(line)
        for _ in range(data.draw(st.integers(0, 2))):
            at = data.draw(st.integers(0, len(changed)))
            changed[at : at + data.draw(st.integers(0, 2))] = data.draw(
                st.sampled_from(b'019-+.,:"{}\\ eZT\xff\x00').map(lambda one: bytes([one]))
            )
        lines.append(bytes(changed))
    readings, rejects, count = decoder.lines(0, 0, b"".join(line + b"\n" for line in lines))
    slowly, refused = decoder.messages(0, np.arange(len(lines)), lines)
    assert count == len(lines)
    assert rows_of(readings) == rows_of(slowly)
    assert rejects == refused


@given(
    st.lists(st.text("abcdef-0123456789", min_size=1, max_size=40), min_size=1, max_size=300, unique=True), st.data()
)
@settings(max_examples=50, deadline=None)
def test_each_name_is_found_and_no_other(names, data):
    known = names[: data.draw(st.integers(0, len(names)))]
    lines = [b'{"station_id":"%b","observed_at":"2026-03-01T00:00:00Z"}' % name.encode() for name in names]
    found = Scanner(known, AIR).read(b"".join(line + b"\n" for line in lines), len(lines))
    assert found.plain.tolist() == [i < len(known) for i in range(len(names))]
    assert found.station[found.plain].tolist() == list(range(len(known)))
