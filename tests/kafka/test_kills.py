"""Short runs of what ``make kill-kafka`` and ``make outages`` do at length."""

import pytest

from tests import kafka_kill, kafka_outages

SHORT = ["too_large", "transactions", "retention", "recreated", "partitions", "idle"]
DEADLY = ["restart", "sigterm", "standstill"]


@pytest.mark.parametrize("late", [0.0, 0.02])
def test_kills_change_nothing(broker, tmp_path, late):
    faults, figures = kafka_kill.prove(broker, tmp_path, kills=2, seed=3, late=late, rate=40)
    assert not faults, figures


@pytest.mark.parametrize("name", SHORT)
def test_outage(broker, tmp_path, name, monkeypatch):
    monkeypatch.setattr(kafka_outages, "IDLE", 3.0)
    assert kafka_outages.OUTAGES[name](broker, tmp_path / name, 0)


@pytest.mark.parametrize("name", DEADLY)
def test_outage_of_a_broker(own_broker, tmp_path, name):
    assert kafka_outages.OUTAGES[name](own_broker, tmp_path / name, 5.0)
