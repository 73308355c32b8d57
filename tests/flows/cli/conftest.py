"""The lake of ``tests/sinks``, for the commands that read one."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("_lakes", Path(__file__).parents[2] / "sinks" / "conftest.py")
_lakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_lakes)
lake = _lakes.lake
