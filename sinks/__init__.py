"""Bytes out, and the way back to them: the lake, topics, files, the catalog, lights as readers see them, upkeep."""
