"""Ozone's NowCast: EPA's decisions one by one, partial least squares and a finer arithmetic."""

import gzip
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import nowcast_o3 as o3
from flows.kernels.nowcast_o3 import LOOKBACK, nowcast_o3
from tests.flows.kernels.epa_o3 import NA, STEP, air, fine, gappy, plain, pls
from tests.support.recorded import DATA, SEOUL


def newest(hours):
    """NowCast of the newest hour of one station."""
    return float(nowcast_o3(np.atleast_2d(hours), np.shape(hours)[-1] - 1)[0, 0])


@pytest.mark.parametrize("share", [0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_partial_least_squares_with_every_component(share, seed):
    hours = gappy(air(seed=seed), share, seed)
    found = newest(hours)
    assert found == pytest.approx(plain(hours[0].tolist(), parts=96), abs=1e-12, nan_ok=True)
    assert found == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP, nan_ok=True)


def test_the_series_tried_are_regressions_with_and_without_gaps():
    """So that the test above is not one of surrogates, nor of zeros."""
    for share in (0, 0.02, 0.05, 0.1):
        hours = np.concatenate([gappy(air(seed=seed), share, seed) for seed in range(4)])
        found = nowcast_o3(hours, LOOKBACK - 1)
        fitted = (np.abs(found - o3.surrogate_o3(hours, LOOKBACK - 1)) > 1e-9) & (found > 0)
        assert np.count_nonzero(fitted) >= 3


@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.05, 0.1, 0.2]), tail=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_every_way_is_taken_as_epa_takes_it(seed, share, tail):
    hours = gappy(air(seed=seed), share, seed)
    hours[0, LOOKBACK - tail :] = [NA if tail & 1 << i else hours[0, -1] for i in range(tail)]
    assert newest(hours) == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP, nan_ok=True)


@pytest.mark.data(SEOUL)
def test_recorded_air():
    """Three weeks of one station, a few hours skipped: as EPA reckons, and nearer than the surrogate to the mean it is to foretell."""
    with gzip.open(DATA / SEOUL, "rt") as lines:
        fields = [line.split("\t") for line, _ in zip(lines, range(500 * 25), strict=False)]
    hours = np.array([[float(field[5]) for field in fields if field[1] == "106"]])
    hours[hours < 0] = NA
    assert hours.shape[1] > 480
    found = nowcast_o3(hours, LOOKBACK)
    for hour in range(LOOKBACK, hours.shape[1], 31):
        assert found[0, hour - LOOKBACK] == pytest.approx(
            plain(hours[0, : hour + 1].tolist(), pls, parts=96), abs=1e-12
        )
    truth = np.array([[hours[0, hour - 4 : hour + 4].mean() for hour in range(LOOKBACK, hours.shape[1] - 3)]])
    miss = [np.nanmean((cast[:, :-3] - truth) ** 2) for cast in (found, o3.surrogate_o3(hours, LOOKBACK))]
    assert miss[0] < miss[1] / 2


def test_nothing_at_all_has_no_nowcast():
    assert math.isnan(newest(np.full(400, NA)))
    assert nowcast_o3(np.full((0, 400), NA), 390).shape == (0, 10)
    assert nowcast_o3(np.full((2, 400), NA), 400).shape == (2, 0)


@pytest.mark.parametrize(("last", "expected"), [([], 0.0385), ([NA], 0.0385), ([NA, NA], 0.0385), ([NA, NA, NA], NA)])
def test_with_too_few_hours_it_is_the_surrogate_of_the_newest_of_three(last, expected):
    assert newest([0.05] * 20 + [0.04, *last]) == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_it_takes_252_hours():
    hours = air()
    hours[0, 3:-1:4] = NA  # every fourth: each mean still has six of its eight
    assert np.count_nonzero(~np.isnan(hours[0, -336:])) == 252
    assert newest(hours) == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP)
    assert abs(newest(hours) - (0.85 * hours[0, -1] + 0.0045)) > 1e-4
    hours[0, -50] = NA
    assert newest(hours) == 0.85 * hours[0, -1] + 0.0045


@pytest.mark.parametrize("start", [2, 3, 100, 329])
def test_a_gap_of_eight_hours_is_too_long(start):
    hours = air()
    surrogate = 0.85 * hours[0, -1] + 0.0045
    hours[0, start : start + 7] = NA
    assert newest(hours) == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP)
    assert abs(newest(hours) - surrogate) > 1e-4
    hours[0, start : start + 8] = NA
    assert newest(hours) == surrogate


