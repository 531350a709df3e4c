"""Segment Anything's weights: a file of one's own, or public ones with address, size, licence and checksum beforehand."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.work_row import WorkRow
from napari_ssl_seg.gui.workers import Task, run
from napari_ssl_seg.workbench import sentence
from napari_ssl_seg.workbench.regions import check_weights, weights_on_offer

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_ssl_seg.training.events import Event
    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.regions import Weights


def fetch(model_type: str) -> Generator[Event, None, Path]:
    """Download public weights (in a worker)."""
    from napari_ssl_seg.regions import fetch_weights

    return fetch_weights(model_type)


class WeightsButton(QToolButton):
    """The menu: a file, or public weights by name."""

    file_asked = Signal()
    offer_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setText("SAM weights ▾")
        self.setToolTip("Use a file with Segment Anything's or MedSAM's weights, or fetch public ones")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        mark(self, "quiet")
        self.choices = QMenu(self)
        self.choices.aboutToShow.connect(self.fill)
        self.setMenu(self.choices)

    def fill(self) -> None:
        """List what there is now."""
        self.choices.clear()
        self.choices.setToolTipsVisible(True)
        file = self.choices.addAction("Choose a file …")
        assert file is not None
        file.triggered.connect(lambda: self.file_asked.emit())
        self.choices.addSeparator()
        for weights in weights_on_offer():
            text = f"Use {weights.title}" if weights.there else f"Fetch {weights.title}, {weights.size} …"
            action = self.choices.addAction(text)
            assert action is not None
            action.setToolTip(weights.notice)
            action.triggered.connect(partial(self.offer_asked.emit, weights))


class WeightsPage(QFrame):
    """What a download is, before it starts; then how far it is.

    Signals
    -------
    chosen(model type or "", path or "")
        Weights that are there and can be read: of that type in the folder of weights, or in that file.
    """

    chosen = Signal(str, str)

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._weights: Weights | None = None
        self._check: Task | None = None
        self.notice = QLabel()
        self.notice.setWordWrap(True)
        self.notice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.fetch_button = QPushButton()
        self.cancel_button = QPushButton("Not now")
        mark(self.cancel_button, "quiet")
        self.buttons = QWidget()
        row = QHBoxLayout(self.buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.fetch_button, 1)
        row.addWidget(self.cancel_button)
        self.work = WorkRow(workbench)
        self.work.stop_button.setToolTip("Stop; what has arrived is kept, and the next download goes on from there")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.notice, self.buttons, self.work):
            layout.addWidget(widget)
        self.fetch_button.clicked.connect(self._fetch)
        self.cancel_button.clicked.connect(self.hide)
        self.work.ended.connect(self._fetched)
        self.hide()

    @property
    def busy(self) -> bool:
        """Whether a file is read or fetched."""
        return self.work.busy or self._check is not None

    # -- public weights -------------------------------------------------------------------------------------------
    def offer(self, weights: Weights) -> None:
        """Use weights that are there, or show what fetching them means."""
        if weights.there:
            self.hide()
            self.chosen.emit(weights.model_type, "")
            return
        if self.busy:
            return
        self._weights = weights
        self.notice.setText(notice_html(weights.notice))
        self.fetch_button.setText(f"Download {weights.size}")
        self.notice.show()
        self.fetch_button.show()
        self.cancel_button.setText("Not now")
        self.buttons.show()
        self.work.say("")
        self.show()

    def offer_type(self, model_type: str) -> None:
        """Offer the weights of that type, unless something goes on."""
        for weights in weights_on_offer():
            if weights.model_type == model_type and not weights.there and not self.busy:
                self.offer(weights)

    def _fetch(self) -> None:
        if self._weights is not None:
            self.buttons.hide()
            self.work.start(f"fetching {self._weights.title}", fetch, self._weights.model_type)

    def _fetched(self, path: Path | None) -> None:
        if path is not None and self._weights is not None:
            self.hide()
            self.chosen.emit(self._weights.model_type, "")
            return
        self.fetch_button.setText("Go on with the download")
        self.buttons.show()

    # -- a file of one's own --------------------------------------------------------------------------------------
    def ask_for_file(self) -> None:
        """Let the user choose a file."""
        path, _ = QFileDialog.getOpenFileName(
            self.window(), "Weights of Segment Anything", "", "Weights (*.pth *.pt *.bin *.ckpt);;All files (*)"
        )
        if path:
            self.take_file(path)

    def take_file(self, path: str) -> None:
        """Read a file once, and use it where it can be read."""
        if self.busy:
            return
        self.notice.hide()
        self.buttons.hide()
        self.work.say(f"reading {Path(path).name} …")
        self.show()
        self._check = run(
            check_weights,
            path,
            on_result=lambda found: self._taken(path, found),
            on_error=self._refused,
            on_done=self._checked,
            owner=self,
        )

    def _taken(self, path: str, model_type: str | None) -> None:
        self.hide()
        self.chosen.emit(model_type or "", path)

    def _refused(self, error: Exception) -> None:
        self.work.say(sentence(error), "error")
        self.cancel_button.setText("Put away")
        self.fetch_button.hide()
        self.buttons.show()

    def _checked(self) -> None:
        self._check = None


def notice_html(text: str) -> str:
    """A notice, its first line stronger, and its checksum broken where the panel is too narrow for it."""
    import html
    import re

    first, *lines = html.escape(text).split("\n")
    lines = [re.sub(r"\b([0-9a-f]{64})\b", lambda match: _breakable(match[1]), line) for line in lines]
    return "<qt>" + "<br>".join((f"<b>{first.partition(': ')[0]}</b>: {first.partition(': ')[2]}", *lines)) + "</qt>"


def _breakable(text: str) -> str:
    return "&#8203;".join(text[start : start + 16] for start in range(0, len(text), 16))
