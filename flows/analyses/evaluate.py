"""One evaluation for live air, for late data and for backfill: every analysis, of the same cells.

The same functions see the same cells however the input was cut or ordered, and so give the same numbers to the last
bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from flows.analyses.base import Analysis, LocalDay, Results, Span, ZoneView
from flows.state.cadence import Cadence


class Evaluation:
    """All analyses of a zone, in their order: what one writes to the grid the next can read.

    Args:
        view: of the zone.
        analyses: in their order.
    """

    def __init__(self, view: ZoneView, analyses: Sequence[Analysis]) -> None:
        self.view, self.analyses = view, analyses

    def close(self, cadence: Cadence, last: int, revision: int, out: Results) -> None:
        """Evaluate the slots after ``cadence.evaluated_until`` to ``last`` for the first time.

        Newer cells may shed light on older ones (a spike shows in the cell after it): those are evaluated again, with
        ``revision``, before the analyses behind go on.
        """
        first = cadence.evaluated_until
        for analysis in self.analyses:
            results = analysis.close(self.view, cadence, first, last, revision)
            if results.reconsider.size:
                firing = int(cadence.firing_of(np.array([first + 1]))[0])
                span = Span(cadence, results.reconsider, first, last, revision, firing)
                with self.revising(span, out):
                    pass  # the cells stay as they are: it is their surroundings that changed
            results.faults = [
                fault._replace(firing=int(cadence.firing_of(np.array([fault.since]))[0])) for fault in results.faults
            ]
            out.add(results)
        cadence.evaluated(last)

    @contextmanager
    def revising(self, span: Span, out: Results) -> Iterator[None]:
        """Evaluate again, from ``span.first`` on, what the cells changed within this context touch."""
        before = [analysis.measure(self.view, span) for analysis in self.analyses]
        yield
        for analysis, old in zip(self.analyses, before, strict=True):
            results = analysis.revise(self.view, span, old)
            results.faults = [fault._replace(firing=span.firing) for fault in results.faults]
            out.add(results)

    def learn(self, day: LocalDay, out: Results) -> None:
        """Let every analysis learn from a day that lies past the horizon."""
        for analysis in self.analyses:
            out.add(analysis.learn(self.view, day))
