"""Sentences for the user, inside the panel: no dialog, no traceback."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QWidget

from napari_ssl_seg.gui.style import mark

INFO_MILLISECONDS = 8000
_MARKS = {"info": "", "warning": "⚠  ", "error": "✕  "}
_ROLES = {"info": "hint", "warning": "problem", "error": "error"}


class MessageBar(QFrame):
    """The latest sentence, with a button that puts it away. An information goes by itself, a warning and an error stay."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.LinksAccessibleByMouse
        )
        self.close_button = QToolButton()
        self.close_button.setText("✕")
        self.close_button.setToolTip("Put this message away")
        self.close_button.setAccessibleName("Put this message away")
        self.close_button.clicked.connect(self.clear)
        mark(self.close_button, "quiet")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.clear)
        self.hide()

    @property
    def text(self) -> str:
        """The sentence shown, without its mark; empty when none is."""
        return self.label.property("sentence") or ""

    def show_message(self, text: str, level: str = "info") -> None:
        """Show one sentence; level is info, warning or error."""
        self._timer.stop()
        self.label.setProperty("sentence", text)
        self.label.setText(_MARKS.get(level, "") + text)
        mark(self.label, _ROLES.get(level, "hint"))
        self.setVisible(bool(text))
        if level == "info":
            self._timer.start(INFO_MILLISECONDS)

    def clear(self) -> None:
        """Put the sentence away."""
        self._timer.stop()
        self.label.setProperty("sentence", "")
        self.label.clear()
        self.hide()
