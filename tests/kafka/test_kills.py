"""Short runs of what ``make kill-kafka`` and ``make outages`` do at length; the other outages are only made there."""

import pytest

from tests.chaos import kafka_kill, outages


def test_kills_change_nothing(broker, tmp_path):
    faults, figures = kafka_kill.prove(broker, tmp_path, kills=2, seed=3, lives_s=5.0)
    assert not faults, figures


@pytest.mark.parametrize("name", ["retention", "transactions"])
def test_outage(broker, tmp_path, name):
    assert outages.OUTAGES[name](broker, tmp_path / name, 0)


def test_a_broker_that_is_killed_and_a_flow_that_is_stopped_meanwhile(own_broker, tmp_path):
    assert outages.sigterm(own_broker, tmp_path / "sigterm", 0)
