"""What people have lights say: ``env.light.message.v1``, a topic of few messages, each with an end.

It is read beside the readings and is not in the ledger: words are no measurements. A place that the broker does not
have any more is passed over, because words that old have ended.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, TopicPartition

from flows.broker import connection
from flows.decode.batch import InputPartition, Words
from flows.sources.kafka.records import envelope_of
from schemas.city import City
from schemas.errors import BrokerError
from schemas.light import LightMessage
from schemas.rejected import Reason, Reject

MOST = 1000
LOOKED_EVERY = timedelta(milliseconds=200)
Snapshot = dict[str, Any]


class WordsSource(FixedPartitionedSource[Words, Snapshot]):
    """One topic of light messages, in one engine partition named ``words``.

    Args:
        topic: contract name.
        group: consumer group.
        city: whose lights there are.
        stop: whether to end early.
        bounded: end where the topic ends now.
    """

    def __init__(self, topic: str, group: str, city: City, *, stop: Callable[[], bool], bounded: bool) -> None:
        self._topic, self._lights = topic, {light.id for light in city.lights}
        self._stop, self._bounded = stop, bounded
        self._errors = connection.ClientErrors()
        self._config = connection.config(
            self._errors,
            group_id=group,
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
        )

    def list_parts(self) -> list[str]:
        """List the one partition."""
        return ["words"]

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "_Words":
        """Go on where a snapshot was taken.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: the topic is not there.
        """
        consumer = Consumer(self._config)
        name = connection.topic_name(self._topic)
        begin = dict(resume_state["next"]) if resume_state else {}
        begin = {number: begin.get(number, 0) for number in connection.partitions(consumer, name, self._errors)}

        def end(number: int) -> int:
            asked = TopicPartition(name, number)
            high: int = connection.retry(lambda t: consumer.get_watermark_offsets(asked, timeout=t), self._errors)[1]
            return high

        ends = {number: end(number) for number in begin}
        consumer.assign([TopicPartition(name, number, offset or -2) for number, offset in begin.items()])
        return _Words(consumer, self._topic, self._lights, begin, ends, self._stop, bounded=self._bounded)


class _Words(StatefulSourcePartition[Words, Snapshot]):
    def __init__(
        self,
        consumer: Any,
        topic: str,
        lights: set[str],
        begin: dict[int, int],
        ends: dict[int, int],
        stop: Callable[[], bool],
        *,
        bounded: bool,
    ) -> None:
        self._consumer, self._lights, self._next, self._stop = consumer, lights, begin, stop
        self._ends, self._bounded = ends, bounded
        self._open = {n for n, end in ends.items() if end > begin[n]}
        self._parts = [InputPartition(topic, number) for number in begin]
        self._decode = msgspec.json.Decoder(LightMessage).decode

    def next_batch(self) -> list[Words]:
        if self._stop() or (self._bounded and not self._open):
            raise StopIteration
        said = Words(self._parts, [], [])
        for message in self._consumer.consume(MOST, 0):
            number, error = message.partition(), message.error()
            if error is None:
                self._take(message, said)
                self._next[number] = message.offset() + 1
            elif error.code() != KafkaError._PARTITION_EOF and error.fatal():
                raise BrokerError(f"{message.topic()}: {error.name()}: {error.str()}")
            if number in self._open and message.offset() + (error is None) >= self._ends[number]:
                self._open.discard(number)
        return [said] if said.words or said.rejects else []

    def next_awake(self) -> datetime | None:
        """Look again soon: words are rare, and may wait so long."""
        return datetime.now(UTC) + LOOKED_EVERY

    def snapshot(self) -> Snapshot:
        return {"v": 1, "next": dict(self._next)}

    def close(self) -> None:
        self._consumer.close()

    def _take(self, message: Any, said: Words) -> None:
        payload = message.value() or b""
        reason: Reason = "undecodable"
        try:
            word = self._decode(payload)
            if word.light_id in self._lights:
                said.words.append(word)
                return
            reason, detail = "contract", f"{word.light_id[:64]!r} is no light of the city file - at `$.light_id`"
        except msgspec.ValidationError as err:
            reason, detail = "contract", str(err)
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            detail = str(err) or type(err).__name__
        part = self._parts.index(InputPartition(self._parts[0].topic, message.partition()))
        said.rejects.append(Reject(part, message.offset(), reason, detail, payload, envelope_of(message)))