def test_of_a_gap_only_what_lies_in_the_two_weeks_counts():
    hours = air()
    hours[0, -336 - 1 : -336 + 7] = NA
    assert abs(newest(hours) - (0.85 * hours[0, -1] + 0.0045)) > 1e-4


def test_zeros_are_zero_also_while_the_newest_are_missing():
    assert newest(np.zeros(336)) == 0
    assert newest([0.0] * 333 + [NA] * 3) == 0
    assert newest([0.0] * 335 + [0.01]) > 0
    assert newest([0.01] + [0.0] * 336) == 0  # an hour before the two weeks
    assert newest([0.01] + [0.0] * 335) == pytest.approx(0, abs=STEP)
    assert newest([0.0] * 335) == 0  # 335 of 336 are enough
    assert newest([0.0] * 251) == 0.0045  # by the surrogate


def test_zeros_need_not_have_an_hour_of_the_last_three_but_other_air_must():
    hours = np.full((1, 336), 0.04)
    hours[0, 333:] = NA
    assert math.isnan(newest(hours))


@pytest.mark.parametrize("back", [1, 2])
def test_a_missing_hour_takes_the_nowcast_of_one_or_two_hours_ago(back):
    hours = air(seed=5)
    earlier = newest(hours[:, :-back])
    hours[0, -back:] = NA
    assert newest(hours) == earlier == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP)
    assert abs(earlier - newest(air(seed=5))) > 1e-4
    hours[0, -3:] = NA
    assert math.isnan(newest(hours))


def test_the_earlier_nowcast_is_decided_by_its_own_two_weeks():
    hours = air()
    hours[0, :8] = NA  # the newest does not see the first two of these, the hour before that sees but one
    hours[0, 1:-2:12] = NA
    hours[0, -1] = NA
    assert abs(newest(hours) - newest(hours[:, :-1])) == 0
    hours[0, -2] = NA
    assert newest(hours) == 0.85 * hours[0, -3] + 0.0045  # two hours ago all eight were in the two weeks
    assert abs(newest(hours[:, 2:]) - (0.85 * hours[0, -3] + 0.0045)) == 0  # as they are where nothing was recorded


def test_the_hour_asked_decides_before_an_earlier_one_does():
    zeros = [NA] * 8 + [0.0] * 328
    assert newest(zeros) == 0.0045
    assert newest([*zeros, NA]) == 0  # of the eight that were too many it sees seven
    hours = air(337)
    hours[0, 4:-1:4] = NA
    assert abs(newest(hours[:, :-1]) - (0.85 * hours[0, -2] + 0.0045)) > 1e-4  # 253 hours and a regression, an hour ago
    hours[0, [1, -1]] = NA
    assert newest(hours) == 0.85 * hours[0, -2] + 0.0045  # 251 by now


def test_two_hours_before_the_two_weeks_are_needed_and_no_more():
    hours = air()
    hours[0, -2:] = NA
    whole = newest(hours)
    assert newest(np.concatenate([[[0.2]], hours], axis=1)) == whole
    hours[0, 0] += 0.02
    assert newest(hours) != whole


@pytest.mark.parametrize(("gap", "some"), [(4, True), (5, False)])
def test_a_quarter_of_the_rows_may_lack_their_mean(gap, some):
    """A gap of seven takes the mean of ten rows, one of four of seven; the last three rows never have one."""
    hours = air(336)
    for start, length in zip(range(120, 320, 30), [7, 7, 7, 7, 7, gap], strict=False):
        hours[0, start : start + length] = NA
    assert math.isnan(newest(hours)) != some
    if some:
        assert newest(hours) == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP)


def test_the_first_rows_mean_is_of_no_account_before_its_96_hours():
    hours = air(336)
    for start in range(5, 85, 16):  # these lack fifty means, all of hours before the first row
        hours[0, start : start + 7] = NA
    for start, length in zip(range(120, 320, 30), [7, 7, 7, 7, 7, 4], strict=False):
        hours[0, start : start + length] = NA
    assert newest(hours) == pytest.approx(plain(hours[0].tolist(), fine), abs=STEP)


def test_it_is_never_below_zero():
    found = [newest(air(seed=seed) * np.linspace(1, 0, LOOKBACK) ** 2) for seed in range(5, 8)]
    raw = [plain((air(seed=s) * np.linspace(1, 0, LOOKBACK) ** 2)[0].tolist(), fine) for s in range(5, 8)]
    assert found == pytest.approx(raw, abs=STEP)
    assert 0 in found
    assert max(found) > 0


