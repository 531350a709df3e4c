"""What stands where on the Label tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.label_classes import ClassList
from napari_ssl_seg.gui.label_files import FilesRow
from napari_ssl_seg.gui.label_next import NextBox
from napari_ssl_seg.gui.label_tools import ProposalBox, SliceBox, ToolBox
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_STUDY = "Open a study in the tab 1 Study; then draw on its scans, and let a run tell which slice is worth it next."
NO_CASE = "Open a scan (double click in the tab 1 Study, or N), or let one be suggested below."
READING = "Reading the labels of {case} …"


class LabelPage(QWidget):
    """The parts of the tab, from the classes down to what is next."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self.empty = QLabel()
        self.empty.setWordWrap(True)
        mark(self.empty, "hint")
        self.read_only = QFrame()
        self.why = QLabel()
        self.why.setWordWrap(True)
        mark(self.why, "problem")
        self.take_over = QPushButton("Take over")
        self.take_over.setToolTip("Label here; possible once the other window is closed or gone")
        row = QVBoxLayout(self.read_only)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.why)
        buttons = QHBoxLayout()
        buttons.addWidget(self.take_over)
        buttons.addStretch(1)
        row.addLayout(buttons)
        self.classes = ClassList()
        self.tools, self.proposal, self.slice = ToolBox(keys), ProposalBox(keys), SliceBox(keys)
        self.next, self.files = NextBox(keys), FilesRow()
        self.drawing = QWidget()
        drawing = QVBoxLayout(self.drawing)
        drawing.setContentsMargins(0, 0, 0, 0)
        drawing.setSpacing(8)
        for part in (self.classes, self.tools, self.proposal, self.slice):
            drawing.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for part in (self.empty, self.read_only, self.drawing, self.next, self.files):
            layout.addWidget(part)
        layout.addStretch(1)
        self.show_state(has_study=False, reading=None, ready=False)
        self.show_read_only("")

    def show_state(self, *, has_study: bool, reading: str | None, ready: bool) -> None:
        """Show what there is to do something with; ``reading`` is the scan whose labels are being read."""
        text = NO_STUDY if not has_study else READING.format(case=reading) if reading else NO_CASE
        self.empty.setText("" if ready else text)
        self.empty.setVisible(not ready)
        self.drawing.setVisible(ready)
        self.next.setVisible(has_study)
        self.files.setVisible(ready)

    def show_read_only(self, why: str) -> None:
        """Say why labels cannot be changed; nothing hides it."""
        sentence = why[:1].upper() + why[1:]
        self.why.setText(sentence if not sentence or sentence.endswith(".") else f"{sentence}.")
        self.read_only.setVisible(bool(why))
        for part in (self.tools, self.proposal):
            part.setEnabled(not why)
        self.classes.add_button.setEnabled(not why)
