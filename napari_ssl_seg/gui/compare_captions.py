"""How the cells of a comparison are laid out, and what of a caption has room above its cell."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QFontMetricsF

TEXT_POINTS = 9
GL_SCALE = 4 / 3
"""The canvas draws its own letters so much larger than Qt does at the same size in points (measured); ours are as large."""
LINE_HEIGHT = 1.28
"""In heights of a letter."""
SEPARATOR, UNIT = "  ", " mm"
USUAL_LINES = 3
LEAST_LETTERS = "volume 0.000"
FILLED = 0.92
"""Share of a cell's width that an image may take."""
PADDING = 8


class Letters:
    """The font of the words on the canvas, and sizes in pixels."""

    def __init__(self, dpi: float) -> None:
        self.font = QFont("OpenSans")
        pixels = TEXT_POINTS / 72 * dpi * GL_SCALE
        self.font.setPixelSize(max(1, round(pixels)))
        self._metrics = QFontMetricsF(self.font)
        self.ascent = float(self._metrics.ascent())
        self.line = pixels * LINE_HEIGHT

    def width(self, text: str) -> float:
        """How wide a text is."""
        return float(self._metrics.horizontalAdvance(text))

    def elided(self, text: str, room: float) -> str:
        """The text, with its middle left out where it has no room."""
        return str(self._metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room))

    def wrapped(self, caption: str, room: float) -> str:
        """A caption, a name and lines of numbers, in lines that have room."""
        head, *rest = caption.split("\n")
        lines = [self.elided(head, room)]
        for text in rest:
            parts = [part if self.width(part) <= room else part.removesuffix(UNIT) for part in text.split(SEPARATOR)]
            current = parts[0]
            for part in parts[1:]:
                if self.width(current + SEPARATOR + part) <= room:
                    current += SEPARATOR + part
                else:
                    lines.append(current)
                    current = part
            lines.append(current)
        return "\n".join(lines)

    def one_line(self, caption: str, room: float) -> str:
        """Name and first line of numbers beside each other; where there is no room, the name is shortened."""
        head, *rest = caption.split("\n")
        if not rest:
            return self.elided(head, room)
        numbers, least = SEPARATOR + rest[0], self.width("mmmm")
        if self.width(numbers) + least > room:
            numbers = numbers.removesuffix(UNIT)
        return self.elided(head, max(room - self.width(numbers), least)) + numbers


@lru_cache(maxsize=1)
def letters() -> Letters:
    """Sizes on this screen."""
    from vispy.util.dpi import get_dpi

    return Letters(float(get_dpi(raise_error=False)))


def fitting_zoom(view: tuple[float, float], image: tuple[float, float], text: float) -> float:
    """Pixels for a unit of the image so that it fits a view, (height, width) both, below ``text`` pixels of captions."""
    across, down = _zooms(view, image, text)
    return max(min(across, down), 0.1 * across)


def _zooms(view: tuple[float, float], image: tuple[float, float], text: float) -> tuple[float, float]:
    return FILLED * view[1] / max(image[1], 1e-9), (view[0] - text - 2 * PADDING) / max(image[0], 1e-9)


def grid_shape(
    cells: int, canvas: tuple[float, float] = (600, 800), image: tuple[float, float] = (1, 1), line: float = 21.0
) -> tuple[int, int]:
    """Rows and columns that show so many images, (height, width), largest on a canvas, with captions above each.

    Columns too narrow for the numbers are taken only where there is no other way; of equals the one with fewer rows.
    """
    cells = max(1, cells)
    narrowest = line / LINE_HEIGHT * 0.6 * len(LEAST_LETTERS)

    def worth(columns: int) -> tuple[bool, float, int]:
        rows = int(np.ceil(cells / columns))
        view = (canvas[0] / rows, canvas[1] / columns)
        return view[1] >= narrowest, round(min(_zooms(view, image, USUAL_LINES * line)), 6), columns

    columns = max(range(1, cells + 1), key=worth)
    return int(np.ceil(cells / columns)), columns
