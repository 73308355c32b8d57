"""What has fired is evaluated in its order: late data first, in parts, with a lesson after each day."""

import pickle
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.base import Analysis, Fault, Results
from flows.analyses.evaluate import Evaluation
from flows.analyses.ozone_hours import OzoneHours
from flows.zone.days import LearningDays
from flows.zone.progress import Progress
from schemas.quality import Flag
from tests.support.grids import START, P, cadence_of, new_grid, put, view_of
from tests.support.records import REPORT, report

UTC = ZoneInfo("UTC")


class Probe(Analysis):
    """Notes what it is asked, in minutes since the start."""

    name = "probe"

    def __init__(self, calls, *, lookback=60, learns=False):
        self._calls, self.lookback, self.learns = calls, lookback, learns
        self.pages = {"page": b"of the probe"}

    def close(self, view, cadence, first, last, revision):
        self._calls.append(("close", cadence.every, first - START, last - START))
        return Results(faults=[Fault(last, 0, 0, True)])

    def measure(self, view, span):
        return self._held(view, span)

    def revise(self, view, span, before):
        columns, kind = span.columns.tolist(), "records" if span.records else "cells"
        now = self._held(view, span)
        self._calls.append(("revise", kind, span.cadence.every, columns, span.first - START, now - before))
        self.spans = [*getattr(self, "spans", []), span]
        return Results()

    def learn(self, view, day):
        self._calls.append(("learn", day.number - START // 1440))
        return Results()

    def snapshot(self):
        return self.pages

    def restore(self, version, pages, columns):
        self.restored = (version, dict(pages), dict(columns))

    @staticmethod
    def _held(view, span):
        """Values of the span's columns on the grid, and records."""
        values = int(view.grid.layer("counts", span.first, span.first + 30)[:, span.columns].sum())
        return values + len(list(view.records.between(REPORT.topic, START - 5000, START + 5000)))


def staged(*cadences, days=None, evaluate_slots=1440, learns=False, recorded=(REPORT,), filled=200):
    """Progress of a zone whose grid holds a value a minute of its first instrument, and what its probe is asked."""
    calls, grid = [], new_grid(3, ahead=8000)
    put(grid, [(0, minute, {"pm10": 1.0}) for minute in range(1, filled)])
    view = view_of(grid, *cadences, recorded=recorded)
    progress = Progress(view, [Probe(calls, learns=learns)], 60, days, evaluate_slots)
    return progress, calls, view


def late(progress, column, minute):
    quanta, flags = np.zeros((1, P), np.int64), np.full((1, P), Flag.MISSING, np.uint8)
    quanta[0, 0], flags[0, 0] = 5, Flag.GOOD
    progress.late.add(np.array([column], np.int32), np.array([START + minute]), quanta, flags)


def fire(progress, cadence, minute):
    progress.firing += 1
    cadence.fire(START + minute, progress.firing)


def test_nothing_fired_nothing_evaluated():
    progress, calls, _ = staged(cadence_of())
    results = Results()
    progress.evaluate(results)
    assert (calls, results.faults) == ([], [])


def test_what_has_fired_is_evaluated_at_once_with_the_numbers_of_the_firings():
    fast = cadence_of()
    progress, calls, _ = staged(fast)
    fire(progress, fast, 10)
    fire(progress, fast, 30)
    results = Results()
    progress.evaluate(results)
    assert calls == [("close", 60, 0, 30)]
    assert [(fault.since - START, fault.firing) for fault in results.faults] == [(30, 2)]
    assert (fast.evaluated_until, fast.due, progress.revision) == (START + 30, False, 1)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.sampled_from([10, 60, 180]),
    st.sampled_from([60, 600, 3600]),
)
def test_parts_follow_upon_each_other_and_none_is_long(steps, evaluate_slots, every):
    cadence = cadence_of(every)
    progress, calls, _ = staged(cadence, evaluate_slots=evaluate_slots)
    for step in steps:
        fire(progress, cadence, (cadence.fired_until - START) + step * cadence.step)
    progress.evaluate(Results())
    longest = (evaluate_slots + cadence.step) // cadence.step * cadence.step
    assert all(last - first <= longest for _, _, first, last in calls)
    assert [first for _, _, first, _ in calls] == [0, *(last for *_, last in calls)][:-1]
    assert cadence.evaluated_until == cadence.fired_until


def test_cadences_go_forward_together():
    fast, slow = cadence_of(60, (0, 1)), cadence_of(3600, (2,))
    progress, calls, _ = staged(fast, slow, evaluate_slots=60)
    fire(progress, fast, 180)
    fire(progress, slow, 180)
    progress.evaluate(Results())
    assert [(every, last) for _, every, _, last in calls] == [(60, 70), (3600, 120), (60, 140), (3600, 180), (60, 180)]


def test_where_nothing_is_on_the_grid_that_a_window_could_see_nothing_is_asked():
    fast = cadence_of()
    progress, calls, _ = staged(fast, filled=20)
    fire(progress, fast, 4000)
    progress.evaluate(Results())
    assert fast.evaluated_until == START + 4000
    assert [last for *_, last in calls] == [1450], "and behind it, sixty minutes after the last value, no more"


def test_a_record_is_something_that_an_analysis_could_see():
    fast = cadence_of()
    progress, calls, view = staged(fast, filled=20)
    view.records.put(START + 3500, report("r-1"))
    fire(progress, fast, 4000)
    progress.evaluate(Results())
    assert [last for *_, last in calls] == [1450, 2900, 4000]


def test_late_readings_get_in_at_the_next_firing_of_their_cadence():
    fast, slow = cadence_of(60, (0, 1)), cadence_of(3600, (2,))
    progress, calls, view = staged(fast, slow)
    for cadence in (fast, slow):
        fire(progress, cadence, 120)
    progress.evaluate(Results())
    calls.clear()
    late(progress, 1, 15)
    late(progress, 1, 12)
    late(progress, 2, 30)
    progress.evaluate(Results())
    assert (calls, len(progress.late)) == ([], 3)
    fire(progress, fast, 130)
    progress.evaluate(Results())
    assert calls == [("revise", "cells", 60, [1], 12, 2), ("close", 60, 120, 130)]
    assert len(progress.late) == 1, "that of the hours waits for its own"
    calls.clear()
    progress.evaluate(Results(), finish=True)
    assert calls == [("revise", "cells", 3600, [2], 30, 1)]
    [_, span] = progress._evaluation.analyses[0].spans
    assert (span.until - START, span.firing, span.revision) == (120, 3, progress.revision)
    assert int(view.grid.layer("counts", START + 30, START + 30)[0, 2, 0]) == 1


def test_late_records_take_effect_at_the_next_firing_of_any_cadence():
    fast, slow = cadence_of(60, (0, 1)), cadence_of(3600, (2,))
    progress, calls, view = staged(fast, slow)
    fire(progress, fast, 120)
    fire(progress, slow, 60)
    progress.evaluate(Results())
    calls.clear()
    progress.late.records += [(START + 90, report("r-1")), (START + 70, report("r-2"))]
    progress.evaluate(Results())
    assert calls == []
    fire(progress, slow, 120)
    progress.evaluate(Results())
    assert calls == [("revise", "records", 60, [0, 1], 70, 2), ("close", 3600, 60, 120)], "of hours none was evaluated"
    assert [slot - START for slot, _ in view.records.between(REPORT.topic, START, START + 999)] == [70, 90]
    calls.clear()
    progress.late.records += [(START + 50, report("r-3"))]
    progress.evaluate(Results(), finish=True)
    assert calls == [("revise", "records", 60, [0, 1], 50, 1), ("revise", "records", 3600, [2], 50, 1)]


def test_a_day_is_learnt_between_what_fired_before_its_time_and_what_fired_after():
    fast = cadence_of()
    days = LearningDays(UTC, 1440)
    days.start(START + 1)
    progress, calls, _ = staged(fast, days=days, learns=True, filled=3000)
    for minute in (2870, 2880, 2890, 2900):
        fire(progress, fast, minute)
    progress.evaluate(Results())
    assert calls == [("close", 60, 0, 1450), ("close", 60, 1450, 2880), ("learn", 0), ("close", 60, 2880, 2900)]


def test_a_lesson_waits_for_no_cadence_and_nothing_late_comes_behind_it():
    """The second cadence has not fired; what is late of it is put in before the lesson all the same."""
    fast, slow = cadence_of(60, (0, 1)), cadence_of(3600, (2,))
    days = LearningDays(UTC, 1440)
    days.start(START + 1)
    progress, calls, _ = staged(fast, slow, days=days, learns=True)
    fire(progress, slow, 60)
    progress.evaluate(Results())
    late(progress, 2, 30)
    calls.clear()
    fire(progress, fast, 2890)
    progress.evaluate(Results())
    assert calls[0] == ("revise", "cells", 3600, [2], 30, 1)
    assert ("learn", 0) in calls


def test_days_that_the_grid_has_forgotten_are_passed_over():
    """After a gap of ten days the grid holds the last thousand minutes of the tenth."""
    fast, days = cadence_of(at=10 * 1440), LearningDays(UTC, 1440)
    days.start(START + 1)
    progress, calls, view = staged(fast, days=days, learns=True)
    view.grid.move(START + 10 * 1440)
    fire(progress, fast, 14 * 1440)
    progress.evaluate(Results())
    assert [call[1] for call in calls if call[0] == "learn"] == [9, 10, 11]
    assert days.next.number - START // 1440 == 12


def test_the_start_is_that_of_every_cadence_and_the_grid_moves_there():
    fast, slow = cadence_of(60, (0, 1)), cadence_of(3600, (2,))
    days = LearningDays(UTC, 1440)
    progress, _, view = staged(fast, slow, days=days)
    view.records.put(START + 5, report("r-1"))
    progress.start(START + 3000)
    assert (fast.evaluated_until, slow.evaluated_until) == (START + 3000, START + 3000)
    assert days.next.number - START // 1440 == 2
    assert view.grid.oldest > START + 5
    assert list(view.records.between(REPORT.topic, START, START + 999)) == [], "forgotten with their slots"


def snapshot_of(progress):
    return pickle.loads(pickle.dumps(progress.snapshot()))


def test_a_restart_goes_on_with_what_was_open():
    fast, days = cadence_of(), LearningDays(UTC, 1440)
    days.start(START + 1)
    days.take()
    progress, _, _ = staged(fast, days=days, learns=True)
    fire(progress, fast, 10)
    progress.evaluate(Results())
    fire(progress, fast, 20)
    late(progress, 1, 5)
    progress.late.records.append((START + 7, report("r-1")))
    kept = snapshot_of(progress)

    again_days = LearningDays(UTC, 1440)
    again, calls, view = staged(cadence_of(), days=again_days, learns=True)
    again.restore(kept, 2, np.arange(3, dtype=np.int32), {REPORT.topic: REPORT})
    assert (again.firing, again.revision) == (2, progress.revision)
    assert again_days.next == days.next
    [probe] = again._evaluation.analyses
    assert probe.restored == (2, {"page": b"of the probe"}, {"a": 0, "b": 1, "c": 2})
    again.evaluate(Results())
    assert calls == [
        ("revise", "cells", 60, [1], 5, 1),
        ("revise", "records", 60, [0, 1], 7, 1),
        ("close", 60, 10, 20),
    ]
    assert [slot - START for slot, _ in view.records.between(REPORT.topic, START, START + 999)] == [7]


def test_an_analysis_that_is_new_gets_no_pages():
    progress, _, _ = staged(cadence_of())
    kept = snapshot_of(progress) | {"analyses": {"another": {"page": b"x"}}}
    progress.restore(kept, 2, np.arange(3, dtype=np.int32), {})
    assert progress._evaluation.analyses[0].restored[1] == {}


def test_version_1_kept_of_its_analyses_ozone_alone(monkeypatch):
    progress, _, view = staged(cadence_of())
    kept = {key: progress.snapshot()[key] for key in ("closed", "closings", "held", "revision")} | {"ozone": ["part"]}
    adopted = []
    monkeypatch.setattr(OzoneHours, "adopt", lambda _, parts: adopted.extend(parts))
    again = Progress(view, [OzoneHours(), Probe([])], 60, None)
    again.restore(kept, 1, np.arange(3, dtype=np.int32), {})
    assert adopted == ["part"]
    assert not hasattr(again._evaluation.analyses[1], "restored")
    assert isinstance(again._evaluation, Evaluation)


@pytest.mark.parametrize("known", [60, 600])
def test_a_cadence_that_the_snapshot_does_not_know_is_as_far_as_another(known):
    old = cadence_of(known)
    progress, _, _ = staged(old)
    fire(progress, old, 120)
    progress.evaluate(Results())
    kept = snapshot_of(progress)
    fresh = cadence_of(3600)
    again, calls, _ = staged(fresh)
    again.restore(kept, 2, np.arange(3, dtype=np.int32), {})
    assert (fresh.fired_until, fresh.evaluated_until) == (START + 120, START + 120)
    fire(again, fresh, 180)
    again.evaluate(Results())
    assert calls == [("close", 3600, 120, 180)]
