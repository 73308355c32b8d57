"""Alerts: the worked examples and recorded facts to the hour, and the laws of the machine."""

from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.alerts import STAGES, figures, published, start, step
from schemas.alert import Stage
from schemas.slots import NEVER
from tests.support.alert_hours import EXACT, NAN, RULES, column, evaluate, hours, slots, stages


@pytest.mark.parametrize(
    ("parameter", "values", "expected"),
    [
        # the worked examples
        ("pm25", [80, 90, 40, 34], "non adv adv non"),
        ("pm10", [310, 320, 140, 99], "non war adv non"),
        ("o3", [0.119, 0.120, 0.301, 0.20, 0.119], "non adv war adv non"),
        # Changwon, Gimhae and Yangsan on 2018-11-28: an advisory after two consecutive hours above 150
        ("pm10", [140, 199, 337], "non non adv"),
        # Gimhae on 2023-04-21: an advisory at 18:00 with the hour at 305, no warning
        ("pm10", [120, 199, 305], "non non adv"),
        ("pm10", [199, 305, 250], "non adv adv"),
        ("pm10", [199, 305, 305], "non adv war"),
        # levels themselves: at or above begins, below ends
        ("pm10", [150, 150, 100, 99], "non adv adv non"),
        ("pm10", [149, 150, 149, 150], "non non non non"),
        ("pm10", [300, 300, 150, 149, 100, 99], "non war war adv adv non"),
        ("pm10", [299, 300, 299, 300], "non adv adv adv"),
        ("pm25", [75, 75, 35, 34], "non adv adv non"),
        ("pm25", [74, 75, 74, 75], "non non non non"),
        ("pm25", [150, 150, 75, 74, 35, 34], "non war war adv adv non"),
        ("pm25", [149, 150, 149, 150], "non adv adv adv"),
        ("o3", [0.12, 0.119], "adv non"),
        ("o3", [0.299, 0.3, 0.499, 0.5], "adv war war ser"),
        ("o3", [0.5, 0.499, 0.3, 0.299, 0.12, 0.119], "ser war war adv adv non"),
        # one stage down an hour, however clean the air
        ("o3", [0.5, 0.01, 0.01, 0.01, 0.01], "ser war adv non non"),
        ("pm10", [310, 320, 20, 20, 20], "non war adv non non"),
        # up again from a step on the way down
        ("pm10", [310, 320, 140, 310, 310], "non war adv adv war"),
        ("pm10", [160, 160, 90, 160, 160], "non adv non non adv"),
        # an hour without a mean breaks the row, and ends nothing
        ("pm10", [160, NAN, 160, 160], "non non non adv"),
        ("pm10", [160, 160, NAN, NAN, 99], "non adv adv adv non"),
        ("pm10", [310, NAN, 310, 310, NAN], "non non non war war"),
        ("o3", [0.13, NAN, 0.119], "adv adv non"),
        ("o3", [NAN, NAN], "non non"),
    ],
)
def test_stages_hour_by_hour(parameter, values, expected):
    assert stages(parameter, values) == expected


@pytest.mark.parametrize(
    ("parameter", "values", "as_published", "exactly"),
    [
        ("pm10", [149.5, 149.5], "non adv", "non non"),
        ("pm10", [149.4, 149.4], "non non", "non non"),
        ("pm10", [150, 150, 99.5], "non adv adv", "non adv non"),
        ("pm25", [74.5, 74.5], "non adv", "non non"),
        ("o3", [0.1195], "adv", "non"),
        ("o3", [0.1194], "non", "non"),
    ],
)
def test_levels_are_compared_with_the_figure_as_published_unless_told_otherwise(
    parameter, values, as_published, exactly
):
    assert stages(parameter, values) == as_published
    assert stages(parameter, values, EXACT[parameter]) == exactly


def test_stages_are_those_of_the_contract():
    assert get_args(Stage) == STAGES
    assert start(RULES["o3"]) == {"ended": NEVER, "stage": 0, "runs": [0, 0, 0], "started": NEVER}


def test_halves_are_rounded_up_to_the_published_digits():
    assert published(np.array([0.5, 1.5, 2.5, 149.49, -0.5, NAN]), 0).tolist()[:5] == [1, 2, 3, 149, 0]
    thousandths = np.arange(1, 1200, 2) / 2000  # 0.0005, 0.0015 … of which some are a little less as floats
    np.testing.assert_array_equal(published(thousandths, 3), np.arange(1, 601) / 1000)
    np.testing.assert_array_equal(published(thousandths - 1e-6, 3), np.arange(600) / 1000)


