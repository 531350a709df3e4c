"""What there is to see of a match: the same piece of both scans around the two points, and the map of similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ssl_seg.anatomy.matching import Match, PointMatcher
    from napari_ssl_seg.study import Study

PIXELS = 192
"""Side of a picture."""


@dataclass(frozen=True)
class Plane:
    """A square piece of one slice of a scan, with square pixels."""

    image: np.ndarray
    """float32 (PIXELS, PIXELS), 0 to 1; NaN outside the scan."""
    cross: tuple[float, float]
    """(row, column) of the point in it."""
    axis: int
    index: int
    """Slice along the axis."""
    start: tuple[float, float]
    """Along the other two axes, what pixel coordinate 0, the upper left corner, is in voxels."""
    voxels_a_pixel: tuple[float, float]
    """Negative where the picture runs against the axis."""

    def point_at(self, row: float, column: float) -> tuple[float, float, float]:
        """Voxels (z, y, x) of the scan under a place in the picture, in pixels from its upper left corner."""
        places = [
            at + size * pixel for at, size, pixel in zip(self.start, self.voxels_a_pixel, (row, column), strict=True)
        ]
        places.insert(self.axis, float(self.index))
        return places[0], places[1], places[2]


@dataclass(frozen=True)
class MatchPictures:
    """Both scans around a point and its match."""

    first: Plane
    """The crop around the point."""
    second: Plane
    """As many millimetres of the other scan around the match."""
    first_whole: Plane
    second_whole: Plane
    similarity: np.ndarray | None
    """On ``second``: float32, NaN outside the scan; None where the matcher has none."""
    similarity_whole: np.ndarray | None
    """On ``second_whole``."""
    side_mm: float
    """Of the crops."""


def match_pictures(
    study: Study,
    matcher: PointMatcher,
    case_id: str,
    point: Sequence[float],
    other_id: str,
    match: Match,
    *,
    side_mm: float | None = None,
    axis: int = 0,
    channel: int = 0,
) -> MatchPictures:
    """Cut the slices through both points.

    Parameters
    ----------
    side_mm
        Of the crops; a third of the scan's longest side if None.
    axis
        0 axial, 1 coronal, 2 sagittal.
    """
    cases = study.case(case_id), study.case(other_id)
    arrays = [study.patches_source(case.id, purpose="show").array[min(channel, case.channels - 1)] for case in cases]
    longest = [max(n * s for n, s in zip(case.shape, case.spacing, strict=True)) for case in cases]
    side = longest[0] / 3 if side_mm is None else side_mm
    points = (point, match.point)

    def cut(number: int, side: float, *, whole: bool = False) -> Plane:
        return plane_at(arrays[number], cases[number].spacing, points[number], side, axis=axis, whole=whole)

    first, second = cut(0, side), cut(1, side)
    wholes = [cut(number, longest[number], whole=True) for number in (0, 1)]
    similar = getattr(matcher, "similarity_map", None)
    near = far = None
    if similar is not None:
        volume = similar(case_id, point, other_id)
        near, far = (_read(volume, plane) for plane in (second, wholes[1]))
    return MatchPictures(first, second, wholes[0], wholes[1], near, far, side)


def plane_at(
    array: np.ndarray,
    spacing: Sequence[float],
    point: Sequence[float],
    side_mm: float,
    *,
    axis: int = 0,
    whole: bool = False,
) -> Plane:
    """A square of ``side_mm`` of the slice through a point, around it, or with ``whole`` around the slice's middle."""
    others = [number for number in range(3) if number != axis]
    index = int(np.clip(np.floor(point[axis] + 0.5), 0, array.shape[axis] - 1))
    centre = [(array.shape[k] - 1) / 2 if whole else float(point[k]) for k in others]
    # Held arrays run from feet to head: upwards in a coronal or sagittal picture.
    step = [(-1 if k == 0 else 1) * side_mm / PIXELS / spacing[k] for k in others]
    start = [c - s * PIXELS / 2 for c, s in zip(centre, step, strict=True)]
    cross = [(float(point[k]) - a) / s for k, a, s in zip(others, start, step, strict=True)]
    empty = np.zeros((0, 0), np.float32)
    plane = Plane(empty, (cross[0], cross[1]), axis, index, (start[0], start[1]), (step[0], step[1]))
    image = _read(np.asarray(array[_slice(axis, index)], np.float32), plane, cut=True)
    known = image[np.isfinite(image)]
    low, high = (float(v) for v in np.percentile(known, (0.5, 99.8))) if len(known) else (0.0, 1.0)
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return Plane(image, plane.cross, axis, index, plane.start, plane.voxels_a_pixel)


