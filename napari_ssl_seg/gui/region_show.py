"""What each source sees in the shown slice, one switch a source: drawn again when the slice or a parameter changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_ssl_seg.gui.region_layers import COLOURS, RegionLayers
from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.workers import LatestOnly
from napari_ssl_seg.workbench import sentence
from napari_ssl_seg.workbench.regions import SLOW, SOURCES, RegionsRequest, segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari.components import ViewerModel

    from napari_ssl_seg.workbench import Workbench
    from napari_ssl_seg.workbench.regions import RegionsAnswer, SourceRegions

SWATCH = 8
DELAY_MILLISECONDS = 20
"""A slider rests this long before regions are made anew."""
HELP = {
    "sam": "Segment Anything's sub-masks; takes seconds to minutes a slice, so it looks at a slice when this is pressed",
    "felzenszwalb": "Felzenszwalb's superpixels: no weights needed, redrawn at once",
    "slic": "SLIC superpixels: no weights needed, redrawn at once",
    "masks": "Masks made elsewhere, from the folder in the settings",
}


class RegionShow(QWidget):
    """Switches, and the layers that they show.

    Signals
    -------
    asked_without_weights(str)
        Segment Anything was switched on and there are no weights of that type.
    made(str)
        A source has looked at the slice because it was pressed.
    """

    asked_without_weights = Signal(str)
    made = Signal(str)

    def __init__(self, workbench: Workbench, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self._values: Mapping[str, Any] = {}
        self._asks = False
        self._unmade: set[str] = set()
        self.layers = RegionLayers(viewer)
        # Two, so that what is quick never waits for what is slow.
        self._workers = {False: self._make_worker(False), True: self._make_worker(True)}
        self._notes: dict[bool, tuple[str, str]] = {}
        self.buttons: dict[str, QToolButton] = {}
        row = QWidget()
        flow = QFlowLayout(row)
        flow.setContentsMargins(0, 0, 0, 0)
        flow.setSpacing(4)
        for source, name in SOURCES.items():
            button = _switch(name, HELP[source])
            button.clicked.connect(lambda _=False, source=source: self._pressed(source))
            button.setIcon(_swatch(COLOURS[source]))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setIconSize(QSize(SWATCH, SWATCH))
            self.buttons[source] = button
            flow.addWidget(button)
        self.fill_button = _switch("Filled", "Fill the regions, each in a colour of its own, instead of outlining them")
        self.fill_button.setIcon(_filling())
        self.fill_button.setIconSize(QSize(2 * SWATCH, 2 * SWATCH))
        self.fill_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.fill_button.toggled.connect(lambda filled: self.layers.set_outlined(not filled))
        flow.addWidget(self.fill_button)
        self.note = QLabel()
        self.note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row)
        layout.addWidget(self.note)
        self._offer_masks()
        self._say(False, "")

    def _make_worker(self, slow: bool) -> LatestOnly:
        return LatestOnly(
            segment,
            lambda answer: self._show(slow, answer),
            lambda error: self._say(slow, sentence(error)),
            delay=DELAY_MILLISECONDS,
            owner=self,
        )

    # -- what is shown --------------------------------------------------------------------------------------------
    @property
    def shown(self) -> tuple[str, ...]:
        """The sources that are switched on."""
        return tuple(source for source, button in self.buttons.items() if button.isChecked())

    @property
    def busy(self) -> bool:
        """Whether any source is at work."""
        return any(worker.busy for worker in self._workers.values())

    @property
    def quick_busy(self) -> bool:
        """Whether a source that answers at once is at work."""
        return self._workers[False].busy

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Settings of the method; what is shown is drawn again where they are others."""
        if dict(values) != dict(self._values):
            self._values = dict(values)
            self._offer_masks()
            self.ask()

    def switch(self, source: str, on: bool = True) -> None:
        """Switch a source on or off, as a press does."""
        if self.buttons[source].isChecked() != on:
            self.buttons[source].click()

    def follow(self, on: bool) -> None:
        """Whether the slice is to be followed: while the tab is looked at, with a method that needs regions."""
        if on == self._asks:
            return
        self._asks = on
        if on:
            self.layers.bring_back()
            self.ask()
        else:
            self.layers.set_aside()
            self._drop()

    def forget(self) -> None:
        """Another case, or none: nothing of the last one stays."""
        self._drop()
        self.layers.clear()
        self._unmade.clear()
        self._notes = {}
        self._say(False, "")

    # -- asking ---------------------------------------------------------------------------------------------------
    def ask(self, *_: Any, pressed: Iterable[str] = ()) -> None:
        """Ask every source that is switched on about the shown slice."""
        study, case_id = self._workbench.study, self._workbench.case_id
        if study is None or case_id is None or not self._asks:
            return
        for slow, worker in self._workers.items():
            sources = tuple(source for source in self.shown if (source in SLOW) == slow)
            if not sources or (pressed and not set(pressed) & set(sources)):
                continue  # a press for one kind leaves the other kind's question as it was asked
            if slow and set(pressed) & SLOW:
                self._say(True, "Segment Anything is looking at this slice …", "hint")
            worker.submit(
                RegionsRequest(
                    study,
                    case_id,
                    self._workbench.slice_index,
                    self._values,
                    sources,
                    frozenset(pressed) & set(sources),
                ),
                now=bool(pressed),
            )

    def _pressed(self, source: str) -> None:
        button = self.buttons[source]
        if source in self._unmade and not button.isChecked():
            button.setChecked(True)  # it is on, and was pressed to be made for this slice
        if button.isChecked():
            self.ask(pressed=(source,))
        else:
            self._unmade.discard(source)
            self.layers.remove(source)
            slow = source in SLOW
            if not any((other in SLOW) == slow for other in self.shown):
                self._workers[slow].drop()
                self._say(slow, "")

    def _offer_masks(self) -> None:
        self.buttons["masks"].setVisible(bool(self._values.get("masks")))

    def _drop(self) -> None:
        for worker in self._workers.values():
            worker.drop()

    # -- answers --------------------------------------------------------------------------------------------------
    def _show(self, slow: bool, answer: RegionsAnswer) -> None:
        request, bench = answer.request, self._workbench
        if (request.case_id, request.slice_index) != (bench.case_id, bench.slice_index) or not self._asks:
            return
        wanted = tuple(found for found in answer.found if self.buttons[found.source].isChecked())
        self.layers.show(type(answer)(request, wanted, answer.placement))
        problems = []
        for found in wanted:
            self._settle(found)
            if found.problem:
                problems.append(found.problem)
        unmade = [found.title for found in wanted if found.source in self._unmade]
        if problems or not unmade:
            self._say(slow, " ".join(problems))
        else:
            self._say(
                slow, f"{unmade[0]} has not looked at this slice yet: press {SOURCES['sam']} again for it.", "hint"
            )
        for found in wanted:
            if found.labels is not None and found.source in request.pressed:
                self.made.emit(found.source)
        missing = next((found.weights_missing for found in wanted if found.weights_missing), "")
        if missing:
            self._say(slow, "Segment Anything needs weights: fetch them, or choose a file under SAM weights.", "hint")
            self.asked_without_weights.emit(missing)

    def _settle(self, found: SourceRegions) -> None:
        self.buttons[found.source].setToolTip(f"<qt><b>{found.title}</b><br>{HELP[found.source]}</qt>")
        if found.problem or found.weights_missing:
            self.buttons[found.source].setChecked(False)
            self._unmade.discard(found.source)
        elif found.labels is None:
            self._unmade.add(found.source)
        else:
            self._unmade.discard(found.source)

    def _say(self, slow: bool, text: str, role: str = "error") -> None:
        self._notes[slow] = (text, role)
        shown = [(text, role) for text, role in self._notes.values() if text]
        mark(self.note, "error" if any(role == "error" for _, role in shown) else "hint")
        self.note.setText(" ".join(text for text, _ in shown))
        self.note.setVisible(bool(shown))


def _swatch(colour: str) -> QIcon:
    """The colour of a source's outlines."""
    picture = QPixmap(SWATCH, SWATCH)
    picture.fill(QColor(colour))
    return QIcon(picture)


def _filling() -> QIcon:
    """Regions side by side: one outlined, one filled."""
    side = 4 * SWATCH
    picture = QPixmap(side, side)
    picture.fill(QColor("transparent"))
    painter = QPainter(picture)
    painter.setPen(QPen(QColor("#999999"), 3))
    painter.drawRect(2, 6, side // 2 - 2, side - 12)
    painter.fillRect(side // 2 + 2, 5, side // 2 - 3, side - 10, QColor("#e69f00"))
    painter.end()
    return QIcon(picture)


def _switch(text: str, help_: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(help_)
    button.setAccessibleName(text)
    button.setCheckable(True)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    mark(button, "switch")
    return button
