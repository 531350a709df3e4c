"""The two lasting faces of the tab Study: empty, and filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.case_table import CaseTable
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.workbench import words

if TYPE_CHECKING:
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.workbench import Workbench

WHAT_A_STUDY_IS = (
    "A study is one folder that remembers your scans, their labels and splits, and every run."
    " The scans stay where they are and are never changed."
)


class EmptyPage(QWidget):
    """Three large choices, and one sentence."""

    def __init__(self) -> None:
        super().__init__()
        sentence = QLabel(WHAT_A_STUDY_IS)
        sentence.setWordWrap(True)
        self.scans_button = _choice("Open a folder of scans …", "NIfTI, NRRD, MetaImage, DICOM; labels optional")
        self.study_button = _choice("Open a study …", "A folder that holds study.db")
        self.sample_button = _choice("Try a sample", "Phantoms, or public scans to download")
        self.layers_button = QPushButton()
        mark(self.layers_button, "quiet")
        self.layers_button.setToolTip("Image layers become scans; a labels layer on the same grid becomes their labels")
        hint = QLabel("… or drop a folder here.")
        mark(hint, "hint")
        self.back_button = QPushButton("Back to the open study")
        mark(self.back_button, "quiet")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        for widget in (sentence, self.scans_button, self.study_button, self.sample_button):
            layout.addWidget(widget)
        layout.addWidget(self.layers_button, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(hint)
        layout.addWidget(self.back_button, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addStretch(1)


class FilledPage(QWidget):
    """The table of cases, a filter, and what was left out at import."""

    new_asked = Signal()
    next_asked = Signal()

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.name_label = QElidingLabel()
        mark(self.name_label, "heading")
        self.switch_button = QPushButton("Switch study …")
        mark(self.switch_button, "quiet")
        self.split_label = QLabel()
        mark(self.split_label, "hint")
        self.filter_edit = QLineEdit()
        self.filter_edit.setPlaceholderText("Filter: name, train, test, labelled …")
        self.filter_edit.setClearButtonEnabled(True)
        self.table = CaseTable()
        self.open_button = QPushButton("Open case")
        mark(self.open_button, "primary")
        self.problems_button = QToolButton()
        self.problems_button.setCheckable(True)
        mark(self.problems_button, "quiet")
        self.problems = QListWidget()
        self.problems.setWordWrap(True)
        self.problems.setMaximumHeight(150)
        self._lay_out()
        self.table.opened.connect(self.open_case)
        self.open_button.clicked.connect(self._step)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(lambda *_: self._show_step())
        self.filter_edit.textChanged.connect(self.table.cases.set_text)
        self.filter_edit.returnPressed.connect(self._open_first)
        self.switch_button.clicked.connect(self.new_asked)
        self.problems_button.toggled.connect(self._show_problems)
        workbench.study_changed.connect(self.show_study)
        workbench.cases_changed.connect(lambda: self.table.set_cases(workbench.cases))
        workbench.case_changed.connect(self._case_changed)
        self.show_study(workbench.study)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.name_label, 1)
        head.addWidget(self.switch_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.split_label)
        layout.addWidget(self.filter_edit)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.open_button)
        layout.addWidget(self.problems_button)
        layout.addWidget(self.problems)

    def show_study(self, study: Study | None) -> None:
        """Fill everything in."""
        cases = self._workbench.cases
        self.table.set_cases(cases)
        self.filter_edit.clear()
        if study is None:
            return
        self.name_label.setText(study.name)
        self.name_label.setToolTip(str(study.folder))
        self.split_label.setText(words.split_line(cases))
        self.table.selectRow(0)
        self._show_step()
        problems = list(study.problems)
        self.problems.clear()
        for problem in problems:
            self.problems.addItem(f"{problem.path}\n{problem.reason}")
        self.problems_button.setVisible(bool(problems))
        self.problems_button.setChecked(bool(problems) and len(problems) <= 3)
        self._show_problems(self.problems_button.isChecked())

    def _show_problems(self, shown: bool) -> None:
        number = self.problems.count()
        self.problems_button.setText(("▾ " if shown else "▸ ") + f"{words.count(number, 'file')} left out at import")
        self.problems.setVisible(shown and number > 0)

    def _case_changed(self, case_id: str | None) -> None:
        self.table.select_case(case_id)
        self._show_step()

    @property
    def _is_open(self) -> bool:
        selected = self.table.selected_case()
        return selected is not None and selected == self._workbench.case_id

    def _show_step(self) -> None:
        """The filled button is the next step: open the selected case; once it is open, look at pretexts."""
        self.open_button.setText("Next: look at pretexts" if self._is_open else "Open case")
        self.open_button.setToolTip(
            "Go to the tab 2 Pretext"
            if self._is_open
            else "Show the selected case in the viewer, as a double click does"
        )
        self.open_button.setEnabled(self.table.selected_case() is not None)

    def _step(self) -> None:
        if self._is_open:
            self.next_asked.emit()
        else:
            self.open_case(self.table.selected_case())

    def open_case(self, case_id: str | None) -> None:
        """Look at a case."""
        if case_id is None:
            return
        try:
            self._workbench.open_case(case_id)
        except UserError as error:
            self._workbench.fail(error)

    def _open_first(self) -> None:
        if self.table.cases.rowCount():
            self.table.selectRow(0)
            self.open_case(self.table.selected_case())


def _choice(text: str, hint: str) -> QPushButton:
    button = QPushButton(f"{text}\n{hint}")
    button.setAccessibleName(text)
    button.setAccessibleDescription(hint)
    mark(button, "choice")
    return button
