"""How the panel looks: one style sheet, made from napari's theme, and roles that widgets are marked with.

Widgets carry a role instead of colours of their own; the dock applies the sheet once and again when the theme changes.

=========  ==========================================================================================
role       meaning
=========  ==========================================================================================
primary    the filled button: the next step. One on a tab.
choice     a large button of an empty tab
quiet      a button like text: possible, but not the next step
heading    the name of what is shown
hint       smaller and dimmer: an explanation
thumbnail  a small picture; checked: it is visible in the viewer
switch     a small rounded button that is on or off
chip       a number with its name, in a rounded box
card       a frame around things that belong together
problem    a warning that stays
error      a sentence about what went wrong
axis       the numbers beside a plot
=========  ==========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QWidget

ROLES = ("primary", "choice", "quiet", "heading", "hint", "thumbnail", "chip", "card", "problem", "error", "axis")

# Okabe-Ito blue and its darker sister: at least 4.5:1 with white text on both themes.
ACCENT, ACCENT_HOVER, ACCENT_PRESSED = "#0072b2", "#0a84c9", "#005a8c"

_SHEET = """
QPushButton[role="primary"] {{ background: {accent}; color: white; font-weight: 600; border-radius: 4px; padding: 6px 12px; }}
QPushButton[role="primary"]:hover {{ background: {accent_hover}; }}
QPushButton[role="primary"]:pressed {{ background: {accent_pressed}; }}
QPushButton[role="primary"]:disabled {{ background: {foreground}; color: {dim}; }}
QPushButton[role="choice"] {{ text-align: left; padding: 10px 12px; border: 1px solid {line}; border-radius: 6px;
    background: {foreground}; }}
QPushButton[role="choice"]:hover {{ border-color: {accent_hover}; }}
QPushButton[role="choice"]:focus {{ border-color: {accent_hover}; }}
QPushButton[role="quiet"] {{ background: transparent; padding: 4px 6px; text-decoration: underline; }}
QPushButton[role="quiet"]:hover {{ background: {foreground}; }}
QPushButton[role="quiet"]:disabled {{ color: {dim}; }}
QToolButton[role="quiet"] {{ background: transparent; border: none; padding: 3px; text-align: left; }}
QToolButton[role="quiet"]:hover {{ background: {foreground}; }}
QToolButton[role="quiet"]:checked {{ color: {text}; }}
QToolButton[role="quiet"]::menu-indicator {{ image: none; }}
QToolButton[role="thumbnail"] {{ background: transparent; border: 2px solid transparent; border-radius: 4px; padding: 2px; }}
QToolButton[role="thumbnail"]:hover {{ background: {foreground}; }}
QToolButton[role="thumbnail"]:checked {{ border-color: {accent_hover}; }}
QToolButton[role="switch"] {{ background: transparent; border: 1px solid {dim}; border-radius: 9px; padding: 2px 6px; }}
QToolButton[role="switch"]:hover {{ background: {foreground}; }}
QToolButton[role="switch"]:checked {{ background: {accent}; color: white; border-color: {accent}; }}
QToolButton[role="switch"]:focus {{ border-color: {text}; }}
QLabel[role="heading"] {{ font-weight: 600; }}
QLabel[role="hint"] {{ color: {dim}; }}
QLabel[role="chip"] {{ background: {foreground}; border: 1px solid {line}; border-radius: 8px; padding: 2px 7px; }}
QFrame[role="card"] {{ border: 1px solid {line}; border-radius: 6px; }}
QLabel[role="problem"] {{ background: {warning_back}; color: {warning_text}; border-radius: 4px; padding: 5px 8px; }}
QLabel[role="error"] {{ background: {error_back}; color: {error_text}; border-radius: 4px; padding: 5px 8px; }}
QLabel[role="invalid"] {{ color: {error_text}; }}
QTabBar::tab {{ padding: 4px 6px; }}
QTableView {{ gridline-color: transparent; }}
QTableView, QHeaderView, QTreeView, QListView, QLineEdit, QToolButton, QPlainTextEdit, QWidget[role="axis"]
    {{ font-size: {size}pt; }}
QFrame[role="card"] QAbstractSpinBox {{ min-width: {number}px; }}
QCheckBox::indicator:unchecked {{ border: 1px solid {dim}; padding: 0; }}
QTreeView::indicator {{ width: {box}px; height: {box}px; border-radius: 2px; border: 1px solid {dim};
    background: transparent; }}
QTreeView::indicator:checked {{ background: {accent}; border-color: {accent}; image: url("theme_{theme}:/check.svg"); }}
"""


def mark(widget: QWidget, role: str) -> QWidget:
    """Give a widget its role (see the module's table) and return it; may be called again with another role."""
    widget.setProperty("role", role)
    style = widget.style()
    if style is not None:
        style.unpolish(widget)
        style.polish(widget)
    return widget


def sheet(theme: Mapping[str, str], font_size: int = 10, name: str = "dark") -> str:
    """The style sheet for a theme given as colour names (background, foreground, primary, text) to ``#rrggbb``.

    ``font_size`` in points is for the widgets to which napari's own sheet gives none; ``name`` is the theme's, for its
    icons.
    """
    dark = _luminance(theme["background"]) < 0.5
    return _SHEET.format(
        accent=ACCENT,
        accent_hover=ACCENT_HOVER,
        accent_pressed=ACCENT_PRESSED,
        foreground=theme["foreground"],
        line=theme["primary"],
        text=theme["text"],
        dim=mix(theme["text"], theme["background"], 0.35),
        size=font_size,
        box=round(1.2 * font_size),
        number=8 * font_size,
        theme=name,
        warning_back="#4d3b00" if dark else "#fff1c2",
        warning_text="#ffe08a" if dark else "#5c4300",
        error_back="#5a1f14" if dark else "#fde0da",
        error_text="#ffc3b5" if dark else "#8a1c05",
    )


def sheet_for(viewer: Any) -> str:
    """The style sheet for the theme of a viewer, at napari's font size."""
    from napari.settings import get_settings

    name = str(viewer.theme)
    return sheet(theme_colours(name), int(get_settings().appearance.font_size), name)


def theme_colours(name: str) -> dict[str, str]:
    """Colours of one of napari's themes, as ``#rrggbb``."""
    from napari.utils.theme import get_theme

    theme = get_theme(name)
    return {key: _hex(getattr(theme, key)) for key in ("background", "foreground", "primary", "text", "secondary")}


def mix(first: str, second: str, share: float) -> str:
    """``first`` with that share of ``second``; both ``#rrggbb``."""
    pairs = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a * (1 - share) + b * share):02x}" for a, b in pairs)


def _hex(colour: object) -> str:
    red, green, blue = colour.as_rgb_tuple()[:3]  # type: ignore[attr-defined]
    return f"#{red:02x}{green:02x}{blue:02x}"


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = _channels(colour)
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
