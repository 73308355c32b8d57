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


def test_one_bad_cell_is_noted_in_the_lake_and_counted_at_the_end(place, capsys):
    (place / "in.ndjson").write_text(
        lines(1, 100)
        + line("a", 100, pm10="통신장애", pm25=12.0, temperature=-999)
        + line("b", 100, pm10="41", pm25="", o3="<0.002", humidity=50.0)
        + line("c", 100, pm10="34.2#")
        + line("d", 100, pm10=None)
    )
    run(place, "lake", RunObserver())
    assert capsys.readouterr().err.endswith(
        ": 399 stored, 1 rejected, 0 duplicate, 0 too late"
        "; values unreadable, and so missing: 3; values read from texts: 1\n"
    )
    with catalog.connect(place / "lake") as con:
        rows = con.execute("SELECT pm10, pm25, temperature, notes FROM air_readings WHERE koff >= 396 ORDER BY koff")
        assert rows.fetchall() == [
            (None, 12.0, None, 'pm10: "통신장애" is no number'),
            (41.0, None, None, 'pm10: text "41" read; pm25: "" is no number; o3: "<0.002" is no number'),
            (None, None, None, None),
        ]
        assert con.execute("SELECT count(notes) FROM air_readings").fetchone() == (2,)
        assert con.execute("SELECT koff, reason FROM rejects").fetchall() == [(398, "contract")]
    audit(place / "lake").require()


def test_the_limits_of_a_column_map_hold_before_those_of_the_city(place):
    (place / "map.toml").write_text(
        '[station]\ncolumn = "id"\n[time]\ncolumn = "t"\nformat = "unix"\n[values]\nno2 = { column = "NO2" }\n'
        "[parameters.no2]\nfail = [-0.2, 2.0]\nsuspect = [-0.1, 0.2]\n"
    )
    noise = "".join(f"a,{1_772_323_200 + 60 * i},{-0.0505 + 0.001 * i:.4f}\n" for i in range(120))
    (place / "in.csv").write_text("id,t,NO2\n" + noise)
    options = RunOptions(str(place / "in.csv"), str(place / "map.toml"))
    flags = {}
    for name in ("lake", "cut"):
        run_module.run(FLOW, city_of(place), options, place / name, place / f"{name}-s", RunObserver())
        with catalog.connect(place / name) as con:
            flags[name] = dict(con.execute("SELECT flag_no2, count(*) FROM air_readings GROUP BY ALL").fetchall())
        (place / "map.toml").write_text((place / "map.toml").read_text().partition("[parameters")[0])
    assert flags == {"lake": {1: 120}, "cut": {4: 41, 3: 5, 1: 74}}


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
