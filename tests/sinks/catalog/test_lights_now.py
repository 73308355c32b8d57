"""The view ``lights_now`` says of every state and every clock what a light shows, by the rules of ``display``."""

from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import display
from schemas.light import COLORS, MAX_TEXT, SEQ_END, check_state
from schemas.tables import TABLES
from sinks.catalog import catalog
from sinks.catalog.relations import LIGHTS, columns_of, light_limits, rows_of

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CITY = ["light-1", "light-2", "light-3"]
COLUMNS = columns_of(TABLES["light_states"].schema)
[SQL] = [view.sql for view in catalog.views() if view.name == "lights_now"]


@pytest.fixture(scope="module")
def con():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE TABLE light_states ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
    return con


def shown_by_sql(con, states, clock):
    """What the view shows of each light, and all that it says, at a clock instead of now."""
    con.execute("DELETE FROM light_states")
    for state in states:
        marks = ", ".join("?" * len(state))
        con.execute(f"INSERT INTO light_states ({', '.join(state)}) VALUES ({marks})", [*state.values()])
    lights = rows_of(LIGHTS, [[name, f"at {name}", 35.2, 128.9, [], False] for name in CITY])
    sql = SQL.format(lights=lights, **light_limits()).replace("now()", "$clock")
    rows = con.execute(sql, {"clock": clock}).fetchall()
    names = [column[0] for column in con.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def shown_by_light(states, light, clock):
    """The same by a light that was handed the states, in any order; and its newest."""
    newest = None
    for state in states:
        try:
            newest = display.take(light, newest, check_state(dict(state)))
        except ValueError:
            continue
    return newest, display.show(newest, clock)


def row(**changes):
    return {
        "light_id": "light-1",
        "seq": 1,
        "color": "green",
        "grade": 2,
        "parameter": "pm25",
        "pm10": 41.0,
        "pm25": 22.0,
        "as_of": NOON,
        "valid_until": NOON + 15 * MINUTE,
        "stations": ["a"],
        "coverage": 1.0,
        "reason": "why",
        "text": "산불 조심",
        "o3": 0.031,
        "temperature": None,
        "humidity": 61.0,
    } | changes


def gray_row(**changes):
    none = dict.fromkeys(("grade", "parameter", "pm10", "pm25", "coverage", "o3", "humidity"))
    return row(color="gray", stations=[], **none) | changes


@st.composite
def told(draw):
    """States as a lake may hold them: whole ones, and some with one field wrong."""
    grade = draw(st.integers(0, 4))
    state = row(color=COLORS[grade], grade=grade) if grade else gray_row()
    as_of = NOON + draw(st.integers(-200, 30)) * MINUTE
    state |= {
        "light_id": draw(st.sampled_from([*CITY[:2], "light-9"])),
        "seq": draw(st.integers(0, 8)),
        "as_of": as_of,
        "valid_until": as_of + draw(st.sampled_from([1, 15, 120, 180])) * MINUTE,
        "text": draw(st.sampled_from([None, "", "산불 조심", "가" * MAX_TEXT])),
    }
    wrong = [
        {"color": "purple"},
        {"color": "blue"},
        {"color": "gray"},
        {"grade": None},
        {"grade": 5},
        {"grade": 0},
        {"parameter": "o3"},
        {"parameter": None},
        {"pm10": 3.0},
        {"pm10": None},
        {"o3": 0.03},
        {"o3": None},
        {"seq": SEQ_END},
        {"seq": SEQ_END - 1},
        {"seq": -1},
        {"valid_until": as_of},
        {"valid_until": as_of + 181 * MINUTE},
        {"as_of": None},
        {"stations": None},
        {"stations": [""]},
        {"coverage": 1.1},
        {"coverage": None},
        {"reason": None},
        {"text": "가" * (MAX_TEXT + 1)},
    ]
    return state | draw(st.sampled_from([{}] * 30 + wrong)) | draw(st.sampled_from([{}] * 9 + wrong[:1]))


STATES = st.lists(told(), max_size=8, unique_by=lambda state: (state["light_id"], state["seq"]))
CLOCKS = st.integers(-60, 240).map(lambda n: NOON + n * MINUTE)


@given(STATES, CLOCKS)
@settings(max_examples=150, deadline=None)
def test_the_view_is_what_a_light_shows(con, states, clock):
    found = shown_by_sql(con, states, clock)
    assert {*CITY} <= {*found} <= {*CITY, "light-9"}, "a row for every light of the city file"
    for light, view in found.items():
        newest, shown = shown_by_light(states, light, clock)
        assert {name: view[name] for name in display.Shown._fields} == shown._asdict()
        of = newest if shown.why == "told" else None
        assert (view["grade"], view["parameter"]) == ((of.grade, of.parameter) if of else (None, None))
        assert view["told_seq"] == (newest.seq if newest else None)
        if newest and shown.why != "color":
            assert {name: view[f"told_{name}"] for name in ("color", "pm25", "text", "valid_until")} == {
                name: getattr(newest, name) for name in ("color", "pm25", "text", "valid_until")
            }


@pytest.mark.parametrize(
    ("clock", "why"),
    [(NOON, "told"), (NOON + 15 * MINUTE, "over"), (NOON - 6 * MINUTE, "clock"), (NOON - 5 * MINUTE, "told")],
)
def test_a_light_that_grays_itself_has_no_number_and_says_what_it_was_told(con, clock, why):
    view = shown_by_sql(con, [row()], clock)["light-1"]
    names = ("color", "face", "grade", "parameter", "pm10", "pm25", "o3", "humidity", "text")
    shown = {name: view[name] for name in names}
    if why == "told":
        assert shown == {**{name: row()[name] for name in shown if name != "face"}, "face": "calm"}
    else:
        assert shown == {**dict.fromkeys(shown), "color": "gray"}
    assert (view["why"], view["told_color"], view["told_pm25"], view["told_text"]) == (why, "green", 22.0, "산불 조심")


def test_every_light_of_the_city_has_a_row_and_its_name(con):
    found = shown_by_sql(con, [row(light_id="light-2")], NOON)
    assert {light: (view["name"], view["why"]) for light, view in found.items()} == {
        "light-1": ("at light-1", "nothing yet"),
        "light-2": ("at light-2", "told"),
        "light-3": ("at light-3", "nothing yet"),
    }


def test_the_view_of_a_real_lake(lake):
    now = datetime.now(UTC).replace(microsecond=0)
    state = row(as_of=now - MINUTE, valid_until=now + 10 * MINUTE)
    lake.epoch(light_states=[state, state | {"light_id": "light-7"}])
    with catalog.connect(lake.root) as con:
        rows = con.execute("SELECT light_id, color, told_color FROM lights_now ORDER BY light_id").fetchall()
    assert rows == [("light-1", "green", "green"), ("light-7", "green", "green")]
