"""4 Compare: what the methods make of a case, beside each other, slice by slice, with their scores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ssl_seg.gui.budget import refill
from napari_ssl_seg.gui.compare_closing import UnsavedGuard
from napari_ssl_seg.gui.compare_edit import Painting
from napari_ssl_seg.gui.compare_page import ComparePage, bind_keys
from napari_ssl_seg.gui.compare_slices import DIFFERENCE
from napari_ssl_seg.gui.compare_slider import CaseSlider, NoteKeeper
from napari_ssl_seg.gui.compare_sources import dropped_paths
from napari_ssl_seg.gui.compare_strip import CompareStrip
from napari_ssl_seg.gui.compare_view import CompareView
from napari_ssl_seg.gui.compare_work import CompareWork
from napari_ssl_seg.gui.curves import plot_colors
from napari_ssl_seg.gui.strip import StripDock
from napari_ssl_seg.workbench.compared_entry import MOST, REFERENCE
from napari_ssl_seg.workbench.comparison import Comparison
from napari_ssl_seg.workbench.rescoring import rescored
from napari_ssl_seg.workbench.slice_numbers import SliceNumbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.compared_case import CaseComparison

FIRST_TICKED = 3
"""So many of the latest runs are ticked when nothing was chosen yet."""
BLINK_MILLISECONDS, RESIZED_MILLISECONDS, RESTED_MILLISECONDS, FOLLOW_MILLISECONDS = 800, 150, 500, 100


class CompareTab(QWidget):
    """The tab; `strip` belongs below the canvas. The viewer shows the comparison while the tab is in front."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self.comparison = Comparison()
        self.view, self.strip = CompareView(viewer), CompareStrip()
        self._case: CaseComparison | None = None
        self._numbers: SliceNumbers | None = None
        self._notes, self._slider = NoteKeeper(workbench), CaseSlider(viewer)
        self._active = False
        self.page = ComparePage(workbench, self.comparison, viewer)
        self.empty, self.body, self.status = self.page.empty, self.page.body, self.page.status
        self.case_choice, self.list, self.predicting = self.page.case_choice, self.page.list, self.page.predicting
        self.add_button, self.export, self.controls = self.page.add_button, self.page.export, self.page.controls
        self.order, self.refused, self.edited = self.page.order, self.page.refused, self.page.edited
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.page, 1)
        self.work = CompareWork(self.comparison, self)
        self._reader = self.work.reader
        self.painting = Painting(viewer, self)
        self._blink = self._timer(self.view.step_blink, BLINK_MILLISECONDS, single=False)
        self._settle = self._timer(self._visibility_changed, 0)
        self._resized = self._timer(self.view.fit, RESIZED_MILLISECONDS)
        self._follow = self._timer(self._follow_slice, FOLLOW_MILLISECONDS)
        self._rested = self._timer(self._score_painted, RESTED_MILLISECONDS)
        self.strip_dock = StripDock(self, self.strip, "Comparison", viewer, lambda: workbench.study is not None)
        self.setAcceptDrops(True)
        self._connect()
        bind_keys(
            self,
            {
                "J": lambda: self.order.step(1),
                "K": lambda: self.order.step(-1),
                "G": self.toggle_grid,
                "H": self.blink,
                "W": self.controls.outlines.toggle,
                "Q": self._flag,
            },
        )
        self._theme_changed()
        self._study_changed(workbench.study)

    def _timer(self, call: Any, milliseconds: int, *, single: bool = True) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(single)
        timer.setInterval(milliseconds)
        timer.timeout.connect(call)
        return timer

    def _connect(self) -> None:
        bench, viewer, work = self._workbench, self._viewer, self.work
        bench.study_changed.connect(self._study_changed)
        bench.case_changed.connect(self._case_changed)
        bench.runs_changed.connect(self._runs_changed)
        bench.shown_runs_changed.connect(self._shown_runs_changed)
        self.comparison.changed.connect(self._methods_changed)
        work.read.connect(self._show)
        work.scored.connect(self._scored)
        work.rescored.connect(self._rescored)
        work.distances.connect(lambda case, _label: self._draw() if case is self._case else None)
        work.standings.connect(self.strip.table.set_standings)
        work.failed.connect(self._failed)
        work.busy.connect(self._busy)
        self.list.ticked.connect(self._ticked)
        self.case_choice.edited.connect(self.page.open_chosen)
        self.controls.changed.connect(self._controls_changed)
        self.order.asked.connect(self.go_to)
        self.order.noted.connect(lambda index, note: self._notes.write(self._case, index, note))
        self.order.order_changed.connect(lambda _order: self._controls_changed())
        self.painting.painted.connect(self._painted)
        self.edited.discarded.connect(lambda: self._discard_edits())
        self.unsaved = UnsavedGuard(
            self, viewer, self.comparison, self.edited.save, lambda: self._discard_edits(everywhere=True)
        )
        bench.add_guard(self.unsaved.may_leave)
        self.refused.resample.connect(self.comparison.bring_to_grid)
        self.strip.plot.clicked.connect(lambda value: self.go_to(int(value)))
        self.strip.case_asked.connect(bench.open_case)
        self.predicting.ended.connect(lambda: self._request(scores=True))
        viewer.dims.events.current_step.connect(self._step_changed)
        viewer.dims.events.order.connect(self._order_changed)
        viewer.dims.events.ndisplay.connect(self.view.outline)
        viewer.canvas.events.size.connect(lambda _event: self._resized.start() if isalive(self) else None)  # type: ignore[attr-defined]
        viewer.events.theme.connect(self._theme_changed)  # type: ignore[attr-defined]

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
        others = [entry.key for entry in self.comparison.chosen if entry.run is None]
        self.comparison.choose([*run_ids, *others])

    def _ticked(self, keys: list[str]) -> None:
        self.comparison.choose(keys)
        if len(keys) > MOST:
            self._fill_list()
            self._workbench.say(f"{MOST} methods are compared at a time; untick one first", "warning")

    def _methods_changed(self) -> None:
        has_study = self._workbench.study is not None
        self.page.show_state(has_study, bool(self.comparison.entries))
        self.controls.set_methods(self.comparison.chosen)
        self._workbench.show_runs([entry.key for entry in self.comparison.chosen if entry.run is not None])
        self._fill_list()
        self._request(scores=True)

    def _fill_list(self) -> None:
        self.page.fill_list(self.controls.label.value())

    def _case_changed(self, case_id: str | None) -> None:
        self.case_choice.blockSignals(True)
        self.case_choice.setCurrentIndex(self.case_choice.findData(case_id))
        self.case_choice.blockSignals(False)
        self.strip.set_case(case_id)
        self._request()

    # -- being in front -------------------------------------------------------------------------------------------
    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._settle.start()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        if not event.spontaneous():
            self._settle.start()

    def dragEnterEvent(self, event: Any) -> None:
        if self._workbench.study is not None and dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        event.acceptProposedAction()
        self.add_button.add_dropped(dropped_paths(event))

    def _visibility_changed(self) -> None:
        if self.isVisible() == self._active:
            return
        self._active = self.isVisible()
        if not self._active:
            self._blink.stop()
            self._reader.drop()
            self.view.leave()
            return
        self.work.warm_up()
        self.comparison.refresh()
        self._propose()
        self._request(scores=True)

    def _propose(self) -> None:
        """Tick the latest runs and open a test scan where nothing was chosen: nothing is asked that can be known."""
        if not self.comparison.chosen and self.comparison.entries:
            self.comparison.choose([entry.key for entry in self.comparison.entries[-FIRST_TICKED:]])
        if self._workbench.case_id is None and self.comparison.entries and self.case_choice.count():
            self._workbench.open_case(self.case_choice.itemData(0))

    # -- reading and scoring --------------------------------------------------------------------------------------
    def _request(self, *, scores: bool = False) -> None:
        if not self._active or self._workbench.study is None:
            return
        case_id, chosen = self._workbench.case_id, self.comparison.chosen
        if case_id is None or not chosen:
            self._reader.drop()
            self._show(None)
        else:
            self._reader.submit((case_id, chosen, self._slider.axis))
        if scores and self.comparison.entries:
            self.work.score(self.comparison.entries, self.predicting.split)

    def _scored(self, table: ScoreTable) -> None:
        self.comparison.table = table
        self.export.set_table(table)
        self._fill_list()
        self._show_table()

    def _show_table(self) -> None:
        colors = {entry.key: entry.color for entry in self.comparison.chosen}
        table = self.work.table_of(self.comparison.table, list(colors))
        label, metric = self.controls.label.value(), self.controls.metric.value()
        self.strip.show_table(table, metric, label, self.controls.label.currentText(), colors)

    def _failed(self, error: Exception) -> None:
        self._show(None)
        self._workbench.fail(error)

    def _busy(self, busy: bool) -> None:
        if busy:
            self.page.say(self.work.busy_words)
        elif self._case is None or self.status.text() in self.work.all_busy_words:
            self._say_status()

    def _show(self, case: CaseComparison | None) -> None:
        if not self._active or (case is not None and case.case_id != self._workbench.case_id):
            return
        self._case = case
        if case is None:
            self.view.leave()
        elif self._viewer.dims.ndisplay != 2 and not self.view.shown:
            self._viewer.dims.ndisplay = 2
        self.order.set_notes(self._notes.read(case))
        self._controls_changed()
        self._say_status()
        self.predicting.offer()

    def _draw(self) -> None:
        case, controls = self._case, self.controls
        if case is not None:
            extras, words = self.work.extras(case, controls.what.value(), controls.label.value(), controls.bar)
            with self.painting.paused():
                self.view.show(
                    case,
                    self._workbench.classes,
                    mode=controls.mode,  # type: ignore[arg-type]
                    what=controls.what.value(),
                    extras=extras,
                    words=words,
                    outlined=controls.outlines.isChecked(),
                    pair=controls.pair,
                    numbers=self._numbers,
                    index=self._slider.here(case),
                )
            self.painting.watch(self.view.cells)
        self._blink.start() if controls.mode == "blink" and case is not None else self._blink.stop()

    def _controls_changed(self) -> None:
        label, metric = self.controls.label.value(), self.controls.metric.value()
        self.controls.show_pair(self.order.order.value() == DIFFERENCE)
        self._numbers = None if self._case is None else SliceNumbers.of(self._case, metric, label)
        self._draw()
        self._show_numbers()
        self._fill_list()
        self._show_table()

    def _show_numbers(self) -> None:
        label, metric = self.controls.label.value(), self.controls.metric.value()
        self.strip.show_case(self._case, metric, label, self.controls.label.currentText())
        self.order.show_case(self._case, metric, label, self.controls.pair)
        self.export.set_case(self._case)
        self._step_changed()

    def _say_status(self) -> None:
        case = self._case
        text = ""
        if self.comparison.entries and not self.comparison.chosen:
            text = "Tick the methods to compare."
        elif case is not None and case.reference is None:
            text = f"{case.case_id} has no labels: predictions can be looked at, and not scored."
        self.page.say(text)
        self.refused.show_case(case)
        self.edited.show_edited(None if case is None else case.case_id)

    # -- looking --------------------------------------------------------------------------------------------------
    def toggle_grid(self) -> None:
        """Side by side, or over each other."""
        self.controls.set_mode("overlay" if self.controls.mode == "side by side" else "side by side")

    def blink(self) -> None:
        """Blink; while blinking, the other one at once."""
        if self.controls.mode != "blink":
            self.controls.set_mode("blink")
        else:
            self._blink.stop()
            self.view.step_blink()

    def go_to(self, index: int) -> None:
        """Move the slider to a slice of the case."""
        if self._case is not None:
            self._slider.go_to(self._case, index)

    def _step_changed(self, _event: Any = None) -> None:
        case = self._case
        if case is None or not self._active:
            self.strip.plot.set_cursor(None)
            self.order.set_slice(None)
            return
        self.view.set_slice(self._slider.here(case))
        if not self._follow.isActive():  # drawing the curve costs as much as the move itself
            self._follow_slice()
            self._follow.start()

    def _follow_slice(self) -> None:
        """What follows a slider in motion ten times a second: the curve's cursor, and whose flag and note are shown."""
        if self._case is not None and self._active:
            index = self._slider.here(self._case)
            self.strip.plot.set_cursor(float(index))
            self.order.set_slice(index)

    def _flag(self) -> None:
        self._follow_slice()
        self.order.toggle_flag()

    def _order_changed(self, _event: Any = None) -> None:
        if self._case is not None and self._slider.axis != self._case.axis:
            self._request()

    def _theme_changed(self, _event: object = None) -> None:
        self.strip.plot.set_colors(plot_colors(str(self._viewer.theme)))

    # -- painting -------------------------------------------------------------------------------------------------
    def _painted(self, key: str) -> None:
        """The slice that is shown was painted on: score it now, and the volume when the hand rests."""
        case = self._case
        group = next((group for group in self.view.cells if group.cell.key == key), None)
        if case is None or group is None:
            return
        labels = group.labels.data
        self.comparison.edits.keep(case.case_id, key, labels, title=group.cell.title, geometry=case.geometry)
        self._case = (
            rescored(case, group.cell.method, labels, self._slider.here(case))
            if self.work.warm
            else replace(case, reference=labels if key == REFERENCE else case.reference)
        )
        self._numbers = SliceNumbers.of(self._case, self.controls.metric.value(), self.controls.label.value())
        self.view.set_numbers(self._case, self._numbers)
        self._rested.start()

    def _score_painted(self) -> None:
        if self._case is not None:
            self._show_numbers()
            self.edited.show_edited(self._case.case_id)
            self.work.rescore(self._case)

    def _rescored(self, before: CaseComparison, after: CaseComparison) -> None:
        if before is self._case:  # else it was painted on again
            self._case = after
            self._controls_changed()

    def _discard_edits(self, *, everywhere: bool = False) -> None:
        self.painting.forget()
        self.comparison.forget_edits(None if everywhere or self._case is None else self._case.case_id)
