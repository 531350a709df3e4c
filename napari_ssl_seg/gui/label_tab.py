"""5 Label: draw, let regions and runs help, and be told what is worth it next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.curves import plot_colors
from napari_ssl_seg.gui.label_actions import LabelActions
from napari_ssl_seg.gui.label_classes import ClassRow
from napari_ssl_seg.gui.label_closing import LabelsGuard
from napari_ssl_seg.gui.label_effort import EffortLog
from napari_ssl_seg.gui.label_keys import Keys, free_keys
from napari_ssl_seg.gui.label_layer import LabelLayer
from napari_ssl_seg.gui.label_page import LabelPage
from napari_ssl_seg.gui.label_regions import RegionTool
from napari_ssl_seg.gui.label_rounds import Rounds
from napari_ssl_seg.gui.label_strip import LabelStrip
from napari_ssl_seg.gui.strip import StripDock
from napari_ssl_seg.gui.workers import LatestOnly
from napari_ssl_seg.workbench import labelling_states as states_
from napari_ssl_seg.workbench.labelling import Labelling
from napari_ssl_seg.workbench.labelling_case import OpenStore, open_store, read_labels
from napari_ssl_seg.workbench.labelling_next import NextToLabel

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling_case import LabelledCase

SAVED_MILLISECONDS, COUNT_MILLISECONDS = 1000, 150


class _Bridge(QObject):
    """What the writer says in its thread, heard in the window's."""

    problem = Signal(str)
    recovered = Signal()


