"""The curve of label efficiency: read for the strip, by slices or by minutes, and chance beside it where it was simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_ssl_seg.gui import workers
from napari_ssl_seg.workbench import JobLine
from napari_ssl_seg.workbench import labelling_next as next_

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_ssl_seg.gui.label_strip import LabelStrip
    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.workbench import Workbench


class EfficiencyCurve(QObject):
    """Keeps the strip's curve up to date."""

    def __init__(self, workbench: Workbench, strip: LabelStrip, tab: QWidget) -> None:
        super().__init__(tab)
        self._workbench, self._strip = workbench, strip
        self._task: workers.Task | None = None
        strip.chance.clicked.connect(self.simulate)

    def show(self) -> None:
        """Read the curve (in a worker) and show it."""
        study = self._workbench.study
        if study is not None:
            workers.run(
                next_.efficiency_points,
                study,
                on_result=self._strip.show_efficiency,
                on_error=lambda _error: None,
                owner=self,
            )

    def clear(self) -> None:
        """Another study."""
        if self._task is not None:
            self._task.cancel()
        self._strip.show_efficiency(next_.Efficiency())

    def simulate(self) -> None:
        """Train on random slices of those that are labelled, to see what chance would have reached."""
        study = self._workbench.study
        if study is None or self._task is not None:
            return
        self._strip.chance.setEnabled(False)
        self._task = workers.run(
            next_.simulate_chance,
            study,
            on_yield=self._advanced,
            on_result=lambda _points: self.show(),
            on_error=self._workbench.fail,
            on_done=self._ended,
            owner=self,
        )
        self._workbench.set_job(JobLine("what chance would have reached", stop=self._task.cancel))

    def _advanced(self, event: Event) -> None:
        if self._task is not None and event.kind == "step":
            step, total = event.data.get("step", 0), event.data.get("total") or 1
            words = "what chance would have reached"
            self._workbench.set_job(
                JobLine(words, step / total, event.data.get("seconds_left"), stop=self._task.cancel)
            )

    def _ended(self) -> None:
        self._task = None
        self._strip.chance.setEnabled(True)
        self._workbench.set_job(None)
