"""Hears that the main window is about to close, and may hold it back."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent, QObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class WindowGuard(QObject):
    """Watches the main window that ``tab`` is in, also after the panel was moved to another.

    Of several guards of a window each asks its own question, and the first that is answered with Stay ends it.
    """

    def __init__(self, tab: QWidget) -> None:
        super().__init__(tab)
        self._tab = tab
        self._window_ref: Callable[[], QWidget | None] = _no_window  # weak: who holds a guard holds no window
        tab.installEventFilter(self)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self._about_to_quit)

    @property
    def _window(self) -> QWidget | None:
        window = self._window_ref()
        return window if window is not None and isalive(window) else None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None:
            return False
        if watched is self._tab and event.type() in (QEvent.Type.Show, QEvent.Type.ParentChange):
            self.watch()
        elif watched is self._window and event.type() == QEvent.Type.Close:
            return self._held_back(event)
        return False

    def watch(self) -> None:
        """Watch the window that the tab is in now."""
        window = self._tab.window()
        if window is self._window or window is None or window is self._tab:  # by itself it is no window to be in
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window_ref = weakref.ref(window)
        window.installEventFilter(self)

    def asked_by_user(self, event: QEvent) -> bool:
        """A click on the frame, or the menu. ``viewer.close()`` closes the canvas first: a script, that nobody answers."""
        from napari.qt import QtViewer

        canvas = self._window.findChild(QtViewer) if self._window is not None else None
        return bool(event.spontaneous() or (canvas is not None and canvas.isVisible()))

    def _held_back(self, event: QEvent) -> bool:
        """Whether the close is to wait (the event is then used up); for the guard's own class."""
        return False

    def _about_to_quit(self) -> None:
        """The program ends; for the guard's own class."""


def _no_window() -> QWidget | None:
    return None
