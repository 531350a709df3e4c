"""The strip below the canvas: the curves of the tab that is in front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_ssl_seg.gui.style import sheet_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class StripDock(QObject):
    """Docks ``strip`` at the bottom while ``tab`` is shown and there is something to show.

    Closed by the user, it comes back with the next showing of the tab.
    """

    def __init__(self, tab: QWidget, strip: QWidget, name: str, viewer: Any, wanted: Callable[[], bool]) -> None:
        super().__init__(tab)
        self._tab, self._strip, self._name, self._viewer, self._wanted = tab, strip, name, viewer, wanted
        self._dock: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.update)
        tab.installEventFilter(self)
        viewer.events.theme.connect(self._follow_looks)
        get_settings().appearance.events.font_size.connect(self._follow_looks)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.Hide) and not event.spontaneous():
            self._timer.start(0)  # later: the tab is in the middle of being shown
        return False

    def _follow_looks(self, _event: Any = None) -> None:
        """The strip is a dock of its own, to which the panel's style sheet does not reach."""
        if isalive(self) and isalive(self._strip):
            self._strip.setStyleSheet(sheet_for(self._viewer))

    def update(self) -> None:
        """Show or hide the strip as the tab is."""
        visible = self._tab.isVisible() and self._wanted()
        alive = self._dock is not None and isalive(self._dock) and self._strip.parent() is not None
        if visible and not alive:
            self._follow_looks()
            self._dock = self._viewer.window.add_dock_widget(self._strip, area="bottom", name=self._name)
        elif alive:
            self._dock.setVisible(visible)
