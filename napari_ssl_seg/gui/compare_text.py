"""Text in the corner of a cell of the grid, which follows the slider at the cost of painting a few words.

napari draws such text for the viewer, and for a layer its name alone; and vispy lays out each letter of a text anew when one
of them changes, two milliseconds for each cell at every move of the slider. So the words are painted by Qt, and drawn as a
small picture, a quarter of that. What napari lacks besides is one entry that says how a layer's overlay is drawn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF
from qtpy.QtGui import QColor, QImage, QPainter

from napari_ssl_seg.gui.compare_captions import letters

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

LOG = logging.getLogger(__name__)
KEY = "napari_ssl_seg_text"
ROUND = 64
"""Widths of the pictures are multiples of so many pixels."""
_STATE: dict[str, Any] = {}


def cell_text(layer: Layer) -> Any:
    """The text in the corner of the layer's cell, a `TextOverlay`, made when it is first asked for; None: impossible."""
    found = layer._overlays.get(KEY)
    if found is None:
        kind = _kind()
        if kind is None:
            return None
        found = kind(visible=True, box=False, position="top_left")
        layer._overlays[KEY] = found
    return found


def drop_text(layer: Layer) -> None:
    """Take the text of a layer away; napari clips it to the cell in which it was made."""
    layer._overlays.pop(KEY, None)


def _kind() -> Any:
    if "kind" not in _STATE:
        try:
            _STATE["kind"] = _register()
        except (ImportError, AttributeError) as error:  # a later napari, which has these elsewhere
            LOG.warning("this napari has no place for text in a cell (%s): scores are told by the panel alone", error)
            _STATE["kind"] = None
    return _STATE["kind"]


def _register() -> Any:
    from napari._vispy.overlays.base import LayerOverlayMixin, VispyCanvasOverlay
    from napari._vispy.utils.visual import overlay_to_visual
    from napari.components.overlays import TextOverlay
    from vispy.scene.visuals import Image

    class CellText(TextOverlay):
        """Text of one cell."""

    class CellTextVisual(LayerOverlayMixin, VispyCanvasOverlay):  # type: ignore[misc]
        """How it is drawn."""

        def __init__(self, **options: Any) -> None:
            node = Image(painted("", "#ffffff"), clim=(0, 255), interpolation="nearest")
            self._size = (0, 0)
            super().__init__(node=node, **options)
            for event in (self.overlay.events.text, self.overlay.events.color, self.overlay.events.font_size):
                event.connect(self._on_text_change)
            self.reset()

        def reset(self) -> None:
            super().reset()
            self._on_text_change()

        def _on_text_change(self) -> None:
            colour = self.overlay.color if self.overlay.color is not None else self._get_fgcolor()
            picture = painted(self.overlay.text, _name(colour), self._size)
            self.node.set_data(picture)
            if self._size != picture.shape[:2]:  # it stands at the upper left: of the same size it stays where it is
                self._size = picture.shape[:2]
                self.y_size, self.x_size = (float(part) for part in self._size)
                self._on_position_change()
            self.node.update()

        def _on_visible_change(self) -> None:
            super()._on_visible_change()
            if self._should_be_visible():
                self._on_text_change()

    overlay_to_visual[CellText] = CellTextVisual
    return CellText


def painted(text: str, colour: str, least: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """(height, width, 4): lines of words on nothing; at least of that size, so that it seldom changes."""
    lines, font = text.split("\n"), letters()
    width = max((font.width(line) for line in lines), default=0.0)
    width = max(-(-int(width + 2) // ROUND) * ROUND, least[1])
    height = max(int(len(lines) * font.line + 2), least[0])
    image = QImage(width, height, QImage.Format.Format_RGBA8888)
    image.fill(0)
    painter = QPainter(image)
    painter.setFont(font.font)
    painter.setPen(QColor(colour))
    for place, line in enumerate(lines):
        painter.drawText(QPointF(0.0, place * font.line + font.ascent), line)
    painter.end()
    bits = image.constBits()
    assert bits is not None
    if hasattr(bits, "setsize"):  # PyQt's; PySide's knows its size
        bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(height, image.bytesPerLine() // 4, 4)[:, :width].copy()


def _name(colour: Any) -> str:
    red, green, blue = (round(255 * float(part)) for part in tuple(colour)[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"
