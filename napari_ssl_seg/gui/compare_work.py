"""What the Compare tab computes off the window's thread: cases, scores, distances, tests, and what was painted on."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.compare_cells import DISTANCES, ERRORS
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.workbench.compared_case import METRICS
from napari_ssl_seg.workbench.rescoring import volumes_rescored
from napari_ssl_seg.workbench.significance import standings
from napari_ssl_seg.workbench.surface_bins import fitting_reach, step_words, surface_bins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.gui.compare_controls import DistanceBar
    from napari_ssl_seg.workbench.compared_case import CaseComparison
    from napari_ssl_seg.workbench.compared_entry import Entry
    from napari_ssl_seg.workbench.comparison import Comparison

KEPT = 3
"""Sets of distance maps: as large as the predictions."""


class CompareWork(QObject):
    """Workers of the tab; each answers the newest question only.

    Signals
    -------
    read(CaseComparison), scored(ScoreTable), standings(dict), failed(Exception), busy(bool)
    rescored(before, after)
        The case that was painted on, and the same with all of its numbers.
    distances(CaseComparison, label)
        `extras` has them now.
    """

    read = Signal(object)
    scored = Signal(object)
    standings = Signal(object)
    rescored = Signal(object, object)
    distances = Signal(object, object)
    failed = Signal(object)
    busy = Signal(bool)

    all_busy_words = ("reading and scoring …", "measuring the surfaces …", "loading the scores' compiled loops …")

    def __init__(self, comparison: Comparison, owner: QWidget) -> None:
        super().__init__(owner)
        self._comparison = comparison
        self._distances: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._table: tuple[Any, Any, Any] = (None, None, None)
        self._warming = False
        latest = workers.LatestOnly
        self.reader = latest(
            lambda question: comparison.read(*question),
            self.read.emit,
            self.failed.emit,
            on_busy=self.busy.emit,
            owner=owner,
        )
        self._scorer = latest(
            lambda question: drain(comparison.score_all(*question)), self.scored.emit, self.failed.emit, owner=owner
        )
        self._rescorer = latest(
            lambda case: (case, volumes_rescored(case)),
            lambda pair: self.rescored.emit(*pair),
            self.failed.emit,
            owner=owner,
        )
        self._measurer = latest(_measured, self._measured, self.failed.emit, on_busy=self.busy.emit, owner=owner)
        self._tester = latest(
            lambda table: (table, standings(table, METRICS)), self._tested, self.failed.emit, owner=owner
        )

    @property
    def busy_words(self) -> str:
        """What goes on."""
        if self._warming:
            return self.all_busy_words[2]
        return self.all_busy_words[0 if self.reader.busy else 1]

    # -- the compiled loops ---------------------------------------------------------------------------------------
    @property
    def warm(self) -> bool:
        """Whether a slice can be scored in the window's own thread: nothing has to be compiled first."""
        from napari_ssl_seg.evaluation import is_warm

        return is_warm()

    def warm_up(self) -> None:
        """Load or compile what scoring needs; twenty seconds on a new computer, so never in the window's thread."""
        if not self._warming and not self.warm:
            from napari_ssl_seg.evaluation import warm_up

            self._warming = True
            workers.run(warm_up, on_done=self._warmed, owner=self.parent())

    def _warmed(self) -> None:
        self._warming = False

    # -- scores of all scans --------------------------------------------------------------------------------------
    def score(self, entries: Sequence[Entry], split: str) -> None:
        """Score every scan of the split."""
        self._scorer.submit((list(entries), split))

    def table_of(self, table: ScoreTable | None, runs: Sequence[str]) -> ScoreTable | None:
        """The scores of the methods that are compared; what differs by more than chance is told by `standings`."""
        if table is None:
            return None
        if self._table[0] is not table or self._table[1] != list(runs):
            part = type(table)(tuple(row for run in runs for row in table.of(run).rows))
            self._table = (table, list(runs), part)
            if len(runs) > 1 and len(part):
                self._tester.submit(part)
        return self._table[2]

    def _tested(self, answer: tuple[ScoreTable, dict[Any, Any]]) -> None:
        if answer[0] is self._table[2]:
            self.standings.emit(answer[1])

    def rescore(self, case: CaseComparison) -> None:
        """Score everything of a case that was painted on."""
        self._rescorer.submit(case)

    # -- errors and distances -------------------------------------------------------------------------------------
    def extras(
        self, case: CaseComparison, what: str, label: int | None, bar: DistanceBar
    ) -> tuple[Mapping[str, np.ndarray | None], dict[int, str] | None]:
        """Errors or distances by a method's key, and what their values say; distances come later where they are new."""
        if what == ERRORS:
            return {method.entry.key: method.errors for method in case.methods}, None
        if what != DISTANCES or case.reference is None:
            return {}, None
        key = (id(case.reference), *(id(method.slices) for method in case.methods), case.axis, label)
        if key not in self._distances:
            self._measurer.submit((key, case, label))
            return {}, None
        maps, reach, _held = self._distances[key]
        self._distances.move_to_end(key)
        bar.set_reach(reach)
        return maps, step_words(reach)

    def _measured(self, answer: tuple[Any, ...]) -> None:
        key, case, label, maps, reach = answer
        self._distances[key] = (maps, reach, case)  # the case is held, so that no other gets its parts' ids
        while len(self._distances) > KEPT:
            self._distances.popitem(last=False)
        self.distances.emit(case, label)


def _measured(question: tuple[Any, CaseComparison, int | None]) -> tuple[Any, ...]:
    key, case, label = question
    labels = case.classes if label is None else (label,)
    reach = fitting_reach([case.of_volume(method, "assd", label) for method in range(len(case.methods))])
    assert case.reference is not None
    maps = {
        method.entry.key: surface_bins(method.labels, case.reference, case.geometry.spacing, labels, case.axis, reach)
        for method in case.methods
    }
    return key, case, label, maps, reach
