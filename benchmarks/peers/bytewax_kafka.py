"""One process: stock Bytewax over a topic, its own source and the windows of ``bytewax_windows``.

``python -m benchmarks.peers.bytewax_kafka SERVERS TOPIC FIRST``; FIRST is the time of the oldest reading. At its best:
the client setting that keeps it from sleeping over full queues, large batches, one worker, no recovery.
"""

import sys
from datetime import datetime

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow

from benchmarks.peers.bytewax_windows import BATCH, Reading, count_windows, measure

CLIENT = {"fetch.queue.backoff.ms": "10"}


def main() -> None:
    """Run the flow to the topic's end."""
    servers, topic, first = sys.argv[1:]
    flow = Dataflow("peer")
    source = KafkaSource(servers.split(","), [topic], tail=False, add_config=CLIENT, batch_size=BATCH)
    decode = msgspec.json.Decoder(Reading).decode
    messages = op.input("topic", flow, source)
    count_windows(op.map("decode", messages, lambda message: decode(message.value)), datetime.fromisoformat(first))
    measure(flow)


if __name__ == "__main__":
    main()
