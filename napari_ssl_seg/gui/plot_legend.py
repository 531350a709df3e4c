"""The legend of a plot in one line: whole entries only, and how many more there are."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QFontMetrics

    from napari_ssl_seg.gui.curves import PlotLine

GAP = "   "


def legend(title: str, lines: Sequence[PlotLine], cursor: float | None, metrics: QFontMetrics, room: int) -> str:
    """Title and entries as rich text, as many as ``room`` pixels hold, then ``+ 3``; names say the value at the cursor."""
    parts = [f"<b>{html.escape(title)}</b>"] if title else []
    used = metrics.horizontalAdvance(title) * 1.15  # bold
    for number, line in enumerate(lines):
        value = value_at(line, cursor)
        mark = "┅" if line.dashed else "━"
        text = shortened(line.name) + ("" if value is None else f" {_number(value)}")
        left = len(lines) - number - 1
        if number == 0:  # the first is shown in any case, and is shortened where it has to be
            more = metrics.horizontalAdvance(f"{GAP}{mark} {GAP}+ {left}")
            text = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, max(round(room - used - more), 80))
        used += metrics.horizontalAdvance(f"{GAP}{mark} {text}")
        if number and used + (metrics.horizontalAdvance(f"{GAP}+ {left}") if left else 0) > room:
            parts.append(f"+&nbsp;{left + 1}")
            break
        text = html.escape(text).replace(" ", "&nbsp;")
        parts.append(f'<span style="color:{line.color}">{mark}</span>&nbsp;{text}')
    return " &nbsp; ".join(parts)


def shortened(name: str, length: int = 26) -> str:
    """A long name with its middle left out."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length // 2 - 1) :]}"


def value_at(line: PlotLine, x: float | None) -> float | None:
    """The line's value at ``x``; None where it has none."""
    if x is None or not line.x.size:
        return None
    index = int(np.abs(np.asarray(line.x, float) - x).argmin())
    value = float(line.y[index])
    return value if np.isfinite(value) and abs(float(line.x[index]) - x) < 1 else None


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
