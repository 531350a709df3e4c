"""The panel: numbered tabs in the order of the work, messages, and the foot.

A tab is made when it is first shown, so that the panel opens at once; torch loads in a worker when it is first needed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFrame, QScrollArea, QShortcut, QTabWidget, QVBoxLayout, QWidget

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.gui.case_view import CaseView
from napari_ssl_seg.gui.foot import Foot
from napari_ssl_seg.gui.messages import MessageBar
from napari_ssl_seg.gui.style import sheet_for
from napari_ssl_seg.gui.workers import Task, run
from napari_ssl_seg.workbench import Workbench, load_study

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent

    from napari_ssl_seg.workbench.state import OpenedStudy

TABS = (
    ("1 Study", "napari_ssl_seg.gui.study_tab", "StudyTab"),
    ("2 Pretext", "napari_ssl_seg.gui.pretext_tab", "PretextTab"),
    ("3 Train", "napari_ssl_seg.gui.train_tab", "TrainTab"),
    ("4 Compare", "napari_ssl_seg.gui.compare_tab", "CompareTab"),
    ("5 Label", "napari_ssl_seg.gui.label_tab", "LabelTab"),
)
STUDY, PRETEXT, TRAIN, COMPARE, LABEL = range(5)
WIDTH, NARROW = 380, 240
FONT_SIZE, WIDEST_SHARE = 10, 0.31
"""The width is right for this size in points; at larger ones it is more, up to this share of the window."""


class SSLDock(QWidget):
    """The main widget.

    Parameters
    ----------
    viewer
        The viewer that it is docked in.

    Attributes
    ----------
    workbench
        What is open and shown; scripts drive the window through it.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.workbench = Workbench()
        self.setAcceptDrops(True)
        self._opening: Task | None = None
        self.case_view = CaseView(self.workbench, viewer, self)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(False)
        self.tabs.setUsesScrollButtons(False)
        self._pages: list[QScrollArea] = []
        for title, _, _ in TABS:
            page = _page()
            self._pages.append(page)
            self.tabs.setTabToolTip(self.tabs.addTab(page, title), title)
        self.messages = MessageBar()
        self.foot = Foot(self.workbench)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(6)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.messages)
        layout.addWidget(self.foot)
        self.workbench.message.connect(self.messages.show_message)
        self.tabs.currentChanged.connect(self._show_tab)
        self._appearance = get_settings().appearance
        self._following = False
        self._follow()
        self._theme_changed()
        self._keys()
        self._show_tab(STUDY)

    def sizeHint(self) -> QSize:
        # Larger letters need a wider panel, where the window has the room.
        wanted = WIDTH * int(self._appearance.font_size) // FONT_SIZE
        return QSize(max(WIDTH, min(wanted, round(WIDEST_SHARE * self.window().width()))), 700)

    # -- tabs -----------------------------------------------------------------------------------------------------
    def tab(self, index: int) -> Any:
        """The widget of a tab (STUDY, PRETEXT, TRAIN, COMPARE, LABEL); made now if it was not shown before."""
        page = self._pages[index]
        if page.widget() is None:
            _, module, name = TABS[index]
            widget = getattr(import_module(module), name)(self.workbench, self.viewer)
            # As wide as the panel, whatever its parts would like: nothing is cut off at the right, nothing scrolls sideways.
            widget.setMinimumWidth(NARROW)
            page.setWidget(widget)
            if hasattr(widget, "next_asked"):
                widget.next_asked.connect(lambda: self.show_tab(index + 1))
            if hasattr(widget, "train_with"):
                widget.train_with(lambda: self.tab(TRAIN))
        return page.widget()

    def show_tab(self, index: int) -> Any:
        """Bring a tab to the front and return its widget."""
        self.tabs.setCurrentIndex(index)
        return self.tab(index)

    def _show_tab(self, index: int) -> None:
        self._fit_titles()
        self.tab(index)
        self.messages.clear()

    def _fit_titles(self) -> None:
        """Numbers alone, but for the tab in front, where letters are too large for all titles."""
        bar = self.tabs.tabBar()
        if bar is None:
            return
        self._set_titles(short=False)
        self._set_titles(short=bar.sizeHint().width() > self.tabs.width() > 0)

    def _set_titles(self, *, short: bool) -> None:
        for index, (title, *_) in enumerate(TABS):
            front = index == self.tabs.currentIndex()
            self.tabs.setTabText(index, title if front or not short else title.split()[0])

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._fit_titles()

    def minimumSizeHint(self) -> QSize:
        return QSize(NARROW, super().minimumSizeHint().height())

    def _keys(self) -> None:
        for key, step in (("N", 1), ("Shift+N", -1)):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(lambda step=step: self._next_case(step))

    def _next_case(self, step: int) -> None:
        try:
            self.workbench.next_case(step)
        except UserError as error:
            self.workbench.fail(error)

    # -- opening --------------------------------------------------------------------------------------------------
    def open_study(self, folder: str | Path) -> Task:
        """Open a study in a worker."""

        def opened(found: OpenedStudy) -> None:
            self.workbench.set_study(found.study, found.cases)

        self._opening = run(load_study, folder, on_result=opened, on_error=self.workbench.fail, owner=self)
        return self._opening

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        if event is not None and _dropped_folder(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        folder = _dropped_folder(event) if event is not None else None
        if folder is not None and event is not None:
            event.acceptProposedAction()
            self.show_tab(STUDY).take_folder(folder)

    # -- looks and end --------------------------------------------------------------------------------------------
    def _theme_changed(self, event: Any = None) -> None:
        if isalive(self):
            self.setStyleSheet(sheet_for(self.viewer))
            self.updateGeometry()

    def _follow(self) -> None:
        if not self._following:
            self._following = True
            self.viewer.events.theme.connect(self._theme_changed)
            self._appearance.events.font_size.connect(self._theme_changed)
            self.case_view.follow()

    def _leave(self) -> None:
        if self._following:
            self._following = False
            self.viewer.events.theme.disconnect(self._theme_changed)
            self._appearance.events.font_size.disconnect(self._theme_changed)
            self.case_view.close()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        self._leave()
        super().closeEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            # napari takes a panel that is closed by its cross out of its dock, without closing it.
            self._leave() if self.parent() is None else self._follow()


def _page() -> QScrollArea:
    page = QScrollArea()
    page.setWidgetResizable(True)
    page.setFrameShape(QFrame.Shape.NoFrame)
    page.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return page


def _dropped_folder(event: Any) -> Path | None:
    mime = event.mimeData()
    for url in mime.urls() if mime is not None and mime.hasUrls() else ():
        path = Path(url.toLocalFile())
        if path.is_dir():
            return path
        if path.name == "study.db":
            return path.parent
    return None
