"""The runner: to the end of a file, to a signal and on from there, and never two in one lake."""

import os
import signal

import pytest
from bytewax.errors import BytewaxRuntimeError

from flows.air import FLOW
from flows.decode.batch import InputPartition
from flows.engine import run as run_module
from flows.engine.observe import RunObserver
from flows.engine.run import RunOptions, StopFlag, group_of, now_us, open_source
from flows.zone.zone import Zone
from schemas.errors import ConfigurationError
from sinks.catalog import catalog
from sinks.lake.tables import exclusive
from sinks.maintenance.audit import audit
from tests.support.runs import CITY, city_of, line, lines, means, run


class Listening(RunObserver):
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.batches, self.end, self.closed = 0, None, False

    def landed(self, batch):
        super().landed(batch)
        self.batches += 1

    def ended(self, seconds, *, stopped):
        self.end = stopped
        assert 0 < seconds < 100

    def close(self):
        self.closed = True


@pytest.fixture
def place(tmp_path):
    (tmp_path / "city.toml").write_text(CITY)
    (tmp_path / "in.ndjson").write_text(lines(1, 100))
    return tmp_path


def test_a_run_goes_to_the_end_of_its_input(place):
    observer = Listening()
    assert run(place, "lake", observer, output=str(place / "out")) is False
    assert (observer.end, observer.closed) == (False, True)
    assert observer.batches > 0
    assert observer.dispositions == {"stored": 99 * 4}
    assert len(means(place / "lake")) > 0
    messages = (place / "out" / "env.air.rolling.v1.ndjson").read_text().splitlines()
    assert len(messages) == 9 * 4
    assert [path.name for path in (place / "out").glob("*.ndjson")] == ["env.air.rolling.v1.ndjson"], (
        "of no other topic"
    )


def test_a_signal_stops_a_run_and_the_next_goes_on(place, monkeypatch):
    """The source ends at its first look after the signal; nothing is closed, and nothing is lost."""

    class Stopping(Listening):
        def landed(self, batch):
            super().landed(batch)
            if self.batches == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    (place / "in.ndjson").write_text(lines(1, 100) + line("a", 365 * 1440, pm25=1.0) + lines(100, 300))
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("CITYAIR_EPOCH", "1ms")
    stopped = Stopping()
    assert run(place, "lake", stopped) is True
    assert stopped.end is True
    assert signal.getsignal(signal.SIGTERM) is before
    taken = stopped.dispositions["stored"]
    assert run(place, "lake") is False
    run(place, "calm")
    assert 0 < taken <= 299 * 4
    assert means(place / "lake") == means(place / "calm")
    audit(place / "lake").require()


def test_an_input_that_is_not_there_is_refused_before_anything_is_made(place):
    with pytest.raises(ConfigurationError, match=r"nowhere\.ndjson"):
        run_module.run(
            FLOW, city_of(place), RunOptions(str(place / "nowhere.ndjson")), place / "lake", place / "s", RunObserver()
        )
    assert not (place / "s" / "air").exists()


def test_two_runs_of_a_flow_are_kept_apart(place):
    observer = Listening()
    with (
        exclusive(place / "lake", place / "lake-store", "air"),
        pytest.raises(ConfigurationError, match="is in use by another process"),
    ):
        run(place, "lake", observer)
    assert (observer.closed, observer.end) == (True, None)
    assert run(place, "lake") is False, "it lets go of what it held"


def test_a_step_that_fails_ends_the_run_with_its_cause(place, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("planted")

    observer = Listening()
    monkeypatch.setattr(Zone, "take", fail)
    with pytest.raises(BytewaxRuntimeError) as failed:
        run(place, "lake", observer)
    causes, cause = [], failed.value
    while cause is not None:
        causes.append(type(cause))
        cause = cause.__cause__
    assert ZeroDivisionError in causes
    assert (observer.closed, observer.end) == (True, None)
    monkeypatch.undo()
    assert run(place, "lake") is False
    with catalog.connect(place / "lake") as con:
        assert con.execute("SELECT count(*) FROM air_readings").fetchone() == (99 * 4,)


def test_a_source_is_opened_for_what_input_names(place):
    source = open_source(FLOW, city_of(place), RunOptions(str(place / "in.ndjson")), lambda: False)
    partition = source.build_part("input", "input", None)
    [(_, batch)] = partition.next_batch()
    assert batch.parts == [InputPartition("in.ndjson", 0)]
    assert len(batch.readings) == 99 * 4
    assert abs(batch.received - now_us()) < 100_000_000


def test_the_first_signal_stops_and_the_second_interrupts():
    stop, before = StopFlag(), signal.getsignal(signal.SIGINT)
    with stop.on_signals():
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_consumer_groups_are_named_by_the_flow():
    assert group_of(FLOW) == "cityair-air"
