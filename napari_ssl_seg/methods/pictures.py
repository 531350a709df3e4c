"""A view as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from napari_ssl_seg.methods.base import View

SMALLEST_SIDE = 256
"""Pixels; smaller pictures are enlarged by a whole factor, voxels staying square."""
PALETTE = np.array(
    [
        (0, 0, 0),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    dtype=np.uint8,
)
"""Black for the background, then Okabe and Ito's colours, which colour-blind readers tell apart."""
SHADES = np.array([(1.0, 0.0), (0.55, 0.0), (0.5, 127.5), (0.3, 0.0)])
"""Factor and offset of the palette's colours, round by round."""
CURVE_COLOUR = 4
"""Place in the palette, black left out, of a curve's first line: blue."""
DARK, LIGHT = np.array((0.0, 32.0, 77.0)), np.array((255.0, 234.0, 70.0))
"""Ends of the colours of matrices: blue and yellow, which colour-blind readers tell apart."""
NUMBERED_CELL = 40
"""Pixels; cells of a matrix that are so large bear their number."""


def write_picture(path: Path, view: View, *, row: int, dims: int, backdrop: View | None = None) -> None:
    """Write the first sample of a view as a PNG, whole or not at all.

    Parameters
    ----------
    row
        Slice of a 3D patch to show.
    dims
        2 or 3.
    backdrop
        An image view on which boxes and points are drawn.
    """
    with atomic_path(path) as temporary:
        picture(view, row=row, dims=dims, backdrop=backdrop).save(temporary, format="PNG")


def picture(view: View, *, row: int, dims: int, backdrop: View | None = None) -> Image:
    """The first sample of a view. Channels lie side by side; a curve, a matrix or a table belongs to the whole batch and is
    drawn on white."""
    if view.kind == "image":
        return _grey(_plane(view.data[0], row, dims), view.range)
    if view.kind in ("labels", "mask"):
        values = _plane(view.data[0][None], row, dims)[0].astype(np.int64)
        return _enlarged(
            _label_colours(values) if view.kind == "labels" else np.uint8(255) * (values > 0).astype(np.uint8)
        )
    if view.kind == "boxes":
        return _boxes(np.asarray(view.data[0]), row, dims, backdrop)
    if view.kind == "points":
        return _points(np.asarray(view.data[0]), row, dims, backdrop)
    if view.kind == "matrix":
        return _matrix(np.asarray(view.data, dtype=np.float64), view.range)
    if view.kind == "curve":
        return _curve(np.asarray(view.data, dtype=np.float64))
    return _table(view.data)


def _label_colours(values: np.ndarray) -> np.ndarray:
    """(y, x, 3): the palette, and for larger labels darker and paler rounds of it; black where there is none."""
    turn, place = np.divmod(np.maximum(values, 1) - 1, len(PALETTE) - 1)
    shade = SHADES[turn % len(SHADES)]
    shaded = PALETTE[place + 1] * shade[..., :1] + shade[..., 1:]
    return np.where((values > 0)[..., None], shaded + 0.5, 0).astype(np.uint8)


def _plane(data: Any, row: int, dims: int) -> np.ndarray:
    """(C, *spatial) to (C, y, x)."""
    array = np.asarray(data.numpy(force=True) if hasattr(data, "numpy") else data)
    return array if dims == 2 else array[:, row]


def _grey(channels: np.ndarray, limits: tuple[float, float] | None) -> Image:
    low, high = limits if limits else (float(channels.min()), float(channels.max()))
    scaled = (np.concatenate(list(channels), axis=1) - low) / max(high - low, 1e-12)
    return _enlarged((np.clip(scaled, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def _enlarged(pixels: np.ndarray) -> Image:
    from PIL import Image

    factor = _factor(pixels.shape)
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1)))


