"""What stands where on the Compare tab, and its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QLabel, QShortcut, QVBoxLayout, QWidget

from napari_ssl_seg.gui.compare_controls import ShowControls
from napari_ssl_seg.gui.compare_edit import EditedBox
from napari_ssl_seg.gui.compare_files import ExportButton
from napari_ssl_seg.gui.compare_slices import SliceOrder
from napari_ssl_seg.gui.compare_sources import AddButton, RefusedBox
from napari_ssl_seg.gui.comparison_job import ComparisonJob
from napari_ssl_seg.gui.fields import ChoiceField
from napari_ssl_seg.gui.method_list import MethodList, MethodRow
from napari_ssl_seg.gui.predict_bar import PredictBar
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.comparison import mean_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.comparison import Comparison


class ComparePage(QWidget):
    """The parts of the tab, from the scan down to its slices."""

    def __init__(self, workbench: Workbench, comparison: Comparison, viewer: ViewerModel) -> None:
        super().__init__()
        self._workbench, self._comparison = workbench, comparison
        self.empty, self.status = QLabel(), QLabel()
        for label in (self.empty, self.status):
            label.setWordWrap(True)
            mark(label, "hint")
        self.case_choice = ChoiceField([])
        self.case_choice.setToolTip("The scan to compare on; those of the test split were never trained on")
        self.list = MethodList()
        self.predicting = PredictBar(workbench, comparison)
        self.add_button, self.export = AddButton(workbench, comparison, viewer), ExportButton(workbench)
        self.controls, self.order = ShowControls(), SliceOrder()
        self.refused, self.edited = RefusedBox(), EditedBox(workbench, comparison)
        self.job = ComparisonJob(workbench)
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
        body.addWidget(self.job)
        for part in (self.predicting, self.refused, self.controls, self.status, self.edited):
            body.addWidget(part)
        body.addWidget(self.order, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.empty)
        layout.addWidget(self.body, 1)
        layout.addStretch(0)

    def show_state(self, has_study: bool, has_methods: bool) -> None:
        """Show what there is to do something with."""
        self.empty.setText(
            "No run can segment yet: fine-tune one in the tab 3 Train, or add predictions made elsewhere."
            if has_study
            else "Open a study in the tab 1 Study; then compare what its runs make of a scan."
        )
        self.empty.setVisible(not has_study or not has_methods)
        self.body.setVisible(has_study)
        for widget in (self.list, self.controls, self.order):
            widget.setVisible(has_methods)

    def fill_list(self, label: int | None) -> None:
        """Every method with its tick, its colour and its mean scores of a label, or of all."""
        comparison = self._comparison
        chosen = {entry.key for entry in comparison.chosen}
        rows = []
        for entry in comparison.entries:
            scores = mean_scores(comparison.table, entry.key, label)
            note = f"{entry.key}\nbrought to the scan's grid" if comparison.is_resampled(entry.key) else entry.key
            ticked = entry.key in chosen
            rows.append(MethodRow(entry.key, entry.title, entry.color, ticked, scores["dice"], scores["assd"], note))
        self.list.set_rows(rows)

    def open_chosen(self) -> None:
        """Open the scan that was chosen."""
        if self.case_choice.value():
            self._workbench.open_case(self.case_choice.value())

    def say(self, text: str) -> None:
        """One sentence below the controls; an empty one hides it."""
        self.status.setText(text)
        self.status.setVisible(bool(text))


def bind_keys(tab: QWidget, keys: Mapping[str, Callable[[], object]]) -> None:
    """Keys that work in the whole window while the tab is in front; none of them is one of napari's."""
    for key, action in keys.items():
        shortcut = QShortcut(QKeySequence(key), tab)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(lambda action=action: action())
