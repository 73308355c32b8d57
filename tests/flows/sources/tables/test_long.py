"""Rows in long form: several make a reading, and the cut never shows."""

import gzip
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.tables.column_map import parse
from flows.sources.tables.long import JOIN_ROWS, LongReader
from schemas.measured import AIR
from schemas.rejected import MAX_MESSAGE_BYTES

LONG = """
[station]
column = "id"
[time]
column = "time"
format = "unix"
[long]
item = "item"
value = "value"
status = "status"
[values]
pm10 = { item = "1" }
o3 = { item = "2", scale = 0.001 }
temperature = { item = "3" }
"""


def test_long_form_joins_the_rows_of_a_reading(tmp_path, write, read):
    lines = [
        b"id,time,item,value,status",
        b"a,3600,1,41,0",
        b"b,3600,1,42,0",
        b"a,3600,2,30,8",
        b"a,3600,9,not asked for,",
        b"a,3600,1,43,0",  # item 1 again: a message of its own
        b"a,3600,3,warm,0",  # cannot be read: its value is missing in the reading
        b"a,3600,3,21,9",
        b"too,few",  # cannot be read at all: a message of its own
        b"b,7200,1,-999,0",
    ]
    out = read(write(tmp_path / "x.csv", lines), LONG)
    readings = {
        row[1]: (row[2], {n: v for n, v in zip(AIR.values, row[4], strict=True) if v is not None}, row[5])
        for row in out.rows
    }
    assert readings == {
        0: (0, {"pm10": 41, "o3": 0.03}, (0, 0, 8, 0, 0, 0)),
        1: (1, {"pm10": 42}, (0,) * 6),
        2: (0, {"pm10": 43}, (0,) * 6),
        3: (0, {"temperature": 21}, (0,) * 6),
        5: (1, {}, (0,) * 6),
    }
    assert [(x[1], x[3], x[4]) for x in out.rejects] == [
        (4, "Expected 5 columns, got 2", lines[8]),
    ]
    assert out.rows[0][6] == b"\n".join([lines[1], lines[3], lines[6]])


LINE = st.one_of(
    st.builds(
        lambda s, t, i, v: f"{s},{t * 60},{i},{v},0".encode(),
        st.sampled_from("ab"),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sampled_from([1, 2, 3, "x", "NA"]),
    ),
    st.sampled_from([b"", b"junk"]),
)


def by_hand(lines, join_rows):
    """Messages of a long form one row at a time: what the rule says, in the plainest way."""
    messages, open_at, row = [], {}, -1
    for line in lines:
        if not line:
            continue
        row += 1
        if line == b"junk":
            messages.append([line])
            continue
        station, time, item, *_ = line.split(b",")
        if item == b"4":
            continue
        start, message, items = open_at.get((station, time), (-join_rows, None, None))
        if row - start >= join_rows:
            messages.append(message := [line])
            open_at[station, time] = (row, message, {item})
        elif item in items:
            messages.append([line])
        else:
            message.append(line)
            items.add(item)
    return [b"\n".join(message) for message in messages]


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(LINE, max_size=60),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    join_rows=st.sampled_from([1, 2, 5, 17]),
)
def test_no_cut_changes_what_a_long_form_makes(tmp_path_factory, decoder, lines, cuts, join_rows):
    path = tmp_path_factory.mktemp("long") / "x.csv"
    path.write_bytes(b"id,time,item,value,status\n" + b"".join(line + b"\n" for line in lines))
    layout = parse(LONG.encode(), "long.toml").layout("x.csv")
    reader, messages, end = LongReader(path, 0, decoder, layout, join_rows=join_rows), {}, 0
    for rows in cycle(cuts):
        block = reader.read(rows)
        if block is None:
            break
        assert block.first == end
        end = block.end
        texts = block.readings.payloads.take(range(len(block.readings)))
        messages |= dict(zip(block.readings.offset.tolist(), texts, strict=True))
        messages |= {reject.offset: reject.payload for reject in block.rejects}
    assert [messages[offset] for offset in range(end)] == by_hand(lines, join_rows)


@settings(deadline=None, max_examples=30)
@given(
    lines=st.lists(LINE, max_size=60), rows=st.integers(1, 30), cuts=st.lists(st.integers(1, 6), min_size=1, max_size=5)
)
def test_a_resume_makes_the_same_of_a_long_form(tmp_path_factory, read, lines, rows, cuts):
    path = tmp_path_factory.mktemp("long") / "x.csv.gz"
    path.write_bytes(gzip.compress(b"id,time,item,value,status\n" + b"".join(line + b"\n" for line in lines), 1))
    out = read(path, LONG, rows=rows, cuts=cuts)
    texts = dict(sorted([(row[1], row[6]) for row in out.rows] + [(x[1], x[4]) for x in out.rejects]))
    assert list(texts.values()) == by_hand(lines, JOIN_ROWS)


def test_a_line_too_large_is_a_message_of_its_own(tmp_path, write, read):
    lines = [b"id,time,item,value,status", b"a,3600,1,41,0", b"q" * (MAX_MESSAGE_BYTES + 1), b"a,3600,2,30,0"]
    out = read(write(tmp_path / "x.csv", lines), LONG)
    assert [row[6] for row in out.rows] == [b"\n".join([lines[1], lines[3]])]
    assert [x[1:4] for x in out.rejects] == [(1, "too_large", "a line of 1,048,577 bytes, over 1,048,576")]
