"""A board of lights: what each shows by its newest state and its clock. (Every rule: ``tests/flows/cli/test_lights_follow.py``)"""

import contextlib
import logging
from datetime import timedelta

import pytest

from sinks.lights.board import Board, changed_views, follow, to_next_second
from tests.support.lights import MINUTE, NOON, UNLIT_CITY, state


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 1)])
def test_a_lower_or_equal_seq_changes_nothing(order):
    board = Board(UNLIT_CITY)
    for seq in order:
        board.update([state(seq, seq, 0)])
    board.update([state(3, 1, 5)])
    [view] = board.views(NOON + MINUTE)
    assert (view.seq, view.color) == (3, "yellow")


def test_a_clock_before_the_air_is_not_trusted():
    board = Board(UNLIT_CITY)
    board.update([state(1, 2, 0)])
    clocks = (NOON - 5 * MINUTE, NOON - 5 * MINUTE - timedelta(seconds=1))
    assert [board.views(clock)[0].why for clock in clocks] == ["told", "clock"]


def test_one_light_alone():
    board = Board(UNLIT_CITY, "light-2")
    board.update([state(1, 2, 0), state(1, 3, 0, light="light-2")])
    assert board.light_ids == ["light-1", "light-2"]
    assert [(view.light_id, view.color) for view in board.views(NOON)] == [("light-2", "yellow")]


def test_only_what_is_shown_counts_as_a_change():
    board = Board(UNLIT_CITY)
    board.update([state(1, 2, 0), state(1, 2, 0, light="light-2")])
    before = board.views(NOON)
    assert changed_views([], before) == before
    board.update([state(2, 2, 5, reason="a heartbeat")])
    assert changed_views(before, board.views(NOON + 6 * MINUTE)) == []
    board.update([state(3, 2, 6, text="words")])
    assert [view.light_id for view in changed_views(before, board.views(NOON + 6 * MINUTE))] == ["light-1"]
    [gray] = changed_views(before, board.views(NOON + 15 * MINUTE))[1:]
    assert (gray.light_id, gray.why) == ("light-2", "over"), "its own clock changes it, with no state"


class Source:
    """In the place of a topic: each poll takes the next states, and what troubles it."""

    def __init__(self, *polls):
        self.city, self.trouble, self._polls = UNLIT_CITY, "", iter(polls)

    def poll(self, seconds):
        assert 0 < seconds <= 1.001, "the clock is asked at least once a second"
        states, self.trouble = next(self._polls, ([], None))
        if self.trouble is None:
            raise KeyboardInterrupt
        return states


def test_trouble_is_logged_once_until_it_is_over(caplog):
    polls = [([], "away"), ([state(1, 2, 0)], "away"), ([], ""), ([], "refused"), ([state(2, 3, 0)], "refused")]
    changes = []
    with caplog.at_level(logging.WARNING, "cityair"), contextlib.suppress(KeyboardInterrupt):
        for [view] in follow(Source(*polls), Board(UNLIT_CITY), [], lambda: NOON):
            changes.append(view.color)
    assert changes == ["green", "yellow"]
    assert caplog.messages == ["nothing can come: away", "nothing can come: refused"]


def test_the_next_second_is_soon():
    assert 0.001 < to_next_second() <= 1.001
