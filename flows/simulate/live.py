"""Simulated runs as messages: sent in the order they arrive, at the pace of the simulated time or as fast as may be."""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from flows.simulate.simulator import Simulation
from schemas.slots import SECOND_US, micros

PROGRESS_EVERY_S = 0.2


class MessageSink(Protocol):
    """A topic's producer, such as ``sinks.kafka.producer.Publisher``."""

    def send(self, key: bytes, value: bytes) -> None:
        """Send one message; block while too many are under way."""

    def wait(self, seconds: float) -> None:
        """Let time pass while messages are delivered."""

    def finish(self) -> None:
        """Block until every message is delivered."""


def publish(simulation: Simulation, sink: MessageSink, pace: float | None, progress: Callable[[float], None]) -> None:
    """Send the readings of a run in the order they arrive, keyed by station; its truth is complete afterwards.

    Args:
        simulation: the run.
        sink: takes the messages.
        pace: simulated seconds to a second; None: as fast as the sink takes them.
        progress: called with the share that is done, 0 to 1.

    Raises:
        BrokerError: the broker went away or refused a message.
    """
    keys = [station.id.encode() for station in simulation.city.stations]
    start, end = micros(simulation.truth.started_at), micros(simulation.truth.ended_at)
    began = shown = 0.0
    for lines in simulation.days():
        rows = zip(lines.station.tolist(), lines.arrival.tolist(), simulation.encode(lines), strict=True)
        began = began or monotonic()  # the first day is made before its time begins
        for station, arrival, text in rows:
            now = monotonic()
            if now - shown > PROGRESS_EVERY_S:
                shown = now
                progress(min(1.0, (arrival - start) / (end - start)))
            if pace is not None and (early := began + (arrival - start) / SECOND_US / pace - now) > 0:
                sink.wait(early)
            sink.send(keys[station], text)
    sink.finish()
    progress(1.0)
