"""Runs as messages; on a real broker in ``tests/kafka/test_simulate.py``."""

from flows.simulate.live import publish
from flows.simulate.simulator import Simulation, iter_minutes
from tests.support.simulated import START


class Topic:
    """In the place of a producer."""

    def __init__(self):
        self.messages, self.waited, self.finished = [], 0.0, False

    def send(self, key, value):
        self.messages.append((key, value))

    def wait(self, seconds):
        self.waited = max(self.waited, seconds)

    def finish(self):
        self.finished = True


def test_messages_are_sent_in_the_order_they_arrive_keyed_by_station(tiny):
    simulation, topic, shares = Simulation(tiny, START, 0.1, 3, ["duplicates"]), Topic(), []
    publish(simulation, topic, None, shares.append)
    lines = [line for minute in iter_minutes(Simulation(tiny, START, 0.1, 3, ["duplicates"])) for line in minute.lines]
    assert [value for _, value in topic.messages] == lines
    assert all(value.startswith(b'{"station_id":"%b"' % key) for key, value in topic.messages)
    assert len(lines) == simulation.truth.totals.lines
    assert (topic.waited, topic.finished, shares[-1]) == (0.0, True, 1.0)


def test_at_a_pace_it_waits_until_a_message_is_due(tiny):
    topic = Topic()
    publish(Simulation(tiny, START, 0.01, 3), topic, 60.0, lambda _: None)
    assert 8 < topic.waited < 0.01 * 86400 / 60 + 1, "a wait that does not wait lets all of it add up"
