"""4 Compare: what the methods make of a case, beside each other, slice by slice, with their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QShortcut, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.compare_controls import ShowControls, SliceOrder
from napari_ssl_seg.gui.compare_files import ExportButton
from napari_ssl_seg.gui.compare_strip import CompareStrip
from napari_ssl_seg.gui.compare_view import CompareView
from napari_ssl_seg.gui.curves import plot_colors
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.method_list import MethodList, MethodRow
from napari_ssl_seg.gui.predict_bar import PredictBar
from napari_ssl_seg.gui.strip import StripDock
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.training.events import drain
from napari_ssl_seg.workbench.comparison import Comparison, mean_scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.compared_case import CaseComparison, Entry

FIRST_TICKED = 3
"""So many of the latest runs are ticked when nothing was chosen yet."""
BLINK_MILLISECONDS, RESIZED_MILLISECONDS = 800, 150


class CompareTab(QWidget):
    """The tab; `strip` belongs below the canvas. The viewer shows the comparison while the tab is in front."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self.comparison = Comparison()
        self.view = CompareView(viewer)
        self.strip = CompareStrip()
        self._case: CaseComparison | None = None
        self._active = False
        self._make()
        self._reader = workers.LatestOnly(self._read, self._show, self._failed, on_busy=self._busy, owner=self)
        self._scorer = workers.LatestOnly(self._score, self._scored, workbench.fail, owner=self)
        self._blink, self._settle, self._resized = QTimer(self), QTimer(self), QTimer(self)
        self._blink.setInterval(BLINK_MILLISECONDS)
        self._blink.timeout.connect(self.view.step_blink)
        self._settle.setSingleShot(True)
        self._resized.setSingleShot(True)
        self._resized.setInterval(RESIZED_MILLISECONDS)
        self._resized.timeout.connect(self.view.fit)
        self._settle.timeout.connect(self._visibility_changed)
        self.strip_dock = StripDock(self, self.strip, "Comparison", viewer, lambda: workbench.study is not None)
        self._connect()
        self._keys()
        self._theme_changed()
        self._study_changed(workbench.study)

    # -- making it ------------------------------------------------------------------------------------------------
    def _make(self) -> None:
        self.empty = QLabel()
        self.empty.setWordWrap(True)
        mark(self.empty, "hint")
        self.case_choice = ChoiceField([])
        self.case_choice.setToolTip("The scan to compare on; those of the test split were never trained on")
        self.list = MethodList()
        self.predicting = PredictBar(self._workbench, self.comparison)
        self.add_button = QPushButton("Add predictions …")
        self.add_button.setToolTip("A folder of label maps made elsewhere, named after the scans")
        mark(self.add_button, "quiet")
        self.export = ExportButton(self._workbench)
        self.status = QLabel()
        self.status.setWordWrap(True)
        mark(self.status, "hint")
        self.controls, self.order = ShowControls(), SliceOrder()
        case_row, buttons = QHBoxLayout(), QHBoxLayout()
        case_row.addWidget(QLabel("Scan"))
        case_row.addWidget(self.case_choice, 1)
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.export)
        buttons.addStretch(1)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(8)
        body.addLayout(case_row)
        body.addWidget(self.list, 2)
        body.addLayout(buttons)
        body.addWidget(self.predicting)
        body.addWidget(self.controls)
        body.addWidget(self.status)
        body.addWidget(self.order, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.empty)
        layout.addWidget(self.body, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        bench = self._workbench
        bench.study_changed.connect(self._study_changed)
        bench.case_changed.connect(self._case_changed)
        bench.runs_changed.connect(self._runs_changed)
        bench.shown_runs_changed.connect(self._shown_runs_changed)
        self.comparison.changed.connect(self._methods_changed)
        self.list.ticked.connect(self.comparison.choose)
        self.case_choice.edited.connect(self._case_chosen)
        self.controls.changed.connect(self._controls_changed)
        self.order.asked.connect(self.go_to)
        self.strip.plot.clicked.connect(lambda value: self.go_to(int(value)))
        self.predicting.ended.connect(lambda: self._request(scores=True))
        self.add_button.clicked.connect(self._add_folder)
        self._viewer.dims.events.current_step.connect(self._step_changed)
        self._viewer.dims.events.order.connect(self._order_changed)
        self._viewer.canvas.events.size.connect(lambda _event: self._resized.start() if isalive(self) else None)  # type: ignore[attr-defined]
        self._viewer.events.theme.connect(self._theme_changed)  # type: ignore[attr-defined]

    def _keys(self) -> None:
        keys = {
            "J": lambda: self.order.step(1),
            "K": lambda: self.order.step(-1),
            "G": self.toggle_grid,
            "H": self.blink,
        }
        for key, action in keys.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(action)

    # -- study, methods, case -------------------------------------------------------------------------------------
    def _study_changed(self, study: Study | None) -> None:
        self._case = None
        self._reader.drop()
        self.view.leave()
        self.comparison.open(study)
        self.controls.set_classes(self._workbench.scored)
        cases = sorted(self._workbench.cases, key=lambda case: (case.split != "test", case.label is None))
        refill(
            self.case_choice,
            [(f"{case.id}  ({case.split}{'' if case.label else ', no labels'})", case.id) for case in cases],
        )
        self.case_choice.setCurrentIndex(self.case_choice.findData(self._workbench.case_id))
        self.strip_dock.update()
        self._methods_changed()

    def _runs_changed(self) -> None:
        if self.comparison.study is self._workbench.study:
            self.comparison.refresh()

    def _shown_runs_changed(self, run_ids: Sequence[str]) -> None:
        if not {entry.key for entry in self.comparison.entries}.issuperset(run_ids):
            self.comparison.refresh()
        folders = [entry.key for entry in self.comparison.chosen if entry.run is None]
        self.comparison.choose([*run_ids, *folders])

    def _methods_changed(self) -> None:
        entries = self.comparison.entries
        has_study = self._workbench.study is not None
        self.empty.setText(
            "No run can segment yet: fine-tune one in the tab 3 Train, or add predictions made elsewhere."
            if has_study
            else "Open a study in the tab 1 Study; then compare what its runs make of a scan."
        )
        self.empty.setVisible(not has_study or not entries)
        self.body.setVisible(has_study)
        for widget in (self.list, self.controls, self.order):
            widget.setVisible(bool(entries))
        self._workbench.show_runs([entry.key for entry in self.comparison.chosen if entry.run is not None])
        self._fill_list()
        self._request(scores=True)

    def _fill_list(self) -> None:
        table, chosen = self.comparison.table, set(self.comparison.chosen)
        rows = []
        for entry in self.comparison.entries:
            scores = mean_scores(table, entry.key, self.controls.label.value())
            rows.append(
                MethodRow(
                    entry.key, entry.title, entry.color, entry in chosen, scores["dice"], scores["assd"], entry.key
                )
            )
        self.list.set_rows(rows)

    def _case_changed(self, case_id: str | None) -> None:
        self.case_choice.blockSignals(True)
        self.case_choice.setCurrentIndex(self.case_choice.findData(case_id))
        self.case_choice.blockSignals(False)
        self._request()

    def _case_chosen(self) -> None:
        if self.case_choice.value():
            self._workbench.open_case(self.case_choice.value())

    # -- being in front -------------------------------------------------------------------------------------------
    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._settle.start(0)

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        if not event.spontaneous():
            self._settle.start(0)

    def _visibility_changed(self) -> None:
        if self.isVisible() == self._active:
            return
        self._active = self.isVisible()
        if not self._active:
            self._blink.stop()
            self._reader.drop()
            self.view.leave()
            return
        self.comparison.refresh()
        self._propose()
        self._request(scores=True)

    def _propose(self) -> None:
        """Tick the latest runs and open a test scan where nothing was chosen: nothing is asked that can be known."""
        if not self.comparison.chosen and self.comparison.entries:
            self.comparison.choose([entry.key for entry in self.comparison.entries[-FIRST_TICKED:]])
        if self._workbench.case_id is None and self.comparison.entries and self.case_choice.count():
            self._workbench.open_case(self.case_choice.itemData(0))

    # -- reading and scoring, in a worker -------------------------------------------------------------------------
    def _request(self, *, scores: bool = False) -> None:
        if not self._active or self._workbench.study is None:
            return
        case_id, chosen = self._workbench.case_id, self.comparison.chosen
        if case_id is None or not chosen:
            self._reader.drop()
            self._show(None)
        else:
            self._reader.submit((case_id, chosen, self._axis()))
        if scores and self.comparison.entries:
            self._scorer.submit((self.comparison.entries, self.predicting.split))

    def _read(self, question: tuple[str, list[Entry], int]) -> CaseComparison:
        return self.comparison.read(*question)

    def _score(self, question: tuple[list[Entry], str]) -> ScoreTable:
        return drain(self.comparison.score_all(*question))

    def _scored(self, table: ScoreTable) -> None:
        self.comparison.table = table
        self.strip.table.set_table(table)
        self.export.set_table(table)
        self._fill_list()

    def _failed(self, error: Exception) -> None:
        self._show(None)
        self._workbench.fail(error)

    def _busy(self, busy: bool) -> None:
        if busy:
            self.status.setText("reading and scoring …")
            self.status.show()
        elif self._case is None or self.status.text() == "reading and scoring …":
            self._say_status()

    def _show(self, case: CaseComparison | None) -> None:
        if not self._active or (case is not None and case.case_id != self._workbench.case_id):
            return
        self._case = case
        if case is None:
            self.view.leave()
        else:
            if self._viewer.dims.ndisplay != 2:
                self._viewer.dims.ndisplay = 2
            self._draw()
        self._show_numbers()
        self._say_status()
        self.predicting.offer()

    def _draw(self) -> None:
        if self._case is not None:
            self.view.show(
                self._case,
                self._workbench.classes,
                mode=self.controls.mode,  # type: ignore[arg-type]
                errors=self.controls.errors.isChecked(),
                label=self.controls.label.value(),
            )
        self._blink.start() if self.controls.mode == "blink" and self._case is not None else self._blink.stop()

    def _show_numbers(self) -> None:
        label, metric = self.controls.label.value(), self.controls.metric.value()
        self.strip.show_case(self._case, metric, label, self.controls.label.currentText())
        self.order.show_case(self._case, metric, label)
        self.export.set_case(self._case)
        self._step_changed()

    def _say_status(self) -> None:
        case = self._case
        text = ""
        if self.comparison.entries and not self.comparison.chosen:
            text = "Tick the methods to compare."
        elif case is not None and case.reference is None:
            text = f"{case.case_id} has no labels: predictions can be looked at, and not scored."
        self.status.setText(text)
        self.status.setVisible(bool(text))

    # -- looking --------------------------------------------------------------------------------------------------
    def _controls_changed(self) -> None:
        self._draw()
        self._show_numbers()
        self._fill_list()

    def toggle_grid(self) -> None:
        """Side by side, or over each other."""
        self.controls.set_mode("overlay" if self.controls.mode == "side by side" else "side by side")

    def blink(self) -> None:
        """Blink; while blinking, the next method at once."""
        if self.controls.mode != "blink":
            self.controls.set_mode("blink")
        else:
            self._blink.stop()
            self.view.step_blink()

    def go_to(self, index: int) -> None:
        """Move the slider to a slice of the case."""
        case = self._case
        if case is not None:
            axis = self._viewer.dims.ndim - 3 + case.axis
            self._viewer.dims.set_point(axis, self._origin(case) + index * case.geometry.spacing[case.axis])

    def _step_changed(self, _event: Any = None) -> None:
        case = self._case
        if case is None or not self._active:
            self.strip.plot.set_cursor(None)
            return
        point = self._viewer.dims.point[self._viewer.dims.ndim - 3 + case.axis]
        self.strip.plot.set_cursor(float(round((point - self._origin(case)) / case.geometry.spacing[case.axis])))

    def _origin(self, case: CaseComparison) -> float:
        """World coordinate of slice 0, as the layers of the comparison have it."""
        from napari_ssl_seg.volumes import layer_kwargs

        return float(layer_kwargs(case.geometry)["translate"][case.axis])

    def _axis(self) -> int:
        """The axis of (z, y, x) that the slider moves along."""
        dims = self._viewer.dims
        hidden = [axis - (dims.ndim - 3) for axis in dims.not_displayed if axis >= dims.ndim - 3]
        return hidden[-1] if hidden else 0

    def _order_changed(self, _event: Any = None) -> None:
        if self._case is not None and self._axis() != self._case.axis:
            self._request()

    def _theme_changed(self, _event: object = None) -> None:
        self.strip.plot.set_colors(plot_colors(str(self._viewer.theme)))

    # -- files ----------------------------------------------------------------------------------------------------
    def _add_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with predictions, named after the scans")
        if folder:
            self.add_folder(folder)

    def add_folder(self, folder: str | Path) -> None:
        """Compare predictions that were made elsewhere."""
        try:
            self.comparison.add_folder(folder)
        except UserError as error:
            self._workbench.fail(error)