def test_pm_is_the_mean_of_the_stations_that_have_the_hour():
    values = np.array([[100, 200, NAN], [100, 200, 300], [NAN, NAN, 7], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(figures(RULES["pm10"], values), [150, 200, 7, NAN])
    np.testing.assert_array_equal(figures(EXACT["pm25"], np.array([[1.0, 2.0, 2.0]])), [5 / 3])
    _, [change] = evaluate(RULES["pm10"], start(RULES["pm10"]), slots(2), values[:2])
    assert change == (60, "advisory", 200.0, [0, 1, 2], 60)
    assert evaluate(RULES["pm10"], start(RULES["pm10"]), slots(2), values[[1, 0]])[1][0].stations == [0, 1]


def test_ozone_is_the_highest_station_and_names_those_that_raised_it():
    values = np.array([[0.05, NAN, 0.1], [0.1195, 0.13, 0.119], [0.31, 0.12, NAN], [0.1, NAN, 0.119], [NAN] * 3])
    np.testing.assert_array_equal(figures(RULES["o3"], values), [0.1, 0.13, 0.31, 0.119, NAN])
    state, changes = evaluate(RULES["o3"], start(RULES["o3"]), slots(5), values)
    assert changes == [
        (60, "advisory", 0.13, [0, 1], 60),
        (120, "warning", 0.31, [0], 60),
        (180, "advisory", 0.119, [0, 2], 60),
    ]
    assert state == {"ended": 240, "stage": 1, "runs": [0, 0, 0], "started": 60}
    assert evaluate(EXACT["o3"], start(RULES["o3"]), slots(1), values[1:2])[1][0].stations == [1]


def test_no_station_at_all_is_no_figure():
    for rule in RULES.values():
        assert np.isnan(figures(rule, np.empty((2, 0)))).all()
        assert figures(rule, np.empty((0, 3))).shape == (0,)


def test_hours_left_out_are_hours_without_a_mean():
    rule = RULES["pm10"]
    late = np.array([0, 120, 180])
    state, changes = evaluate(rule, start(rule), late, column([160, 160, 160]))
    assert [change.ended for change in changes] == [180]
    assert state["runs"] == [2, 0]


def test_an_hour_is_judged_once():
    rule = RULES["pm10"]
    issued, _ = evaluate(rule, start(rule), slots(2), column([160, 160]))
    for again in (np.array([0]), np.array([60]), np.array([0, 60])):
        assert evaluate(rule, issued, again, column([5] * again.size)) == (issued, [])


@given(hours(), st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_range_is_its_hours_however_it_is_cut_and_kept(air, cuts):
    parameter, values = air
    rule = RULES[parameter]
    whole = evaluate(rule, start(rule), slots(len(values)), values)
    state, changes = start(rule), []
    for part in np.split(np.arange(len(values)), sorted(min(cut, len(values)) for cut in cuts)):
        state = msgspec.json.decode(msgspec.json.encode(state))  # plain data, as a snapshot keeps it
        state, found = evaluate(rule, state, slots(len(values))[part], values[part])
        changes += found
    assert (state, changes) == whole


@given(hours(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_stations_does_not_matter(air, random):
    parameter, values = air
    order = list(range(values.shape[1]))
    random.shuffle(order)
    np.testing.assert_array_equal(figures(EXACT[parameter], values[:, order]), figures(EXACT[parameter], values))
    rule = RULES[parameter]
    as_it_was = evaluate(rule, start(rule), slots(len(values)), values)[1]
    shuffled = evaluate(rule, start(rule), slots(len(values)), values[:, order])[1]
    assert [c._replace(stations=sorted(order[i] for i in c.stations)) for c in shuffled] == as_it_was


@given(hours())
@settings(max_examples=200, deadline=None)
def test_every_change_can_be_read_off_its_hours(air):
    """Against the table as a person reads it: a stage is reached where its hours say so, and left below its level."""
    parameter, values = air
    rule = RULES[parameter]
    figure = figures(rule, values)
    _, changes = evaluate(rule, start(rule), slots(len(values)), values)
    stage, at = 0, {change.ended // 60: change for change in changes}
    for hour in range(len(values)):
        last = figure[max(0, hour + 1 - rule.hours) : hour + 1]
        reached = max(
            (i + 1 for i, level in enumerate(rule.issue) if len(last) == rule.hours and (last >= level).all()),
            default=0,
        )
        expected = max(stage, reached)
        if reached <= stage and stage and figure[hour] < rule.clear[stage - 1]:
            expected = stage - 1
        assert (hour in at) == (expected != stage)
        if hour in at:
            assert STAGES.index(at[hour].stage) == expected
            assert at[hour].value == figure[hour]
            assert at[hour].stations
        stage = expected


def test_nothing_is_written_to():
    rule = RULES["pm10"]
    values = column([160, 160, 90])
    values.flags.writeable = False
    state = start(rule)
    before = msgspec.json.encode(state)
    evaluate(rule, state, slots(3), values)
    step(rule, state, 0, 200.0)
    assert msgspec.json.encode(state) == before