def save_pictures(pictures: MatchPictures, folder: object) -> list[str]:
    """Write ``scan.png``, ``other.png`` (both with a cross) and ``similarity.png``; returns their paths."""
    from pathlib import Path

    from PIL import Image

    from napari_ssl_seg.files import atomic_path

    found = {"scan": coloured(pictures.first), "other": coloured(pictures.second)}
    if pictures.similarity_whole is not None:
        found["similarity"] = coloured(pictures.second_whole, pictures.similarity_whole)
    paths = []
    for name, pixels in found.items():
        path = Path(str(folder)) / f"{name}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
        paths.append(str(path))
    return paths


def coloured(plane: Plane, similarity: np.ndarray | None = None, *, cross: bool = True) -> np.ndarray:
    """uint8 (PIXELS, PIXELS, 3): grey, similarity over it from blue to yellow, a cross at the point."""
    grey = np.nan_to_num(plane.image)[..., None] * 255.0 * np.ones(3)
    if similarity is not None:
        heat, weight = heat_colours(similarity)
        grey = grey * (1 - weight[..., None]) + heat * weight[..., None]
    pixels = np.where(np.isnan(plane.image)[..., None], 40.0, grey)
    if cross:
        _draw_cross(pixels, plane.cross)
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def heat_colours(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(…, 3) colours and (…) opacities: only what is nearly as similar as the most similar place stands out."""
    known = similarity[np.isfinite(similarity)]
    top = float(known.max()) if len(known) else 1.0
    middle = float(np.median(known)) if len(known) else 0.0
    share = np.clip((np.nan_to_num(similarity, nan=middle) - middle) / max(top - middle, 1e-6), 0, 1)
    blue, yellow = np.array((0.0, 60.0, 160.0)), np.array((255.0, 225.0, 40.0))
    return blue + (yellow - blue) * share[..., None], 0.75 * share**1.5


def _draw_cross(pixels: np.ndarray, at: tuple[float, float], gap: int = 4, arm: int = 12) -> None:
    row, column = (round(value - 0.5) for value in at)
    for colour, width in (((0, 0, 0), 1), ((255, 140, 0), 0)):
        for a, b in ((gap, arm), (-arm, -gap)):
            _fill(pixels, row - width, row + width + 1, column + a - width, column + b + 1 + width, colour)
            _fill(pixels, row + a - width, row + b + 1 + width, column - width, column + width + 1, colour)


def _fill(pixels: np.ndarray, top: int, bottom: int, left: int, right: int, colour: Sequence[int]) -> None:
    pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour


def _slice(axis: int, index: int) -> tuple[slice | int, ...]:
    found: list[slice | int] = [slice(None)] * 3
    found[axis] = index
    return tuple(found)


def _read(array: np.ndarray, plane: Plane, *, cut: bool = False) -> np.ndarray:
    """Linear interpolation at the pixels of a plane; NaN outside. ``array`` is the volume, or with ``cut`` its slice."""
    values = np.asarray(array if cut else array[_slice(plane.axis, plane.index)], np.float32)
    outside = []
    for number, (start, step) in enumerate(zip(plane.start, plane.voxels_a_pixel, strict=True)):
        positions = start + (np.arange(PIXELS) + 0.5) * step
        size = array.shape[number] if cut else values.shape[number]
        outside.append((positions < -0.5) | (positions > size - 0.5))
        values = _along(values, positions, number)
    return np.where(outside[0][:, None] | outside[1][None], np.nan, values).astype(np.float32)


def _along(values: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    last = values.shape[axis] - 1
    inside = np.clip(positions, 0, last)
    low = np.floor(inside).astype(int)
    share = (inside - low)[:, None] if axis == 0 else (inside - low)[None]
    return values.take(low, axis) * (1 - share) + values.take(np.minimum(low + 1, last), axis) * share
