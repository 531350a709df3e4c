"""The samples: phantoms that come along, and public sets with size and licence before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench.samples import list_samples

if TYPE_CHECKING:
    from napari_ssl_seg.workbench.samples import Sample


class SamplePage(QWidget):
    """Emits ``chosen(Sample)`` or ``cancelled()``."""

    chosen = Signal(object)
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        heading = QLabel("Try a sample")
        mark(heading, "heading")
        self.list = QListWidget()
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.about.setOpenExternalLinks(True)
        self.use_button = QPushButton("Make a study of it")
        mark(self.use_button, "primary")
        self.cancel_button = QPushButton("Cancel")
        mark(self.cancel_button, "quiet")
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button, 1)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (heading, self.list, self.about):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        layout.addStretch(1)
        self.list.currentItemChanged.connect(self._show)
        self.list.itemDoubleClicked.connect(lambda _: self._use())
        self.use_button.clicked.connect(self._use)
        self.cancel_button.clicked.connect(self.cancelled)

    def fill(self) -> None:
        """List what there is; once."""
        if self.list.count():
            return
        for sample in list_samples():
            item = QListWidgetItem(sample.title)
            item.setData(Qt.ItemDataRole.UserRole, sample)
            self.list.addItem(item)
        rows = self.list.count()
        self.list.setFixedHeight(max(1, rows) * (self.list.sizeHintForRow(0) + 2) + 8)
        self.list.setCurrentRow(0)

    def current(self) -> Sample | None:
        """The selected one."""
        item = self.list.currentItem()
        return item.data(Qt.ItemDataRole.UserRole) if item is not None else None

    def _show(self) -> None:
        sample = self.current()
        self.use_button.setEnabled(sample is not None)
        if sample is not None:
            self.about.setText(sample.about)
            self.use_button.setText(f"Download {sample.size}" if sample.download else "Make a study of it")

    def _use(self) -> None:
        sample = self.current()
        if sample is not None:
            self.chosen.emit(sample)
