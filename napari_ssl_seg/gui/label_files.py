"""What leaves the label store, and what it remembers: export of the open scan's labels, and its history."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui import workers
from napari_ssl_seg.gui.compare_controls import quiet
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.annotation import Entry
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.labelling import Labelling

FORMATS = "NIfTI (*.nii.gz *.nii);;NRRD (*.nrrd);;MetaImage (*.mha);;DICOM Segmentation (*.dcm)"
NUMBER_ROLE = int(Qt.ItemDataRole.UserRole)
KINDS = {"import": "import", "restore": "brought back", "change": ""}


class FilesRow(QWidget):
    """Two quiet buttons.

    Signals
    -------
    restored()
        An earlier state is the labels now: read them again.
    """

    restored = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench: Workbench | None = None
        self._labelling: Labelling | None = None
        self.export_button = quiet(
            "Export labels …", "Write the labels of this scan as NIfTI, NRRD or DICOM SEG, on its grid"
        )
        self.history_button = quiet(
            "History …", "Every change of this scan's labels; any earlier state can be brought back"
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.export_button)
        row.addWidget(self.history_button)
        row.addStretch(1)
        self.export_button.clicked.connect(lambda: self.export())
        self.history_button.clicked.connect(lambda: self.ask_history())

    def follow(self, workbench: Workbench, labelling: Labelling) -> None:
        """Whose labels these are."""
        self._workbench, self._labelling = workbench, labelling

    # -- export ---------------------------------------------------------------------------------------------------
    def export(self) -> None:
        """Ask where to, and write the labels of the open scan."""
        bench, hand = self._workbench, self._labelling
        if bench is None or hand is None or hand.case is None or bench.study is None:
            return
        path = self.ask_path(hand.case.case_id)
        if path is None:
            return
        case_id, study = hand.case.case_id, bench.study

        def write() -> Path:
            from napari_ssl_seg.annotation import export_labels

            hand.flush()
            return export_labels(study, case_id, path)

        voxels = int(hand.case.counts[:, 1:].sum()) if not hand.case.stale else None
        said = f" ({voxels:,} labelled voxels)".replace(",", " ") if voxels is not None else ""
        workers.run(write, on_result=lambda made: bench.say(f"wrote {made}{said}"), on_error=bench.fail, owner=self)

    def ask_path(self, case_id: str) -> Path | None:
        """Where to write; None when the user changed their mind."""
        assert self._workbench is not None
        start = self._workbench.require_study().folder.parent / f"{case_id.replace('/', '_')}_labels.nii.gz"
        chosen, _ = QFileDialog.getSaveFileName(self, "Export labels", str(start), FORMATS)
        return Path(chosen) if chosen else None

    # -- history --------------------------------------------------------------------------------------------------
    def ask_history(self) -> None:
        """Show what was done to the open scan's labels (read in a worker), and bring a state back if that is chosen."""
        bench, hand = self._workbench, self._labelling
        if bench is None or hand is None or hand.case is None or hand.opened is None:
            return
        store, case_id = hand.opened.store, hand.case.case_id

        def read() -> Sequence[Entry]:
            hand.flush()
            return store.history(case_id)

        def chosen(entries: Sequence[Entry]) -> None:
            number = self.choose(entries)
            if number is not None:
                workers.run(
                    store.restore,
                    case_id,
                    number,
                    on_result=lambda _made: self._back(number),
                    on_error=bench.fail,
                    owner=self,
                )

        workers.run(read, on_result=chosen, on_error=bench.fail, owner=self)

    def _back(self, number: int) -> None:
        assert self._workbench is not None
        self._workbench.say(f"The labels are what they were after change {number}; what came later is in the history.")
        self.restored.emit()

    def choose(self, entries: Sequence[Entry]) -> int | None:
        """The entry whose state is to be brought back; None: nothing is."""
        dialog = HistoryDialog(entries, can_restore=bool(self._labelling and self._labelling.writable), parent=self)
        return dialog.number if dialog.exec() == QDialog.DialogCode.Accepted else None


class HistoryDialog(QDialog):
    """Every change of a scan's labels, the newest first."""

    def __init__(self, entries: Sequence[Entry], *, can_restore: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("History of the labels")
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["Change", "When", "Tool", "Slices", "Voxels"])
        self.list.setRootIsDecorated(False)
        self.list.setAccessibleName("Changes, the newest first")
        for entry in reversed(entries):
            first, depth = entry.start[0], entry.shape[0]
            slices = f"{first}" if depth == 1 else f"{first} to {first + depth - 1}"
            tool = KINDS.get(entry.kind) or entry.tool
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time))
            item = QTreeWidgetItem([str(entry.number), when, tool, slices, str(entry.changed)])
            item.setData(0, NUMBER_ROLE, entry.number)
            item.setToolTip(2, entry.source or tool)
            self.list.addTopLevelItem(item)
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        hint = QLabel(
            "Nothing was drawn on this scan yet." if not entries else "Nothing is ever removed from this list."
        )
        mark(hint, "hint")
        buttons: Any = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.back = buttons.addButton("Bring this state back", QDialogButtonBox.ButtonRole.AcceptRole)
        self.back.setEnabled(False)
        self.list.itemSelectionChanged.connect(lambda: self.back.setEnabled(can_restore and self.number is not None))
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.list)
        layout.addWidget(hint)
        layout.addWidget(buttons)
        self.resize(480, 420)

    @property
    def number(self) -> int | None:
        """The entry that is chosen."""
        chosen = self.list.selectedItems()
        return int(chosen[0].data(0, NUMBER_ROLE)) if chosen else None
