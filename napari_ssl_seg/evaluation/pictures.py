"""Slices as pictures: the scan in grey, labels as colour and contour, drawn at a size at which a contour is a thin line."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.evaluation.charts import CLASS_COLORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SIDE = 300
"""Pixels of the longer side of a picture."""
FILL = 0.28
"""How much of a class's colour lies over the scan."""


@dataclass(frozen=True)
class Cell:
    """One picture with its words."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Picture:
    """One slice seen by the reference and by each method."""

    title: str
    caption: str
    cells: tuple[Cell, ...]


def draw_slice(
    image: NDArray[Any],
    spacing: tuple[float, float],
    labels: NDArray[Any] | None,
    outline: NDArray[Any] | None = None,
    *,
    colors: Mapping[int, str] | None = None,
    window: tuple[float, float] | None = None,
    box: tuple[slice, slice] | None = None,
    side: int = SIDE,
) -> bytes:
    """A slice as PNG.

    Parameters
    ----------
    image : array, (rows, columns)
        The scan.
    spacing
        mm per row and per column: pixels of the picture are square in mm.
    labels : array like ``image``
        Filled faintly, with a solid contour, in the colours of their classes.
    outline : array like ``image``
        A second label map (the reference), as a dotted white contour.
    colors
        Label value -> ``#rrggbb``; default: by the label's number.
    window
        Values shown as black and white; default: 1st and 99th percentile of the slice.
    box
        The part to show; default all.
    side
        Pixels of the longer side.
    """
    from PIL import Image

    part = box or (slice(None), slice(None))
    grey = np.asarray(image[part], dtype=np.float64)
    grey = np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = window or tuple(np.percentile(grey, [1, 99]))
    grey = np.clip((grey - low) / max(high - low, 1e-9), 0, 1)
    extent = np.array(grey.shape) * spacing
    height, width = (int(size) for size in np.maximum(1, np.round(extent / extent.max() * side)))
    scaled = Image.fromarray((grey * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    canvas = np.repeat(np.asarray(scaled, dtype=np.float64)[..., None], 3, axis=2)
    rows = (np.arange(height) + 0.5) * grey.shape[0] / height
    columns = (np.arange(width) + 0.5) * grey.shape[1] / width
    nearest = np.ix_(rows.astype(int), columns.astype(int))
    if labels is not None:
        large = np.asarray(labels[part])[nearest]
        edge = _contour(large, 2)
        for value in np.unique(large[large != 0]).tolist():
            color, inside = rgb(color_of(value, colors)), large == value
            canvas[inside] = canvas[inside] * (1 - FILL) + np.array(color) * FILL
            canvas[inside & edge] = color
    if outline is not None:
        edge = _contour(np.asarray(outline[part])[nearest], 2)
        dots = (np.add.outer(np.arange(height), np.arange(width)) // 4) % 2 == 0
        canvas[edge & ~dots] = canvas[edge & ~dots] * 0.35  # dark between the dots: seen on white, too
        canvas[edge & dots] = 255
    stream = io.BytesIO()
    Image.fromarray(np.round(canvas).astype(np.uint8)).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def frame_labels(maps: Sequence[NDArray[Any]], margin: float = 0.35) -> tuple[slice, slice]:
    """The part of a slice that shows what any of the maps labels, with a margin; the whole where none does."""
    filled = np.any([np.asarray(part) != 0 for part in maps], axis=0)
    shape = filled.shape
    if not filled.any():
        return slice(0, shape[0]), slice(0, shape[1])
    found = []
    for axis in (0, 1):
        where = np.flatnonzero(filled.any(axis=1 - axis))
        room = max(4, int(margin * (where[-1] - where[0] + 1)))
        found.append(slice(max(0, int(where[0]) - room), min(shape[axis], int(where[-1]) + 1 + room)))
    return found[0], found[1]


def color_of(label: int, colors: Mapping[int, str] | None = None) -> str:
    """The study's colour of a class, or one by its number."""
    return (colors or {}).get(label) or CLASS_COLORS[(label - 1) % len(CLASS_COLORS)]


def rgb(color: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers of 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _contour(labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Pixels of a label within ``width`` of another value."""
    edge = np.zeros(labels.shape, dtype=bool)
    for shift in range(1, width + 1):
        for axis in (0, 1):
            moved, out = np.moveaxis(labels, axis, 0), np.moveaxis(edge, axis, 0)
            differs = moved[shift:] != moved[:-shift]
            out[shift:] |= differs
            out[:-shift] |= differs
    return edge & (labels != 0)
