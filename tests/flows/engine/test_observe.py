"""What a run says: its counts, its closing line, its log lines, its progress."""

import json
import logging
from collections import Counter

import pytest

from flows.decode.batch import InputPartition
from flows.engine import observe
from flows.engine.observe import LOGGER, RunObserver
from flows.outputs.lake_rows import LakeBatch

DAY = InputPartition("day.ndjson", 0)
HUNDRED = {"stored": 90_000, "rejected": 7, "duplicate": 2, "too_late": 1}


def land(observer, noted=(), **counts):
    dispositions = Counter({(DAY, name): count for name, count in counts.items()})
    observer.landed(LakeBatch(7, dispositions=dispositions, noted=Counter(noted)))


def test_the_closing_line_says_what_became_of_the_input(capsys):
    observer = RunObserver()
    land(observer, **HUNDRED)
    land(observer, stored=10)
    observer.ended(1.26, stopped=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "90,020 readings in 1.3 s: 90,010 stored, 7 rejected, 2 duplicate, 1 too late\n"


def test_the_closing_line_as_json_is_the_only_thing_on_stdout(capsys):
    observer = RunObserver(as_json=True)
    land(observer, **HUNDRED)
    observer.ended(1.2345, stopped=True)
    out, err = capsys.readouterr()
    assert err == ""
    values = {"unreadable_values": 0, "text_values": 0}
    assert json.loads(out) == {"received": 90_010, **HUNDRED, "other": 0, **values, "seconds": 1.234, "stopped": True}


def test_what_another_flow_takes_is_passed_over_and_none_of_the_readings(capsys):
    for observer in (RunObserver(), RunObserver(as_json=True)):
        land(observer, stored=3, other=1200)
        observer.ended(0.1, stopped=False)
    out, err = capsys.readouterr()
    assert err.startswith("3 readings in 0.1 s: 3 stored")
    assert err.endswith("; 1,200 of another flow passed over\n")
    assert (json.loads(out)["received"], json.loads(out)["other"]) == (3, 1200)


def test_values_that_cannot_be_read_are_counted_beside_the_readings_that_had_them(capsys):
    for observer in (RunObserver(), RunObserver(as_json=True)):
        land(observer, stored=3, noted={"unreadable": 1000, "texts": 1})
        land(observer, stored=1, noted={"unreadable": 234})
        observer.ended(0.1, stopped=False)
    out, err = capsys.readouterr()
    assert err == (
        "4 readings in 0.1 s: 4 stored, 0 rejected, 0 duplicate, 0 too late"
        "; values unreadable, and so missing: 1,234; values read from texts: 1\n"
    )
    assert (json.loads(out)["unreadable_values"], json.loads(out)["text_values"]) == (1234, 1)


def test_nothing_read_is_nothing_of_each(capsys):
    RunObserver(as_json=True).ended(0.0, stopped=False)
    assert json.loads(capsys.readouterr().out)["received"] == 0


def test_where_several_flows_run_each_line_bears_its_flow(capsys):
    observer = RunObserver("odor")
    observer.say("waits for the broker")
    observer.ended(0.04, stopped=False)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "odor: waits for the broker"
    assert last.startswith("odor: 0 readings in 0.0 s")


def test_log_lines_come_here_warnings_and_worse(capsys):
    observer, logger = RunObserver(), logging.getLogger(LOGGER)
    with observer.logging():
        logger.getChild("broker").warning("%s is gone", "broker:9092")
        logger.info("nobody wants to know")
        assert not logger.propagate
    assert capsys.readouterr().err == "cityair: broker:9092 is gone\n"
    assert logger.propagate
    assert logger.handlers == []


def test_log_lines_go_where_they_went_before_when_a_run_fails():
    logger = logging.getLogger(LOGGER)
    with pytest.raises(ZeroDivisionError), RunObserver().logging():
        raise ZeroDivisionError
    assert (logger.handlers, logger.propagate) == ([], True)


class Status:
    """A progress line that notes what it shows."""

    def __init__(self):
        self.shown, self.running = [], False

    def start(self):
        self.running = True

    def stop(self):
        self.running = False

    def update(self, text):
        self.shown.append(text)


def test_progress_is_shown_now_and_then_and_taken_away_at_the_end(monkeypatch, capsys):
    status, now = Status(), iter([100.0, 100.0, 100.1, 100.3, 100.3])
    monkeypatch.setattr(observe, "_status", lambda: status)
    monkeypatch.setattr(observe.time, "monotonic", lambda: next(now))
    observer = RunObserver(shown=True)
    assert status.running
    for count in (1000, 2000, 4000):
        land(observer, stored=count)
    observer.landed(LakeBatch(7))
    assert status.shown == ["1,000 readings, day.ndjson", "7,000 readings, day.ndjson"], (
        "not within a fifth of a second"
    )
    observer.ended(1.0, stopped=False)
    assert not status.running
    observer.close()
    assert "7,000 readings in 1.0 s" in capsys.readouterr().err
