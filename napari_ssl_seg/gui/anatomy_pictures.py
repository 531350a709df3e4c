"""Four pictures of a match: both slices whole and cut around the points; a click on the first asks about another point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_ssl_seg.gui.style import mark
from napari_ssl_seg.gui.thumbnails import pixmap

if TYPE_CHECKING:
    import numpy as np
    from qtpy.QtGui import QMouseEvent, QResizeEvent

    from napari_ssl_seg.workbench.anatomy import MatchAnswer

LEAST_SIDE, LARGEST_SIDE = 80, 260


class SquarePicture(QLabel):
    """A square picture as wide as there is room; emits ``clicked(row, column)``, shares of its side."""

    clicked = Signal(float, float)

    def __init__(self, *, clickable: bool = False) -> None:
        super().__init__()
        self._pixels: np.ndarray | None = None
        self._side = 0
        self._clickable = clickable
        self.setMinimumSize(LEAST_SIDE, LEAST_SIDE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if clickable:
            self.setCursor(Qt.CursorShape.CrossCursor)

    def show_pixels(self, pixels: np.ndarray | None) -> None:
        """(N, N, 3) uint8, or nothing."""
        self._pixels, self._side = pixels, 0
        self._fit()

    @property
    def pixels(self) -> np.ndarray | None:
        """What is shown."""
        return self._pixels

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is None or not self._clickable or self._pixels is None or self._side < 1:
            return
        at = event.position()
        if 0 <= at.x() < self._side and 0 <= at.y() < self._side:
            self.clicked.emit(at.y() / self._side, at.x() / self._side)

    def _fit(self) -> None:
        side = max(LEAST_SIDE, min(self.width(), LARGEST_SIDE))
        if side == self._side:
            return
        self._side = side
        self.setFixedHeight(side)
        self.setPixmap(QPixmap() if self._pixels is None else pixmap(self._pixels, side))


class MatchPicturesView(QWidget):
    """Two rows, this scan at the left and the other at the right.

    Signals
    -------
    asked(object)
        A point (z, y, x) of this scan, in voxels, that was clicked.
    """

    asked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._answer: MatchAnswer | None = None
        self.scan = SquarePicture(clickable=True)
        self.scan.setToolTip("Click a place to find it in the other scan; clicks on the scan in the viewer do the same")
        self.other = SquarePicture()
        self.other.setToolTip("Blue to yellow: how similar each place is to the point. Cross: the match")
        self.scan_crop, self.other_crop = SquarePicture(clickable=True), SquarePicture()
        self.scan_title, self.other_title = QElidingLabel(), QElidingLabel()
        self.crop_title = QLabel()
        self.crop_title.setWordWrap(True)
        mark(self.crop_title, "hint")
        for title in (self.scan_title, self.other_title):
            title.setElideMode(Qt.TextElideMode.ElideMiddle)
            mark(title, "hint")
        grid = QGridLayout()
        grid.setSpacing(4)
        for column, (title, whole, crop) in enumerate(
            ((self.scan_title, self.scan, self.scan_crop), (self.other_title, self.other, self.other_crop))
        ):
            grid.addWidget(title, 0, column)
            grid.addWidget(whole, 1, column)
            grid.addWidget(crop, 3, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.crop_title, 2, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        self.scan.clicked.connect(lambda row, column: self._clicked("first_whole", row, column))
        self.scan_crop.clicked.connect(lambda row, column: self._clicked("first", row, column))
        self.setVisible(False)

    def show_answer(self, answer: MatchAnswer | None, *, heat: bool = True) -> None:
        """Draw a match, with or without the map of similarity; None: nothing."""
        self._answer = answer
        self.setVisible(answer is not None)
        if answer is None:
            return
        from napari_ssl_seg.anatomy.showing import coloured

        found = answer.pictures
        self.scan.show_pixels(coloured(found.first_whole))
        self.other.show_pixels(coloured(found.second_whole, found.similarity_whole if heat else None))
        self.scan_crop.show_pixels(coloured(found.first))
        self.other_crop.show_pixels(coloured(found.second))
        self.scan_title.setText(f"{answer.request.case_id} · {found.first_whole.index}")
        self.other_title.setText(f"{answer.request.other_id} · {found.second_whole.index}")
        self.crop_title.setText(f"{found.side_mm:.3g} mm around point and match")
        self.other.setAccessibleName(f"Match in {answer.request.other_id}")

    def _clicked(self, which: str, row: float, column: float) -> None:
        if self._answer is None:
            return
        plane = getattr(self._answer.pictures, which)
        side = plane.image.shape[0]
        self.asked.emit(plane.point_at(row * side, column * side))
