"""A line plot for the strip below the canvas: named lines, a cursor that follows the slider, a click that moves it.

The lines are drawn by vispy, in one call for all of them; axes and legend are plain Qt text, which is sharp at every
scale and costs nothing while the lines move (vispy would render its font for a second at the first showing).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_ssl_seg.gui.plot_axis import Axis
from napari_ssl_seg.gui.plot_legend import legend
from napari_ssl_seg.gui.plot_scale import Scale, segments, spaced, span, thin

FASTEST_SECONDS = 0.2
"""Never more than five drawings a second."""
SHARE = 0.03
"""At most this share of the window's time goes into drawing the plot (software OpenGL takes 25-70 ms a time)."""
MARGIN, LEAST_HEIGHT = 6.0, 40


@dataclass(frozen=True)
class PlotLine:
    """One line of the plot."""

    name: str
    color: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    dashed: bool = False


@dataclass(frozen=True)
class PlotColors:
    """Colours of the window's theme."""

    background: str = "#262930"
    grid: str = "#414851"
    text: str = "#f0f1f2"
    cursor: str = "#ffffff"


class CurvePlot(QWidget):
    """Named lines over a common axis.

    Parameters
    ----------
    title : str
        Shown in the corner.
    x_label : str
        What the lower axis counts: step, slice.
    y_range : (float, float) or None
        Fixed range of the left axis; None: whatever the lines need.
    log : bool
        Whether a button offers a logarithmic left axis.
    whole_x : bool
        Whether clicks and the readout mean whole numbers (slices).

    Signals
    -------
    clicked(float)
        The value on the lower axis that was clicked or dragged to.
    """

    clicked = Signal(float)

    def __init__(
        self,
        title: str = "",
        *,
        x_label: str = "",
        y_range: tuple[float, float] | None = None,
        log: bool = False,
        whole_x: bool = False,
        empty_text: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title, self._x_label, self._fixed_range, self._whole_x = title, x_label, y_range, whole_x
        self._lines: tuple[PlotLine, ...] = ()
        self._marks: np.ndarray = np.zeros(0)
        self._cursor: float | None = None
        self._colors = PlotColors()
        self._x_scale = self._y_scale = Scale(0, 1, 0, 1)
        self._interval = FASTEST_SECONDS
        self._dirty = True
        self._drawn_at = 0.0
        self.drawings = 0
        """How often the lines were drawn; for tests and benchmarks."""
        self._canvas: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)

        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._log_button = QToolButton()
        self._log_button.setText("log")
        self._log_button.setToolTip("Logarithmic left axis")
        self._log_button.setCheckable(True)
        self._log_button.setVisible(log)
        self._log_button.toggled.connect(lambda _on: self.refresh(now=True))
        self.head = QWidget()
        """Legend and buttons; may be shown elsewhere."""
        head = QHBoxLayout(self.head)
        head.setContentsMargins(4, 0, 4, 0)
        head.addWidget(self._legend, 1)
        head.addWidget(self._log_button)

        self._left, self._below = Axis(vertical=True), Axis(vertical=False)
        self._holder = QWidget()
        self._holder.setMinimumSize(120, LEAST_HEIGHT)
        self._holder.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        holder = QVBoxLayout(self._holder)
        holder.setContentsMargins(0, 0, 0, 0)
        self._empty = QLabel(empty_text)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        holder.addWidget(self._empty)
        grid = QGridLayout()
        grid.setSpacing(0)
        grid.addWidget(self._left, 0, 0)
        grid.addWidget(self._holder, 0, 1)
        grid.addWidget(self._below, 1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addLayout(grid, 1)
        self._show_legend()

    # -- what is drawn --------------------------------------------------------------------------------------------
    @property
    def lines(self) -> tuple[PlotLine, ...]:
        return self._lines

    @property
    def cursor(self) -> float | None:
        return self._cursor

    @property
    def log(self) -> bool:
        return self._log_button.isChecked()

    @property
    def legend_text(self) -> str:
        """What the legend says, as rich text."""
        return self._legend.text()

    @property
    def empty_visible(self) -> bool:
        """Whether the sentence for an empty plot is shown."""
        return self._empty.isVisible()

    def render(self) -> np.ndarray:
        """What the canvas shows, (height, width, 4) uint8."""
        return self._canvas.render()

    def set_log(self, on: bool) -> None:
        """Make the left axis logarithmic, or not."""
        self._log_button.setChecked(on)

    def set_lines(self, lines: list[PlotLine], *, now: bool = False) -> None:
        """Draw these lines, in place of the earlier ones, when it is time; ``now`` where the user asked for them."""
        self._lines = tuple(lines)
        self.refresh(now=now)

    def set_title(self, title: str) -> None:
        self._title = title
        self._show_legend()

    def set_cursor(self, value: float | None) -> None:
        """Move the upright line; None hides it."""
        if value != self._cursor:
            self._cursor = value
            self._show_legend()
            if self._canvas is not None:
                self._place_cursor()

    def set_marks(self, values: np.ndarray) -> None:
        """Short ticks on the lower axis: places worth a look."""
        self._marks = np.asarray(values, float)
        self.refresh()

    def set_colors(self, colors: PlotColors) -> None:
        """Follow the window's theme."""
        self._colors = colors
        for axis in (self._left, self._below):
            axis.set_color(colors.text)
        self.refresh()

    def set_y_range(self, y_range: tuple[float, float] | None) -> None:
        self._fixed_range = y_range
        self.refresh()

    def refresh(self, *, now: bool = False) -> None:
        """Draw again, at most five times a second and less often where drawing is slow; ``now``: without waiting."""
        self._dirty = True
        if not self.isVisible():
            return
        if now:
            self._timer.start(0)
        elif not self._timer.isActive():
            wait = max(0.0, self._drawn_at + self._interval - time.perf_counter())
            self._timer.start(int(wait * 1000))

    def click(self, value: float) -> None:
        """What a click at ``value`` on the lower axis does."""
        low, high = self._x_scale.low, self._x_scale.high
        value = min(max(value, low), high)
        self.clicked.emit(float(round(value)) if self._whole_x else float(value))

    # -- Qt -------------------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(420, 170)

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self.refresh()

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)
        self._show_legend()
        self.refresh()

    # -- drawing --------------------------------------------------------------------------------------------------
    def _draw(self) -> None:
        if not self._dirty or not self.isVisible():
            return
        self._dirty = False
        has_lines = any(line.x.size for line in self._lines)
        self._empty.setVisible(not has_lines)
        if has_lines and self._canvas is None:
            self._make_canvas()
        self._show_legend()
        if self._canvas is None:
            return
        self._canvas.native.setVisible(has_lines)
        if not has_lines:
            self._cursor_line.hide()
            self._left.set_ticks([], Scale(0, 1, 0, 1))
            self._below.set_ticks([], Scale(0, 1, 0, 1))
            return
        begun = time.perf_counter()
        self._place()
        self._canvas.native.repaint()
        self._drawn_at = time.perf_counter()
        self.drawings += 1
        self._interval = max(FASTEST_SECONDS, (self._drawn_at - begun) / SHARE)

    def _make_canvas(self) -> None:
        from vispy import scene

        self._canvas = scene.SceneCanvas(keys=None, show=False, bgcolor=self._colors.background, parent=self._holder)
        nothing = np.zeros((2, 2), np.float32)
        options = {"connect": "segments", "parent": self._canvas.scene, "antialias": False}
        self._grid_visual = scene.Line(nothing, color=self._colors.grid, width=1, **options)
        self._line_visual = scene.Line(nothing, color="white", width=2, **options)
        for order, visual in enumerate((self._grid_visual, self._line_visual)):
            visual.order = order
        self._canvas.events.mouse_press.connect(self._on_mouse)
        self._canvas.events.mouse_move.connect(self._on_mouse)
        self._canvas.events.resize.connect(lambda _event: self.refresh())
        self._holder.layout().addWidget(self._canvas.native)
        # Not a part of the scene: the lines would be drawn again with every move of a slider.
        self._cursor_line = QWidget(self._holder)
        self._cursor_line.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._cursor_line.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)

    def _place(self) -> None:
        lines = [(line, *thin(np.asarray(line.x, float), np.asarray(line.y, float))) for line in self._lines]
        width, height = (float(length) for length in self._canvas.size)
        xs = [x for _, x, _ in lines if x.size]
        low, high = span(xs, pad=0.0)
        if high - low < 1e-9:
            low, high = low - 1, high + 1
        self._x_scale = Scale(low, high, MARGIN, max(width - MARGIN, MARGIN + 1))
        y_low, y_high = (
            self._fixed_range if self._fixed_range and not self.log else span([y for _, _, y in lines], log=self.log)
        )
        self._y_scale = Scale(y_low, y_high, max(height - MARGIN, MARGIN + 1), MARGIN, log=self.log)

        positions: list[np.ndarray] = []
        colors: list[np.ndarray] = []
        for line, x, y in lines:
            if x.size:
                part = segments(self._x_scale.pixels(x), self._y_scale.pixels(y), dashed=line.dashed)
                positions.append(part)
                colors.append(np.tile(_rgba(line.color), (len(part), 1)))
        marks = self._x_scale.pixels(self._marks)
        stubs = np.stack(
            [np.stack([marks, np.full_like(marks, height)], 1), np.stack([marks, np.full_like(marks, height - 7)], 1)],
            1,
        )
        positions.append(stubs.reshape(-1, 2))
        colors.append(np.tile(_rgba(self._colors.text), (2 * len(marks), 1)))
        _set(self._line_visual, np.concatenate(positions), np.concatenate(colors))

        y_ticks = spaced(self._y_scale.ticks(max(2, int(height / 36))), self._y_scale, self.fontMetrics().height())
        x_ticks = self._x_scale.ticks(max(2, int(width / 90)))
        rows = self._y_scale.pixels(np.array(y_ticks))
        grid = [[(MARGIN, row), (width - MARGIN, row)] for row in rows]
        _set(self._grid_visual, np.array(grid).reshape(-1, 2), np.tile(_rgba(self._colors.grid), (2 * len(grid), 1)))
        self._canvas.bgcolor = self._colors.background
        self._left.set_ticks(y_ticks, self._y_scale)
        self._below.set_ticks(
            [tick for tick in x_ticks if not self._whole_x or float(tick).is_integer()], self._x_scale, self._x_label
        )
        self._place_cursor()

    def _place_cursor(self) -> None:
        line = self._cursor_line
        if self._cursor is not None:
            background = f"background: {self._colors.cursor};"  # a palette would give way to napari's sheet
            if line.styleSheet() != background:
                line.setStyleSheet(background)
            frame = self._canvas.native.geometry()
            x = frame.x() + round(float(self._x_scale.pixels(np.array([self._cursor]))[0]))
            line.setGeometry(x, frame.y(), 1, frame.height())
            line.raise_()
        line.setVisible(self._cursor is not None and any(item.x.size for item in self._lines))

    def _on_mouse(self, event: object) -> None:
        if getattr(event, "button", None) == 1:
            self.click(self._x_scale.value(float(event.pos[0])))  # type: ignore[attr-defined]

    def _show_legend(self) -> None:
        self._legend.setText(
            legend(self._title, self._lines, self._cursor, self._legend.fontMetrics(), self._legend.width())
        )
        self._legend.setToolTip("\n".join(line.name for line in self._lines))


def plot_colors(theme: str) -> PlotColors:
    """Colours of a napari theme."""
    from napari.utils.theme import get_theme

    colors = get_theme(theme)
    background, text = colors.background.as_hex(), colors.text.as_hex()
    return PlotColors(background=background, grid=colors.primary.as_hex(), text=text, cursor=text)


def _set(visual: object, positions: np.ndarray, colors: np.ndarray) -> None:
    visual.visible = len(positions) > 0  # type: ignore[attr-defined]
    if len(positions):
        visual.set_data(pos=positions.astype(np.float32), color=colors)  # type: ignore[attr-defined]


def _rgba(color: str) -> np.ndarray:
    parsed = QColor(color)
    return np.array([parsed.redF(), parsed.greenF(), parsed.blueF(), 1.0], np.float32)