def test_hours_below_zero_count_as_zero():
    hours = air(seed=3)
    hours[0, 100:140:3] = 0
    noisy = hours.copy()
    noisy[0, 100:140:3] = -0.003
    assert newest(noisy) == newest(hours)


def test_a_straight_line_is_continued():
    """The mean of offsets -4 to +3 of a line lies half a step before its middle, though all inputs are one."""
    assert newest(0.02 + 0.0001 * np.arange(336)) == pytest.approx(0.02 + 0.0001 * 334.5, abs=STEP)


@pytest.mark.parametrize("tenths", [0.0, 0.1, 0.3, 0.40001])
def test_what_stands_still_stays(tenths):
    assert newest(np.full(336, tenths)) == pytest.approx(tenths, abs=2e-16)


def test_dependent_inputs_are_partial_least_squares_stopped_at_the_rank():
    day = np.round(30 + 20 * np.sin(np.arange(LOOKBACK + 24) * 2 * np.pi / 24)) / 1000
    hours = day[:LOOKBACK]
    rows = np.lib.stride_tricks.sliding_window_view(hours[-336:], 96)
    rank = np.linalg.matrix_rank(rows - rows.mean(axis=0), rtol=1e-10)
    assert rank < 24
    assert newest(hours) == pytest.approx(plain(hours.tolist(), parts=rank), abs=1e-12)
    assert newest(hours) == pytest.approx(day[LOOKBACK - 5 : LOOKBACK + 3].mean(), abs=1e-12)


def test_nearly_dependent_inputs_are_solved_as_finely():
    """Smooth air with a hair of noise: what the normal matrix just bears, and what is left to singular values."""
    noise = np.random.default_rng(2).normal(0, 1, LOOKBACK)
    for hair in (1e-2, 1e-3, 5e-4, 1e-5, 1e-8):
        hours = 0.03 + 0.02 * np.sin(np.arange(LOOKBACK) / 24 * 2 * np.pi) + hair * 0.02 * noise
        assert newest(hours) == pytest.approx(plain(hours.tolist(), fine), abs=STEP)


CUT = np.concatenate(
    [
        gappy(air(LOOKBACK + 5, seed=1, stations=3), 0.03, 4),
        air(LOOKBACK + 5, seed=2),
        np.round(30 + 20 * np.sin(np.arange(LOOKBACK + 5) * 2 * np.pi / 24))[None] / 1000,
        np.full((1, LOOKBACK + 5), 0.033),
    ]
)
CUT[3, -4:-2] = NA
CUT[4, -2:] = NA
WHOLE = nowcast_o3(CUT, LOOKBACK - 1)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_cut_as_you_like_it_is_the_same_to_the_last_bit(data):
    stations = data.draw(st.lists(st.integers(0, len(CUT) - 1), min_size=1, max_size=3))
    first = data.draw(st.integers(LOOKBACK - 1, CUT.shape[1] - 1))
    end = data.draw(st.integers(first + 1, CUT.shape[1]))
    before = data.draw(st.integers(LOOKBACK - 1, first))
    part = CUT[stations, first - before : end]
    if data.draw(st.booleans()):
        part = np.asfortranarray(part)
    if data.draw(st.booleans()):
        bytes_ = np.empty(part.nbytes + 64, np.uint8)[data.draw(st.sampled_from([8, 24, 40])) :]
        part = np.ndarray(part.shape, float, buffer=bytes_, strides=part.strides) if part.size else part
        part[...] = CUT[stations, first - before : end]
    found = nowcast_o3(part, before)
    expected = WHOLE[stations, first - LOOKBACK + 1 : end - LOOKBACK + 1]
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_what_is_cut_has_every_kind_of_nowcast():
    assert not np.isnan(WHOLE).any()
    assert WHOLE[3, 1] == WHOLE[3, 2] == WHOLE[3, 3]
    assert len(set(WHOLE[0])) == WHOLE.shape[1]
    assert WHOLE[5] == pytest.approx(0.033, abs=1e-16)


def test_the_input_is_left_as_it_was():
    hours = gappy(air(), 0.05)
    copy = hours.copy()
    nowcast_o3(hours, 300)
    np.testing.assert_array_equal(hours, copy)


def test_the_surrogate_is_of_the_newest_of_three_hours():
    hours = np.array([[0.01, NA, NA, NA, 0.02, -0.001]])
    found = o3.surrogate_o3(hours, 0)[0]
    assert found == pytest.approx([0.013, 0.013, 0.013, NA, 0.0215, 0.0045], abs=1e-15, nan_ok=True)
