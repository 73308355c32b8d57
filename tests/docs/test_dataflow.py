"""The picture of the dataflow in docs/architecture.md is that of the code."""

import re

from bytewax.testing import TestingSink, TestingSource
from bytewax.visualize import to_mermaid

from flows.air import FLOW
from flows.engine.dataflow import Edges, build


def test_the_picture_is_of_the_code(root, make_city):
    edges = Edges(TestingSource([]), TestingSink([]), side=TestingSource([]), topics=TestingSink([]), dead_letters=True)
    drawn = to_mermaid(build(FLOW, make_city(), edges)).splitlines()
    plain = [re.sub(r' -- ".*" --> ', " --> ", line.replace("air.", "")) for line in drawn]
    steps = [plain[0], *(f"  {line}" for line in plain if re.match(r"\w+(\[| -->)", line))]
    shown = re.search(r"```mermaid\n(.*?)\n```", (root / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert shown.group(1).splitlines() == steps
