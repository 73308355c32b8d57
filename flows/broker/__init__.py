"""The connection to a Kafka broker: settings, retries, topic identities, reading a topic back."""
