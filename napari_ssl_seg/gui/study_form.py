"""What is asked, once, before a study is made from a folder: labels, split, name and place. Everything is filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.importing import free_place
from napari_ssl_seg.workbench.words import SPLITS, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ssl_seg.workbench.importing import ImportPlan


class StudyForm(QWidget):
    """Emits ``accepted(plan)`` or ``cancelled()``; ``refused(sentence)`` where something does not fit."""

    accepted = Signal(object)
    cancelled = Signal()
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plan: ImportPlan | None = None
        self.heading = QLabel("New study")
        mark(self.heading, "heading")
        self.scans_label = QElidingLabel()
        self.scans_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.scans_count = QLabel()
        mark(self.scans_count, "hint")
        self.labels_edit = QLineEdit()
        self.labels_edit.setPlaceholderText("none: pretrain only, label later")
        self.labels_edit.setClearButtonEnabled(True)
        self.labels_edit.setToolTip("Folder of the label maps; each is paired with the scan of the same file name")
        self.labels_count = QLabel()
        self.labels_count.setWordWrap(True)
        mark(self.labels_count, "hint")
        self.name_edit = QLineEdit()
        self.where_edit = QLineEdit()
        self.where_edit.setToolTip("The study's own folder; your scans stay where they are and are never changed")
        self.split_boxes = [QSpinBox() for _ in SPLITS]
        self.create_button = QPushButton("Create study")
        mark(self.create_button, "primary")
        self.cancel_button = QPushButton("Cancel")
        mark(self.cancel_button, "quiet")
        self._lay_out()
        self.labels_edit.editingFinished.connect(self._labels_edited)
        self.labels_edit.textChanged.connect(lambda text: None if text else self._labels_edited())
        self.name_edit.textEdited.connect(self._name_edited)
        self.create_button.clicked.connect(self._accept)
        self.cancel_button.clicked.connect(self.cancelled)

    def _lay_out(self) -> None:
        split = QHBoxLayout()
        split.setSpacing(4)
        for box, name in zip(self.split_boxes, SPLITS, strict=True):
            box.setRange(0, 100)
            box.setSuffix(" %")
            box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            box.setAlignment(Qt.AlignmentFlag.AlignRight)
            box.setMinimumWidth(56)
            box.setToolTip(f"Share of the scans for {name}; scans of one patient stay together")
            box.setAccessibleName(f"{name} share")
            column = QVBoxLayout()
            column.setSpacing(1)
            caption = QLabel(name)
            mark(caption, "hint")
            column.addWidget(caption)
            column.addWidget(box)
            split.addLayout(column)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setVerticalSpacing(6)
        form.addRow("Scans", _stacked(self.scans_label, self.scans_count))
        form.addRow("Labels", _stacked(_with_browse(self.labels_edit, self._browse_labels), self.labels_count))
        form.addRow("Split", split)
        form.addRow("Name", self.name_edit)
        form.addRow("Where", _with_browse(self.where_edit, self._browse_where))
        buttons = QHBoxLayout()
        buttons.addWidget(self.create_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.heading)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addStretch(1)

    # -- what is shown --------------------------------------------------------------------------------------------
    def show_plan(self, plan: ImportPlan) -> None:
        """Fill the form in."""
        self.plan = plan
        self.scans_label.setText(str(plan.images))
        self.scans_label.setToolTip(str(plan.images))
        self.scans_count.setText(f"{count(plan.image_count, 'scan')} found")
        self.labels_edit.setText(str(plan.labels) if plan.labels is not None else "")
        self.name_edit.setText(plan.name)
        self.where_edit.setText(str(plan.where))
        for box, share in zip(self.split_boxes, plan.split, strict=True):
            box.setValue(share)
        self._say_labels()
        self.create_button.setFocus()

    def _say_labels(self) -> None:
        plan = self.plan
        if plan is None:
            return
        if plan.labels is None:
            self.labels_count.setText("no labels: enough for pretraining")
        else:
            self.labels_count.setText(f"{count(plan.label_count, 'scan')} labelled, paired by name")

    # -- what the user does ---------------------------------------------------------------------------------------
    def _labels_edited(self) -> None:
        if self.plan is None:
            return
        text = self.labels_edit.text().strip()
        labels = Path(text).expanduser() if text else None
        if labels == self.plan.labels:
            return
        try:
            self.plan = self.plan.with_labels(labels)
        except UserError as error:
            self.refused.emit(str(error))
            return
        self._say_labels()

    def _name_edited(self, name: str) -> None:
        if self.plan is not None and name.strip() and "/" not in name and "\\" not in name:
            self.where_edit.setText(str(free_place(self.plan.where.parent, name.strip())))

    def _browse_labels(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the label maps", self.labels_edit.text())
        if chosen:
            self.labels_edit.setText(chosen)
            self._labels_edited()

    def _browse_where(self) -> None:
        here = Path(self.where_edit.text())
        chosen = QFileDialog.getExistingDirectory(self, "Where the study's folder goes", str(here.parent))
        if chosen:
            self.where_edit.setText(str(free_place(Path(chosen), self.name_edit.text().strip() or "study")))

    def _accept(self) -> None:
        if self.plan is None:
            return
        self._labels_edited()
        train, validation, test = (box.value() for box in self.split_boxes)
        shares = (train, validation, test)
        if sum(shares) != 100:
            self.refused.emit(f"the split adds up to {sum(shares)} %; make train, validation and test add up to 100 %")
            return
        where = Path(self.where_edit.text().strip()).expanduser()
        if not self.where_edit.text().strip() or (where.exists() and (not where.is_dir() or any(where.iterdir()))):
            self.refused.emit(f"{where} is in use already; name a folder that is empty or not there yet")
            return
        self.accepted.emit(
            replace(self.plan, name=self.name_edit.text().strip() or where.name, where=where, split=shares)
        )


def _stacked(*widgets: QWidget) -> QVBoxLayout:
    layout = QVBoxLayout()
    layout.setSpacing(1)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def _with_browse(edit: QLineEdit, browse: Callable[..., None]) -> QWidget:
    button = QToolButton()
    button.setText("…")
    button.setToolTip("Choose a folder")
    button.setAccessibleName("Choose a folder")
    button.clicked.connect(browse)
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    layout.addWidget(edit, 1)
    layout.addWidget(button)
    return row
