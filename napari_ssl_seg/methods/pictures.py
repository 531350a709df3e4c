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


def write_picture(path: Path, view: View, *, row: int, dims: int, backdrop: View | None = None) -> None:
    """Write the first sample of a view as a PNG, whole or not at all.

    Parameters
    ----------
    row
        Slice of a 3D patch to show.
    dims
        2 or 3.
    backdrop
        An image view on which boxes are drawn.
    """
    with atomic_path(path) as temporary:
        picture(view, row=row, dims=dims, backdrop=backdrop).save(temporary, format="PNG")


def picture(view: View, *, row: int, dims: int, backdrop: View | None = None) -> Image:
    """The first sample of a view. Channels lie side by side; a curve or a table is drawn on white."""
    if view.kind == "image":
        return _grey(_plane(view.data[0], row, dims), view.range)
    if view.kind in ("labels", "mask"):
        values = _plane(view.data[0][None], row, dims)[0].astype(np.int64)
        colours = PALETTE[np.where(values > 0, (values - 1) % (len(PALETTE) - 1) + 1, 0)]
        return _enlarged(colours if view.kind == "labels" else np.uint8(255) * (values > 0).astype(np.uint8))
    if view.kind == "boxes":
        return _boxes(np.asarray(view.data[0]), row, dims, backdrop)
    if view.kind == "curve":
        return _curve(np.asarray(view.data, dtype=np.float64))
    return _table(view.data)


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


def _boxes(corners: np.ndarray, row: int, dims: int, backdrop: View | None) -> Image:
    from PIL import Image, ImageDraw

    if backdrop is None:
        side = max(SMALLEST_SIDE, int(corners.max(initial=1)))
        canvas, factor = Image.new("RGB", (side, side)), 1
    else:
        plane = _plane(backdrop.data[0], row, dims)[:1]
        canvas, factor = _grey(plane, backdrop.range).convert("RGB"), _factor(plane.shape[1:])
    draw = ImageDraw.Draw(canvas)
    for number, corner in enumerate(corners.tolist()):
        start, stop = corner[:dims], corner[dims:]
        if (dims == 3 and not start[0] <= row < stop[0]) or stop[-1] <= start[-1]:
            continue
        colour = tuple(PALETTE[number % (len(PALETTE) - 1) + 1].tolist())
        (top, left), (bottom, right) = start[-2:], stop[-2:]
        draw.rectangle(
            (left * factor, top * factor, right * factor - 1, bottom * factor - 1),
            outline=colour,
            width=max(1, factor // 2),
        )
    return canvas


def _curve(points: np.ndarray) -> Image:
    from PIL import Image, ImageDraw

    width, height, margin = 480, 320, 20
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((margin, margin, width - margin, height - margin), outline="grey")
    finite = points[np.isfinite(points).all(axis=1)] if len(points) else points
    if len(finite) > 1:
        low, span = finite.min(axis=0), np.maximum(np.ptp(finite, axis=0), 1e-12)
        unit = (finite - low) / span
        across = margin + unit[:, 0] * (width - 2 * margin)
        down = height - margin - unit[:, 1] * (height - 2 * margin)
        draw.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=tuple(PALETTE[5].tolist()), width=2)
    return canvas


def _table(rows: dict[str, Any]) -> Image:
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (320, 20 + 18 * max(len(rows), 1)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (name, value) in enumerate(rows.items()):
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        draw.text((10, 10 + 18 * number), str(name), fill="black")
        draw.text((200, 10 + 18 * number), text, fill="black")
    return canvas
