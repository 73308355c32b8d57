"""Snapshots that earlier versions left, beside the stores of tests/golden."""

import ast
from pathlib import Path

KAFKA = Path(__file__).resolve().parents[1] / "golden" / "kafka-1.txt"


def kafka_snapshots():
    """Snapshots of a Kafka run of 0.1.0, by step and partition: "air.input/input", "air.words/words" …"""
    return ast.literal_eval(KAFKA.read_text(encoding="utf-8"))
