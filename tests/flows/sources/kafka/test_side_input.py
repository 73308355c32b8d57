"""Side inputs without a broker: what is decoded, what is refused, and where a resume goes on."""

import msgspec
import pytest
from confluent_kafka import KafkaError

from flows.air import FLOW
from flows.broker.connection import Connection
from flows.decode.batch import InputPartition
from flows.sources.kafka import side_input
from flows.sources.kafka.side_input import Refusal, SideInputDecoder, SideInputPartition
from schemas.city import Light
from schemas.errors import BrokerError
from schemas.light import LightMessage
from tests.support.kafka import ScriptedConsumer, end, error, message

TOPIC = "env.light.message.v1"


@pytest.fixture(scope="module")
def decoder(make_city):
    city = msgspec.structs.replace(make_city(), lights=[Light(id="light-07", lat=35.0, lon=128.8)])
    return SideInputDecoder(LightMessage, lambda message: FLOW.side_input.refuse(city, message))


@pytest.fixture
def part(decoder):
    """A side input over prepared events."""

    def make(*chunks, begins=None, ends=None, stop=lambda: False):
        return SideInputPartition(
            ScriptedConsumer(*chunks), {}, TOPIC, decoder, begins or {0: 0}, ends, stop, Connection()
        )

    return make


def text(light="light-07"):
    return b'{"light_id":"%s","text":"x","valid_until":"2026-03-03T00:00:00+09:00"}' % light.encode()


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"{", "undecodable", ""),
        (b"", "undecodable", ""),
        (b"\xff", "undecodable", ""),
        (b'{"light_id":"light-07"}', "contract", "missing required field"),
        (text("light-99"), "contract", "'light-99' is no light of the city file - at `$.light_id`"),
        (text("l" * 100), "contract", f"'{'l' * 64}' is no light"),
    ],
)
def test_what_is_no_record_is_refused(decoder, payload, reason, detail):
    refusal = decoder.decode(payload)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert detail in refusal.detail
    assert refusal.detail


def test_records_and_rejects_come_together_with_where_they_stood(part):
    side = part(
        [message(3, text()), message(4, b"{", key=b"odd", headers=[("origin", b"x")]), message(0, text(), partition=1)],
        begins={0: 3, 1: 0},
    )
    [batch] = side.next_batch()
    assert [record.light_id for record in batch.records] == ["light-07", "light-07"]
    [reject] = batch.rejects
    assert (batch.parts[reject.part], reject.offset) == (InputPartition(TOPIC, 0), 4)
    assert (reject.payload, reject.envelope.key, reject.envelope.headers) == (b"{", b"odd", (("origin", b"x"),))
    assert side.snapshot() == {"v": 1, "next": {0: 5, 1: 1}}


def test_a_bounded_one_ends_where_its_partitions_ended(part):
    side = part(
        [message(0, text())],
        [end(1)],
        [message(0, text(), partition=1), message(1, text(), partition=1)],
        begins={0: 0, 1: 0, 2: 4},
        ends={0: 1, 1: 2, 2: 4},
    )
    assert [len(side.next_batch()) for _ in range(3)] == [1, 0, 1]
    with pytest.raises(StopIteration):
        side.next_batch()


def test_offsets_without_messages_do_not_keep_it_from_its_end(part):
    side = part([message(0, text())], [end(5)], ends={0: 5})
    side.next_batch()
    side.next_batch()
    with pytest.raises(StopIteration):
        side.next_batch()


def test_without_an_end_it_goes_on(part):
    side = part([end(0)])
    assert [side.next_batch() for _ in range(3)] == [[], [], []]


def test_a_stop_ends_it(part):
    with pytest.raises(StopIteration):
        part([message(0, text())], stop=lambda: True).next_batch()


def test_an_error_that_ends_by_itself_is_waited_out_and_others_are_raised(part):
    side = part([error(KafkaError._TRANSPORT), message(0, text())], [error(KafkaError.TOPIC_AUTHORIZATION_FAILED)])
    assert len(side.next_batch()) == 1
    with pytest.raises(BrokerError, match="TOPIC_AUTHORIZATION_FAILED"):
        side.next_batch()


def test_a_batch_that_cannot_be_read_is_refused_and_passed_over(part, monkeypatch):
    monkeypatch.setattr(side_input, "readable_from", lambda settings, place, end, connection: place.offset + 2)
    monkeypatch.setattr(Connection, "watermarks", lambda *_: (0, 9))
    damaged = error(KafkaError._BAD_COMPRESSION, offset=4, topic=TOPIC)
    side = part(
        [message(3, text(), topic=TOPIC), damaged, damaged],
        [message(6, text(), topic=TOPIC)],
        begins={0: 3},
        ends={0: 7},
    )
    [batch] = side.next_batch()
    assert len(batch.records) == 1
    assert [(of.part, of.offset, of.reason, of.payload) for of in batch.rejects] == [
        (0, 4, "undecodable", b""),
        (0, 5, "undecodable", b""),
    ]
    assert side._consumer.assigned == [(TOPIC, 0, 6)]
    assert side.snapshot()["next"] == {0: 6}
    [batch] = side.next_batch()
    assert len(batch.records) == 1
    with pytest.raises(StopIteration):
        side.next_batch()
