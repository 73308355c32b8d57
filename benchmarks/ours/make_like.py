"""One process: topics with the partitions and settings of one that is there.

``python -m benchmarks.ours.make_like TOPIC NAME …``
"""

import sys

from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from flows.broker.connection import Connection


def main() -> None:
    """Make them."""
    like, *names = sys.argv[1:]
    admin = AdminClient(Connection().settings())
    partitions = len(admin.list_topics(like, timeout=10).topics[like].partitions)
    asked = ConfigResource(ResourceType.TOPIC, like)
    found = admin.describe_configs([asked])[asked].result(timeout=10)
    settings = {name: entry.value for name, entry in found.items() if not entry.is_default}
    made = admin.create_topics([NewTopic(name, partitions, config=settings) for name in names])
    for future in made.values():
        future.result(timeout=10)


if __name__ == "__main__":
    main()
