"""Regions in the tab Pretext: where they come from, what they look like here, and how much of the study is prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.config_form import ConfigForm
from napari_ssl_seg.gui.region_show import RegionShow
from napari_ssl_seg.gui.region_weights import WeightsButton, WeightsPage
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.work_row import WorkRow
from napari_ssl_seg.gui.workers import LatestOnly
from napari_ssl_seg.workbench import sentence
from napari_ssl_seg.workbench.regions import auto_source, field_names, look, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel

    from napari_ssl_seg.methods import Method
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.regions import RegionsState

LOOK_MILLISECONDS = 300
"""How long the settings rest before the cache is looked at."""


class RegionBox(QFrame):
    """For methods that need regions.

    Signals
    -------
    changed(dict)
        The settings of regions, when the user changed one and all are within their bounds.
    prepared()
        More of the study is prepared than before; what depends on all of it may be known now.
    """

    changed = Signal(dict)
    prepared = Signal()

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._method: type[Method] | None = None
        self._all: dict[str, Any] = {}
        self.state: RegionsState | None = None
        mark(self, "card")
        self.head = QToolButton()
        self.head.setCheckable(True)
        self.head.setChecked(True)
        mark(self.head, "quiet")
        self.weights_button = WeightsButton()
        self.source_label = QLabel()
        self.source_label.setWordWrap(True)
        mark(self.source_label, "hint")
        self.weights = WeightsPage(workbench)
        self.form = ConfigForm(sliders=True)
        self.show_row = RegionShow(workbench, viewer)
        self.prepare_button = QPushButton("Prepare all scans")
        self.prepare_button.setToolTip(
            "Make the regions of every slice of the study now, in the background; training does it by itself otherwise"
        )
        self.work = WorkRow(workbench, self.prepare_button)
        self._looker = LatestOnly(
            lambda question: (question, look(*question)),
            self._looked,
            lambda error: self._problem(sentence(error)),
            delay=LOOK_MILLISECONDS,
            owner=self,
        )
        self._lay_out()
        self._connect()
        self._fold(True)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.head, 1, Qt.AlignmentFlag.AlignLeft)
        top.addWidget(self.weights_button)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(6)
        for widget in (self.form, self.show_row, self.work):
            body.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.source_label)
        layout.addWidget(self.weights)
        layout.addWidget(self.body)

    def _connect(self) -> None:
        self.head.toggled.connect(self._fold)
        self.form.changed.connect(self._edited)
        self.weights_button.file_asked.connect(self.weights.ask_for_file)
        self.weights_button.offer_asked.connect(self.weights.offer)
        self.weights.chosen.connect(self._use_weights)
        self.show_row.asked_without_weights.connect(self.weights.offer_type)
        self.prepare_button.clicked.connect(self.prepare)
        self.work.ended.connect(self._prepared)

    def _fold(self, open_: bool) -> None:
        self.head.setText(("▾ " if open_ else "▸ ") + "Regions")
        self.body.setVisible(open_)

    # -- settings -------------------------------------------------------------------------------------------------
    def set_method(self, method: type[Method], values: Mapping[str, Any] | None) -> None:
        """Show the settings of regions of a method that needs them, or go away."""
        self._method = method if method.needs.regions else None
        self.setVisible(self._method is not None)
        self.show_row.follow(False)
        if self._method is None:
            return
        self.form.set_model(method.Config, values, only=field_names())
        self._all = {**self.form.defaults(), **(values or {})}
        self._settings_changed()

    def values(self) -> dict[str, Any]:
        """The settings of regions; none where the method has no regions."""
        return self.form.values() if self._method is not None else {}

    def problem(self) -> str | None:
        """What is wrong with the settings."""
        return self.form.problem() if self._method is not None else None

    def set_others(self, values: Mapping[str, Any]) -> None:
        """The method's own settings, which preparing needs besides."""
        self._all.update(values)

    def _edited(self, values: dict[str, Any]) -> None:
        self._settings_changed()
        self.changed.emit(values)

    def _settings_changed(self) -> None:
        values = self.form.values()
        self._all.update(values)
        self.work.forget()
        self.form.set_meaning("source", {"auto": auto_source(values)})
        self.show_row.set_values(self._all)
        self.look_again()

    def _use_weights(self, model_type: str, path: str) -> None:
        values: dict[str, Any] = {"source": "sam", "checkpoint": path}
        if model_type:
            values["model_type"] = model_type
        self.form.set_values(values)
        self._edited(self.form.values())

    # -- study, case, slice ---------------------------------------------------------------------------------------
    def set_study(self, study: Study | None) -> None:
        """Another study: what goes on for the last one is stopped."""
        self.work.stop()
        self.work.forget()
        self.state = None
        self.show_row.forget()
        self.look_again()

    def follow(self, on: bool) -> None:
        """Whether the tab is looked at."""
        self.show_row.follow(on and self._method is not None)
        if on:
            self.look_again()

    def look_again(self) -> None:
        """See how much is prepared."""
        if self._method is not None and self._workbench.study is not None:
            self._looker.submit((self._workbench.study, dict(self._all)))

    def _looked(self, answer: tuple[tuple[Study, dict[str, Any]], RegionsState]) -> None:
        (study, values), state = answer
        if study is not self._workbench.study or self._method is None:
            return
        self.state = state
        if state.problem:
            self._problem(state.problem)
            return
        mark(self.source_label, "hint")
        self.source_label.setText(state.line)
        self.form.set_meaning(
            "source", {"auto": state.source if values.get("source") == "auto" else auto_source(values)}
        )
        if self.work.outcome == "stopped":
            self.work.say(f"Stopped. {state.progress_line}")
        elif self.work.outcome != "failed":  # why it failed stays to be read
            self.work.say(state.progress_line)
        self.prepare_button.setVisible(not state.complete and not self.work.busy)

    def _problem(self, text: str) -> None:
        mark(self.source_label, "error")
        self.source_label.setText(text)
        self.prepare_button.hide()

    @property
    def busy(self) -> bool:
        """Whether anything of it is at work."""
        return self.work.busy or self.weights.busy or self.show_row.busy or self._looker.busy

    # -- the whole study ------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Make the regions of all scans."""
        study, method = self._workbench.study, self._method
        if study is None or method is None or self.work.busy or self.problem() is not None:
            return
        self.prepare_button.hide()
        self.work.start("preparing all scans", prepare, study, method.name, dict(self._all))

    def _prepared(self, warnings: tuple[str, ...] | None) -> None:
        self.prepare_button.show()
        if warnings:
            self._workbench.say(" ".join(f"{text}." for text in warnings), "warning")
        self.look_again()
        self.prepared.emit()
