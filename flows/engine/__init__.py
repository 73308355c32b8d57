"""Dataflows on Bytewax: steps, the runner, progress, and the rebuild of a recovery store."""
