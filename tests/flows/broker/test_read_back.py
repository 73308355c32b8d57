"""Reading a topic to its end, over prepared events instead of a broker."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError

from flows.broker import read_back
from flows.broker.connection import Connection, RetryPolicy
from flows.broker.read_back import is_partition_end, messages_between, offset_after
from schemas.errors import BrokerError
from tests.support.kafka import ScriptedConsumer, end, error, message


def read(consumer, begins, ends, timeout_s=60.0):
    connection = Connection(RetryPolicy(timeout_s=timeout_s))
    found = messages_between(consumer, "t", begins, ends, connection)
    return [(one.partition(), one.offset()) for one in found]


def test_messages_between_offsets_are_read_and_none_after_them():
    consumer = ScriptedConsumer([message(3), message(4)], [message(0, partition=1), message(5), message(6)])
    assert read(consumer, {0: 3}, {0: 5, 1: 1}) == [(0, 3), (0, 4), (1, 0)]
    assert consumer.assigned == [("t", 0, 3), ("t", 1, 0)]


def test_without_begins_it_is_read_from_its_first_message():
    consumer = ScriptedConsumer([message(7), end(8)])
    assert read(consumer, None, {0: 8}) == [(0, 7)]
    assert consumer.assigned == [("t", 0, OFFSET_BEGINNING)]


def test_a_partition_without_new_messages_is_not_read():
    consumer = ScriptedConsumer([message(0, partition=1)])
    assert read(consumer, {0: 5, 1: 0}, {0: 5, 1: 1}) == [(1, 0)]
    assert consumer.assigned == [("t", 1, 0)]


def test_offsets_without_messages_at_the_end_are_passed_by_the_news_of_it():
    """The marker of a transaction, or what compaction took, has an offset and is no message."""
    assert read(ScriptedConsumer([message(0)], [end(2)]), {}, {0: 2}) == [(0, 0)]


def test_an_end_before_the_offset_wanted_is_not_the_end():
    assert read(ScriptedConsumer([end(1)], [], [message(1), end(2)]), {0: 1}, {0: 2}) == [(0, 1)]


def test_an_error_that_ends_by_itself_is_waited_out():
    events = [error(KafkaError._TRANSPORT)], [error(KafkaError.NOT_LEADER_FOR_PARTITION), message(0)]
    assert read(ScriptedConsumer(*events), {}, {0: 1}) == [(0, 0)]


def test_a_refusal_is_raised():
    with pytest.raises(BrokerError, match="t: TOPIC_AUTHORIZATION_FAILED"):
        read(ScriptedConsumer([error(KafkaError.TOPIC_AUTHORIZATION_FAILED)]), {}, {0: 1})


def test_a_broker_that_stops_answering_is_named():
    with pytest.raises(BrokerError, match="t: no answer from localhost:9092"):
        read(ScriptedConsumer([message(0)]), {}, {0: 2}, timeout_s=0.05)


def test_where_reading_goes_on_after_an_event():
    assert (offset_after(message(4)), offset_after(end(4))) == (5, 4)


def test_a_fatal_error_is_raised_whatever_its_name():
    with pytest.raises(BrokerError, match="t: _TRANSPORT"):
        is_partition_end(KafkaError(KafkaError._TRANSPORT, "gone", fatal=True), "t")


def test_a_batch_that_cannot_be_read_is_passed_over(monkeypatch, caplog):
    """The client would give its error for ever; reading goes on after the batch, in every partition where it stood."""
    monkeypatch.setattr(read_back, "readable_from", lambda settings, place, end, connection: place.offset + 3)
    events = [message(0), message(4, partition=1), error(KafkaError._BAD_MSG, offset=1)]
    lost = error(KafkaError._NOT_IMPLEMENTED, offset=8_299_343_160_681_374_323)
    consumer = ScriptedConsumer([*events, lost, message(9)], [message(4), message(5, partition=1)])
    assert read(consumer, {0: 0, 1: 4}, {0: 5, 1: 6}) == [(0, 0), (1, 4), (0, 4), (1, 5)]
    assert consumer.assigned == [("t", 0, 4), ("t", 1, 5)]
    assert "t [0]: offsets 1 to 3 cannot be read, and are left out" in caplog.text


class Unreadable:
    """A message of which the client cannot read the headers."""

    def headers(self):
        raise SystemError("returned a result with an exception set")


def test_headers_that_cannot_be_read_are_none():
    assert read_back.headers_of(Unreadable()) == []
