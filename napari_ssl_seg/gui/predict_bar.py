"""Making the predictions that a comparison lacks, by one button, in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.eliding import ElidingButton
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.predicting import predict_missing
from napari_ssl_seg.workbench.state import JobLine
from napari_ssl_seg.workbench.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.comparison import Comparison
    from napari_ssl_seg.workbench.predicting import PredictionProgress


class PredictBar(QWidget):
    """A button for the open scan, and one for all scans of the split; hidden while nothing is missing.

    Signals
    -------
    ended()
        Predictions were made, or stopped.
    """

    ended = Signal()

    def __init__(self, workbench: Workbench, comparison: Comparison, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._comparison = workbench, comparison
        self._task: workers.Task | None = None
        self.here, self.all = ElidingButton(), ElidingButton()
        mark(self.here, "primary")
        mark(self.all, "quiet")
        self.here.clicked.connect(lambda: self.predict([self._workbench.case_id or ""]))
        self.all.clicked.connect(lambda: self.predict(self.cases))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.here)
        layout.addWidget(self.all, 0, Qt.AlignmentFlag.AlignLeft)
        self.offer()

    @property
    def split(self) -> str:
        """What is predicted and scored: the test split, or all where no test scan has labels."""
        return "test" if any(case.split == "test" and case.label for case in self._workbench.cases) else "all"

    @property
    def cases(self) -> list[str]:
        """Ids of the scans of the split."""
        split = self.split
        return [case.id for case in self._workbench.cases if split in ("all", case.split)]

    def offer(self) -> None:
        """Say what is missing."""
        case_id, busy = self._workbench.case_id, self._task is not None
        here = self._comparison.missing([case_id]) if case_id is not None else {}
        everywhere = sum(len(cases) for cases in self._comparison.missing(self.cases).values())
        self.here.setVisible(bool(here) or busy)
        self.here.setEnabled(not busy)
        self.here.setText("Predicting …" if busy else f"Predict this scan · {count(len(here), 'method')}")
        self.all.setVisible(everywhere > 0 and not busy)
        self.all.setText(f"Predict all {self.split} scans ({everywhere} missing)")
        self.setVisible(bool(here) or busy or everywhere > 0)

    def predict(self, cases: Sequence[str]) -> None:
        """Make what the ticked runs have not predicted of these cases."""
        study, missing = self._workbench.study, self._comparison.missing(cases)
        if study is None or not missing or self._task is not None:
            return
        self._task = workers.run(
            predict_missing,
            study,
            missing,
            on_yield=self._advanced,
            on_error=self._workbench.fail,
            on_done=self._ended,
            owner=self,
        )
        self._workbench.set_job(JobLine(text="predict", stop=self._task.cancel))
        self.offer()

    def _advanced(self, progress: PredictionProgress) -> None:
        if self._task is not None:
            text, stop = f"predict {progress.title}", self._task.cancel
            self._workbench.set_job(JobLine(text, progress.fraction, progress.seconds_left, "running", stop))

    def _ended(self) -> None:
        self._task = None
        self._workbench.set_job(None)
        self.offer()
        self.ended.emit()
