"""Bytes in: files and Kafka topics, each a Bytewax source that can be resumed."""
