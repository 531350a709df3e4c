"""What leaves the Compare tab as files: scores of all scans, and the open scan slice by slice, as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.files import write_text
from napari_ssl_seg.gui.style import mark

if TYPE_CHECKING:
    from napari_ssl_seg.evaluation import ScoreTable
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.compared_case import CaseComparison


class ExportButton(QPushButton):
    """A button with a menu of what there is to export."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__("Export CSV …", parent)
        self._workbench = workbench
        self._table: ScoreTable | None = None
        self._case: CaseComparison | None = None
        mark(self, "quiet")
        menu = QMenu(self)
        self.all_action = menu.addAction("Scores of all scans", self.export_table)
        self.case_action = menu.addAction("This scan by slice", self.export_slices)
        self.setMenu(menu)
        self.set_table(None)
        self.set_case(None)

    def set_table(self, table: ScoreTable | None) -> None:
        """The scores to export."""
        self._table = table if table is not None and len(table) else None
        self.all_action.setEnabled(self._table is not None)

    def set_case(self, case: CaseComparison | None) -> None:
        """The open scan."""
        self._case = case if case is not None and case.methods else None
        self.case_action.setEnabled(self._case is not None)

    def export_table(self) -> None:
        """Ask where to, and write one row a method, scan and class."""
        path = self.ask_path("scores.csv") if self._table is not None else None
        if path is not None and self._table is not None:
            self._write(path, self._table.to_csv())

    def export_slices(self) -> None:
        """Ask where to, and write one row a method, slice and class."""
        path = self.ask_path(f"{self._case.case_id}_slices.csv") if self._case is not None else None
        if path is not None and self._case is not None:
            self._write(path, slices_csv(self._case))

    def ask_path(self, name: str) -> Path | None:
        """Where to write; None when the user changed their mind."""
        folder = self._workbench.require_study().folder
        chosen, _ = QFileDialog.getSaveFileName(self, "Export as CSV", str(folder / name), "CSV (*.csv)")
        return Path(chosen) if chosen else None

    def _write(self, path: Path, text: str) -> None:
        try:
            write_text(path, text)
            self._workbench.say(f"wrote {path}")
        except UserError as error:
            self._workbench.fail(error)


def slices_csv(case: CaseComparison) -> str:
    """One row a method, slice and label; an undefined value is an empty cell, and the note says why."""
    rows = case.rows()
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value != value else value for key, value in row.items()} for row in rows)
    return stream.getvalue()
