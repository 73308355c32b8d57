"""Topics: exactly-once output, the simulator's producer, redrive, administration."""
