"""What a run does now, with pause and stop; and what it was asked for and has said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ssl_seg.gui.run_list import STATE_LOOKS
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.thin_bar import ThinBar
from napari_ssl_seg.workbench.run_progress import weights_sentence
from napari_ssl_seg.workbench.training_plan import settings_lines
from napari_ssl_seg.workbench.words import duration

if TYPE_CHECKING:
    from napari_ssl_seg.workbench.run_progress import RunProgress

BAR_STEPS = 1000


class RunPanel(QWidget):
    """One run: a bar of fixed range with the time left, its buttons, its weights, settings and log.

    Signals
    -------
    asked(action name, run id)
        pause, resume, stop; preview: open the scan that the live preview is of; map: of the run's embedding.
    """

    asked = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: RunProgress | None = None
        self._shown_log: list[str] = []
        self.name = QElidingLabel()
        self.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        mark(self.name, "heading")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.bar = ThinBar()
        self.bar.setRange(0, BAR_STEPS)
        self.pause = QPushButton("Pause")
        self.pause.setToolTip("Wait after the next step; the device stays taken")
        self.pause.clicked.connect(self._pause_clicked)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("Save, and stop at the next step; it can be resumed")
        self.stop.clicked.connect(lambda: self._ask("stop"))
        self.error = QLabel()
        self.error.setWordWrap(True)
        self.error.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        mark(self.error, "error")
        self.weights = QLabel()
        self.weights.setWordWrap(True)
        mark(self.weights, "hint")
        self.preview = QPushButton()
        self.preview.setToolTip("What the network makes of a slice, drawn again as it trains")
        self.preview.clicked.connect(lambda: self._ask("preview"))
        mark(self.preview, "quiet")
        self.map = QPushButton("Map of its embedding")
        self.map.setToolTip(
            "A dot for each slice, near those that the encoder takes for alike; a click opens the slice"
        )
        self.map.clicked.connect(lambda: self._ask("map"))
        mark(self.map, "quiet")
        buttons = QHBoxLayout()
        buttons.addWidget(self.name, 1)
        buttons.addWidget(self.pause)
        buttons.addWidget(self.stop)
        self.settings = QTreeWidget()
        self.settings.setHeaderHidden(True)
        self.settings.setColumnCount(2)
        self.settings.setRootIsDecorated(False)
        self.settings.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.settings.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(400)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.log, "Log")
        self.tabs.addTab(self.settings, "Settings")
        self.tabs.setMinimumHeight(130)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.error)
        layout.addWidget(self.weights)
        layout.addWidget(self.preview, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.map, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.tabs)
        self.show_run(None, "")

    def show_run(self, run: RunProgress | None, state: str, case_id: str | None = None) -> None:
        """Show this run, or what has changed of it; None hides the panel. ``case_id`` is the open scan."""
        self.setVisible(run is not None)
        other = run is not self._run
        self._run = run
        if run is None:
            return
        if other:
            self.name.setText(run.title)
            self.name.setToolTip(f"{run.title}\n{run.run.folder}")
            self._shown_log = []
            self.log.clear()
            self._fill_settings(run)
        active = state in ("running", "paused", "stopping", "starting", "waiting")
        self.bar.setVisible(active)
        value = round(BAR_STEPS * (run.fraction or 0.0))
        if value != self.bar.value():
            self.bar.setValue(value)
        _set_text(self.status, status_text(run, state))
        self.pause.setVisible(state in ("running", "paused") or can_go_on(state))
        self.pause.setText("Pause" if state == "running" else "Resume")
        self.stop.setVisible(active)
        self.stop.setEnabled(state != "stopping")
        _set_text(self.error, run.error or "")
        self.error.setVisible(bool(run.error))
        _set_text(self.weights, weights_sentence(run.weights) if run.weights is not None else "")
        self.weights.setVisible(run.weights is not None)
        if run.weights is not None and not self.weights.toolTip():
            self.weights.setToolTip(_names(run))
        shown = str(run.preview.data.get("case", "")) if run.preview is not None and active else ""
        self.preview.setVisible(bool(shown) and shown != case_id)
        self.preview.setText(f"Watch it learn on {shown}")
        self.map.setVisible(not active and run.run.weights_path.is_file())
        self._fill_log(run)

    def _fill_log(self, run: RunProgress) -> None:
        lines = list(run.log)
        known = self._shown_log
        if lines[: len(known)] == known:
            fresh = lines[len(known) :]
        else:
            self.log.clear()
            fresh = lines
        if fresh:
            self.log.appendPlainText("\n".join(fresh))
        self._shown_log = lines

    def _fill_settings(self, run: RunProgress) -> None:
        self.settings.clear()
        self.weights.setToolTip("")
        for name, value in settings_lines(run):
            item = QTreeWidgetItem([name.replace("_", " "), value])
            item.setToolTip(1, value)
            self.settings.addTopLevelItem(item)

    def _pause_clicked(self) -> None:
        self._ask("pause" if self.pause.text() == "Pause" else "resume")

    def _ask(self, name: str) -> None:
        if self._run is not None:
            self.asked.emit(name, self._run.id)


def can_go_on(state: str) -> bool:
    """Whether Resume makes sense."""
    return state in ("stopped", "failed", "queued")


def status_text(run: RunProgress, state: str) -> str:
    """``● running  480 of 1000 (48 %)  3:10 left  4.1 steps/s``."""
    glyph = STATE_LOOKS.get(state, ("", ""))[0]
    parts = [f"{glyph} {state}"]
    if state in ("running", "starting") and run.busy_with:
        parts.append(run.busy_with)
    elif run.total and run.step:
        parts.append(f"{run.step} of {run.total}")
    if state == "running" and run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    if state == "running" and run.rate:
        parts.append(f"{run.rate:.3g} steps/s")
    if state == "stopped" and run.reason:
        parts.append(run.reason)
    return " · ".join(parts)


def _names(run: RunProgress) -> str:
    """Which tensors were taken over and which not, for the tooltip."""
    assert run.weights is not None
    blocks = []
    for key, title in (("loaded", "taken over"), ("random", "start at random"), ("skipped", "not used")):
        names = run.weights.data.get(key) or []
        if names:
            blocks.append(f"{title}:\n  " + "\n  ".join(names[:25]) + ("\n  …" if len(names) > 25 else ""))
    return "\n".join(blocks)


def _set_text(label: QLabel, text: str) -> None:
    if label.text() != text:
        label.setText(text)