def _factor(shape: tuple[int, ...]) -> int:
    return max(1, -(-SMALLEST_SIDE // max(shape[:2])))


def _canvas(corners: np.ndarray, row: int, dims: int, backdrop: View | None) -> tuple[Image, int]:
    """What to draw on, in colour, and how many pixels a voxel has."""
    from PIL import Image

    if backdrop is None:
        side = max(SMALLEST_SIDE, int(corners.max(initial=1)) + 1)
        return Image.new("RGB", (side, side)), 1
    plane = _plane(backdrop.data[0], row, dims)[:1]
    return _grey(plane, backdrop.range).convert("RGB"), _factor(plane.shape[1:])


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = PALETTE[number % (len(PALETTE) - 1) + 1].tolist()
    return red, green, blue


def _boxes(corners: np.ndarray, row: int, dims: int, backdrop: View | None) -> Image:
    from PIL import ImageDraw

    canvas, factor = _canvas(corners, row, dims, backdrop)
    draw = ImageDraw.Draw(canvas)
    for number, corner in enumerate(corners.tolist()):
        start, stop = corner[:dims], corner[dims:]
        if (dims == 3 and not start[0] <= row < stop[0]) or stop[-1] <= start[-1]:
            continue
        (top, left), (bottom, right) = start[-2:], stop[-2:]
        draw.rectangle(
            (left * factor, top * factor, right * factor - 1, bottom * factor - 1),
            outline=_colour(number),
            width=max(1, factor // 2),
        )
    return canvas


def _points(places: np.ndarray, row: int, dims: int, backdrop: View | None) -> Image:
    """Points of the slice, in 3D those nearest to it; a point that is not finite is none."""
    from PIL import ImageDraw

    finite = np.isfinite(places).all(axis=1)
    canvas, factor = _canvas(places[finite], row, dims, backdrop)
    draw = ImageDraw.Draw(canvas)
    radius = max(2, factor // 2)
    for number in np.flatnonzero(finite).tolist():
        point = places[number].tolist()
        if dims == 3 and round(point[0]) != row:
            continue
        down, across = ((float(place) + 0.5) * factor for place in point[-2:])
        box = (across - radius, down - radius, across + radius, down + radius)
        draw.ellipse(box, fill=_colour(number), outline="black")
    return canvas


def _matrix(values: np.ndarray, limits: tuple[float, float] | None) -> Image:
    """Cells from dark to light, rows from top to bottom; where there is room, with their numbers."""
    from PIL import Image, ImageDraw

    finite = values[np.isfinite(values)]
    low, high = limits or (float(finite.min(initial=0.0)), float(finite.max(initial=1.0)))
    unit = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12), 0.0, 1.0)[..., None]
    shades = (DARK + unit * (LIGHT - DARK) + 0.5).astype(np.uint8)
    cell = max(1, -(-SMALLEST_SIDE // max(1, *values.shape)))
    canvas = Image.fromarray(np.ascontiguousarray(shades.repeat(cell, axis=0).repeat(cell, axis=1)))
    if cell >= NUMBERED_CELL:
        draw = ImageDraw.Draw(canvas)
        for (row, column), value in np.ndenumerate(values):
            ink = "black" if unit[row, column, 0] > 0.5 else "white"
            centre = ((column + 0.5) * cell, (row + 0.5) * cell)
            draw.text(centre, "-" if np.isnan(value) else f"{value:.2f}", fill=ink, anchor="mm")
    return canvas


def _curve(points: np.ndarray) -> Image:
    """Lines through the points; a point that is not finite ends a line, and the next one begins in another colour."""
    from PIL import Image, ImageDraw

    width, height, margin = 480, 320, 24
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((margin, margin, width - margin, height - margin), outline="grey")
    whole = np.isfinite(points).all(axis=1)
    if whole.sum() < 2:
        return canvas
    low, high = points[whole].min(axis=0), points[whole].max(axis=0)
    unit = (points - low) / np.maximum(high - low, 1e-12)
    across = margin + unit[:, 0] * (width - 2 * margin)
    down = height - margin - unit[:, 1] * (height - 2 * margin)
    for number, line in enumerate(_stretches(whole)):
        path = list(zip(across[line].tolist(), down[line].tolist(), strict=True))
        if len(path) > 1:
            draw.line(path, fill=_colour(CURVE_COLOUR + number), width=2)
    for place, value, anchor in (
        ((margin, height - margin + 4), low[0], "la"),
        ((width - margin, height - margin + 4), high[0], "ra"),
        ((margin, margin - 4), high[1], "ld"),
        ((margin + 4, height - margin - 4), low[1], "ld"),
    ):
        draw.text(place, f"{value:.3g}", fill="black", anchor=anchor)
    return canvas


def _stretches(whole: np.ndarray) -> list[slice]:
    """Runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _table(rows: dict[str, Any]) -> Image:
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (320, 20 + 18 * max(len(rows), 1)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (name, value) in enumerate(rows.items()):
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        draw.text((10, 10 + 18 * number), str(name), fill="black")
        draw.text((200, 10 + 18 * number), text, fill="black")
    return canvas
