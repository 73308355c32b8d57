"""Bytes in: files and the simulator, each a Bytewax source that can be resumed."""