class LabelTab(QWidget):
    """The tab; `strip` belongs below the canvas."""

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench, self._viewer = workbench, viewer
        self.labelling, self.following = Labelling(), NextToLabel()
        self.keys = Keys(self, free_keys())
        self.page, self.strip = LabelPage(self.keys.keys), LabelStrip()
        self.layer = LabelLayer(viewer, workbench, self.labelling, self)
        self.region = RegionTool(viewer, workbench, self.labelling, self.layer, self)
        self.rounds = Rounds(workbench, self.labelling, self.following, self)
        self.actions = LabelActions(self)
        self.effort = EffortLog(workbench, viewer, self.labelling, self.layer, self.strip.effort, self)
        self._problem = ""
        self._hidden: set[int] = set()
        self._shown_case: str | None = None
        self._opening: workers.Task | None = None
        self._reader = LatestOnly(self._read, self._show_case, self._failed, owner=self)
        self._bridge = _Bridge(self)
        self._saved_timer, self._count_timer = QTimer(self), QTimer(self)
        self._saved_timer.setInterval(SAVED_MILLISECONDS)
        self._count_timer.setInterval(COUNT_MILLISECONDS)
        self._count_timer.setSingleShot(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.page)
        self.closing = LabelsGuard(self, self.labelling, self.settle)
        self.strip_dock = StripDock(self, self.strip, "Labelling", viewer, lambda: workbench.study is not None)
        labelling = self.labelling
        self.destroyed.connect(lambda: labelling.close())  # a script's viewer is gone, and the program goes on
        self._connect()
        self._theme_changed()
        self._study_changed(workbench.study)

    def _connect(self) -> None:
        bench, hand = self._workbench, self.labelling
        bench.study_changed.connect(self._study_changed)
        bench.case_changed.connect(self._case_changed)
        bench.case_shown.connect(self._case_shown)
        bench.slice_changed.connect(self._slice_changed)
        bench.runs_changed.connect(self.actions.offer_runs)
        hand.labels_changed.connect(self._labels_changed)
        hand.states_changed.connect(self._states_changed)
        hand.hand_changed.connect(self._hand_changed)
        hand.blocked.connect(lambda text: bench.say(text, "warning"))
        self.following.changed.connect(lambda: self.page.next.show_next(self.following))
        self._bridge.problem.connect(self._said_problem)
        self._bridge.recovered.connect(self._recovered)
        self._saved_timer.timeout.connect(self._show_saved)
        self._count_timer.timeout.connect(self._show_classes)
        self.strip.band.clicked.connect(bench.set_slice)
        self.page.take_over.clicked.connect(self.take_over)
        self._viewer.events.theme.connect(self._theme_changed)  # type: ignore[attr-defined]
        self._viewer.layers.events.removed.connect(self._layer_removed)
        self.actions.connect()

    def train_with(self, train_tab: Callable[[], Any]) -> None:
        """Where rounds queue their runs: a call that gives the Train tab."""
        self.rounds.train_with(train_tab)

    # -- study and store ------------------------------------------------------------------------------------------
    def _study_changed(self, study: Study | None) -> None:
        self.finish()
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        self._reader.drop()
        self.labelling.close()
        self.following.show([])
        self._problem, self._hidden = "", set()
        self.actions.study_changed(study)
        self.strip_dock.update()
        self.page.show_read_only("")
        self._show_state()
        self._show_saved()
        if self.isVisible():
            self._open()

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        QTimer.singleShot(0, self._open)

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        if not event.spontaneous():
            self.region.take(False)
            self.actions.put_down()
            self.labelling.clock.pause()

    def _open(self) -> None:
        """The tab is in front: open the store, and the labels of the open scan."""
        study = self._workbench.study
        if not isalive(self) or study is None or not self.isVisible():
            return
        if self.labelling.opened is None:
            if self._opening is None:
                self._opening = workers.run(
                    open_store, study, on_result=self._opened, on_error=self._failed, on_done=self._ended, owner=self
                )
        elif self.labelling.case is None or not self.layer.alive:
            self._read_case()
        else:
            self.layer.select()
        self._show_state()

    def _ended(self) -> None:
        self._opening = None

    def _opened(self, opened: OpenStore) -> None:
        if opened.study is not self._workbench.study:
            if opened.writer is not None:
                opened.writer.close()
            opened.store.close()
            return
        self.labelling.open(opened)
        self._listen()
        if opened.store.restored:
            text = opened.store.restored
            self._workbench.say(text[:1].upper() + text[1:], "warning")  # it stays until it is put away
        self._show_writable()
        self.effort.show()
        self.actions.efficiency.show()
        self._read_case()

    def _listen(self) -> None:
        writer = self.labelling.opened.writer if self.labelling.opened is not None else None
        if writer is not None:
            writer.problem.connect(self._bridge.problem.emit)
            writer.recovered.connect(self._bridge.recovered.emit)
        self._saved_timer.start()

    def take_over(self) -> None:
        """Label here, where another window did that is gone."""
        if self.labelling.take_over():
            self._listen()
            self._workbench.say("Labels are drawn here now.")
            self.read_again()  # the other window may have drawn since
        else:
            self._workbench.say(self.labelling.why_read_only, "warning")
        self._show_writable()

    def _show_writable(self) -> None:
        self.page.show_read_only(self.labelling.why_read_only)
        self.page.tools.set_writable(self.labelling.writable)
        self.layer.set_editable(self.labelling.writable)
        self._show_saved()

    def _failed(self, error: Exception) -> None:
        self._workbench.fail(error)
        self._show_state()

    # -- saved, or not --------------------------------------------------------------------------------------------
    def _said_problem(self, text: str) -> None:
        self._problem = text
        text = text[:1].upper() + text[1:].rstrip(".")
        self._workbench.say(f"{text}. What you draw is kept in memory and saved when that is possible again.", "error")
        self._show_saved()

    def _recovered(self) -> None:
        self._problem = ""
        self._workbench.say("Labels can be saved again, and were.")
        self._show_saved()

    def _show_saved(self) -> None:
        if self.labelling.opened is None:
            self._saved_timer.stop()
        words = "not saved" if self._problem else self.labelling.saved_words()
        self._workbench.note(words, "error" if self._problem else "info")

    def settle(self) -> None:
        """Hand over what was not heard of yet; before the window is left, perhaps."""
        self.layer.settle()
        self.labelling.keep_effort()

    def finish(self) -> None:
        """The scan is left: what was proposed is no more, and the layer is no longer heard."""
        self.actions.proposing.show(None)
        self.layer.leave()
        self.labelling.keep_effort()

    # -- case -----------------------------------------------------------------------------------------------------
    def _case_changed(self, _case_id: str | None) -> None:
        self.region.take(False)
        self.actions.put_down()
        self.finish()
        self._reader.drop()
        self._shown_case = None
        self.labelling.show_case(None)
        self._show_state()

    def _case_shown(self, case_id: str) -> None:
        self._shown_case = case_id
        if self.isVisible():
            self._read_case()

    def _read_case(self) -> None:
        case_id = self._shown_case or self._image_case()
        opened = self.labelling.opened
        if opened is not None and case_id is not None and case_id == self._workbench.case_id:
            self._shown_case = case_id
            self._reader.submit((opened, case_id), now=True)
        self._show_state()

    def read_again(self) -> None:
        """The store holds other labels than the layer: take those, and forget what could be undone."""
        self.finish()
        self.layer.remove()
        self._read_case()

    def _image_case(self) -> str | None:
        """The case whose scan is in the viewer since before the tab was made."""
        from napari_ssl_seg.gui import layers as layers_

        tags = [layers_.layer_tag(layer) or {} for layer in layers_.own_layers(self._viewer, group="case")]
        return next((tag.get("case") for tag in tags if tag.get("role") == "image"), None)

    def _read(self, question: tuple[OpenStore, str]) -> tuple[OpenStore, LabelledCase]:
        return question[0], read_labels(*question)

    def _show_case(self, answer: tuple[OpenStore, LabelledCase]) -> None:
        opened, case = answer
        if opened.study is not self._workbench.study or case.case_id != self._shown_case:
            return
        self.labelling.show_case(case)
        self.layer.show(case, editable=self.labelling.writable)
        self._hidden &= set(self.page.classes.values)
        self._show_state()
        self._show_classes()
        self._states_changed()
        self.actions.case_opened(case.case_id)

    def _layer_removed(self, event: Any) -> None:
        if isalive(self) and self.layer.layer is not None and event.value is self.layer.layer:
            self.finish()
            self.labelling.show_case(None)
            self._show_state()

    @property
    def busy(self) -> bool:
        """Whether labels are being opened or read."""
        return self._opening is not None or self._reader.busy

    def _show_state(self) -> None:
        has_study, ready = self._workbench.study is not None, self.labelling.case is not None
        reading = self._workbench.case_id if has_study and not ready and self.busy else None
        self.page.show_state(has_study=has_study, reading=reading, ready=ready)

    # -- what is shown --------------------------------------------------------------------------------------------
    def _slice_changed(self, _index: int) -> None:
        self.region.ask()
        self._states_changed()
        self._count_timer.start()
        self.effort.moved()

    def _labels_changed(self, slices: tuple[int, ...]) -> None:
        if not isalive(self):
            return
        self._count_timer.start()
        self._show_saved()
        for z in slices:
            self.following.drop(self._workbench.case_id or "", z)

    def _states_changed(self) -> None:
        if not isalive(self):
            return
        states, here = self.labelling.states, self._workbench.slice_index
        self.strip.show_states(states, here)
        state = int(states[here]) if 0 <= here < len(states) else states_.UNLABELLED
        self.page.slice.show_state(
            states_.state_line(states, here),
            checked=state == states_.CHECKED,
            flagged=state == states_.FLAGGED,
            writable=self.labelling.writable,
        )
        self.actions.states_changed()

    def _hand_changed(self) -> None:
        if not isalive(self):
            return
        self.page.tools.overwrite.setChecked(self.labelling.overwrite)
        self._show_classes()

    def _show_classes(self) -> None:
        case, here = self.labelling.case, self._workbench.slice_index
        if case is None or not isalive(self):
            return
        self._add_unknown()
        rows = [
            ClassRow(
                item.value,
                item.name,
                item.color,
                self.keys.keys.get(f"class {place}", ""),
                case.voxels(item.value, here) if here < len(case.states) else 0,
                case.voxels(item.value),
                item.value in self.labelling.protected,
                item.value not in self._hidden,
                item.lesion,
            )
            for place, item in enumerate(self._workbench.classes, start=1)
        ]
        self.page.classes.set_rows(rows, self.labelling.value)

    def _add_unknown(self) -> None:
        """A class that was drawn and has no name yet gets one."""
        case, known = self.labelling.case, {item.value for item in self._workbench.classes}
        if case is None or not self.labelling.writable:
            return
        drawn = np.flatnonzero(case.counts.sum(axis=0))
        for value in drawn.tolist():
            if value and value not in known:
                self.actions.change_class(int(value))

    def hide_class(self, value: int, hidden: bool) -> None:
        """Let a class be seen in the viewer, or not."""
        self._hidden = self._hidden | {value} if hidden else self._hidden - {value}
        self.layer.recolour(self._hidden)
        self._show_classes()

    def recolour(self) -> None:
        """Classes have changed."""
        self.layer.recolour(self._hidden)
        self._show_classes()

    def _theme_changed(self, _event: Any = None) -> None:
        if isalive(self):
            self.strip.plot.set_colors(plot_colors(str(self._viewer.theme)))  # type: ignore[attr-defined]
