"""Upkeep of a lake: check, compact, vacuum, audit."""
