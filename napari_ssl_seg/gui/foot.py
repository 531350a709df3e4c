"""The foot of the panel: the study in one line, and what goes on with its time left and Stop, whichever tab is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.thin_bar import ThinBar
from napari_ssl_seg.workbench.words import duration, study_line

if TYPE_CHECKING:
    from napari_ssl_seg.workbench import JobLine, Workbench


class Foot(QWidget):
    """Follows the workbench; Stop asks it to stop."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.study_label = QElidingLabel()
        self.study_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        mark(self.study_label, "hint")
        self.job_row = QWidget()
        self.job_label = QElidingLabel()
        self.job_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.job_numbers = QLabel()
        self.bar = ThinBar()
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Save, and stop at the next step; it can be resumed")
        self.stop_button.clicked.connect(workbench.stop_job)
        row = QHBoxLayout(self.job_row)
        row.setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout()
        column.setSpacing(3)
        words = QHBoxLayout()
        words.addWidget(self.job_label, 1)
        words.addWidget(self.job_numbers)
        column.addLayout(words)
        column.addWidget(self.bar)
        row.addLayout(column, 1)
        row.addWidget(self.stop_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        layout.addWidget(self.job_row)
        self.note_label = QLabel()
        line = QHBoxLayout()
        line.addWidget(self.study_label, 1)
        line.addWidget(self.note_label)
        layout.addLayout(line)
        workbench.study_changed.connect(self.show_study)
        workbench.cases_changed.connect(lambda: self.show_study(workbench.study))
        workbench.job_changed.connect(self.show_job)
        workbench.note_changed.connect(self.show_note)
        self.show_note("")
        self.show_study(workbench.study)
        self.show_job(workbench.job)

    def show_study(self, study: object | None) -> None:
        """One line about the study."""
        text = study_line(study, self._workbench.cases) if study is not None else "no study open"
        self.study_label.setText(text)
        self.study_label.setToolTip(str(getattr(study, "folder", "")))

    def show_note(self, text: str, level: str = "info") -> None:
        """What is so for now: when labels were saved. An empty one hides it."""
        mark(self.note_label, "hint" if level == "info" else "invalid")
        self.note_label.setText(text)
        self.note_label.setVisible(bool(text))

    def show_job(self, job: JobLine | None) -> None:
        """What goes on; None hides the row."""
        self.job_row.setVisible(job is not None)
        if job is None:
            return
        words = []
        if job.state == "stopping":
            words.append("stopping …")
        elif job.state == "paused":
            words.append("paused")
        else:
            if job.fraction is not None:
                words.append(f"{job.fraction:.0%}")
            if job.seconds_left is not None:
                words.append(f"{duration(job.seconds_left)} left")
        self.job_label.setText(job.text)
        self.job_label.setToolTip(job.text)
        self.job_numbers.setText("  ".join(words))
        self.bar.setRange(0, 0 if job.fraction is None and job.state == "running" else 1000)
        self.bar.setValue(round(1000 * (job.fraction or 0.0)))
        self.stop_button.setVisible(job.stop is not None)
        self.stop_button.setEnabled(job.state != "stopping")
