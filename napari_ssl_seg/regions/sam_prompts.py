"""Where Segment Anything is asked: a grid of points over the slice, over crops of it, and fewer of them in flat areas.

Coordinates are (x, y) throughout this and the other ``sam_`` modules, boxes (x0, y0, x1, y1), as the model has them.
"""

from __future__ import annotations

import math

import numpy as np

Box = tuple[int, int, int, int]

FLAT = 0.5
"""An area is flat where grey levels vary less than this share of the mean variation over the slice."""
THINNING = 4
"""Of the points in flat areas, one in so many is kept along each axis."""


def point_grid(side: int) -> np.ndarray:
    """(side², 2) float64 in (0, 1): the centres of ``side`` by ``side`` equal cells, row by row."""
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def crop_boxes(size: tuple[int, int], layers: int, overlap_ratio: float) -> list[tuple[Box, int]]:
    """The whole (H, W) slice as layer 0, and for each layer i >= 1 its 4^i overlapping crops, each with its layer."""
    height, width = size
    boxes: list[tuple[Box, int]] = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / count))
        crop_w, crop_h = (math.ceil((overlap * (count - 1) + length) / count) for length in (width, height))
        for column in range(count):
            for row in range(count):
                x0, y0 = (crop_w - overlap) * column, (crop_h - overlap) * row
                if x0 < width and y0 < height:  # else the slice has fewer pixels than crops along this axis
                    boxes.append(((x0, y0, min(x0 + crop_w, width), min(y0 + crop_h, height)), layer))
    return boxes


def points_per_layer(side: int, layers: int, downscale: int) -> list[np.ndarray]:
    """One `point_grid` for each layer of crops; layer i has ``side / downscale^i`` points a side."""
    return [point_grid(int(side / downscale**layer)) for layer in range(layers + 1)]


def thin_flat_areas(image: np.ndarray, side: int) -> np.ndarray:
    """Which points of `point_grid` are worth asking: (side²,) bool.

    All of those near which the (H, W) image changes, and every fourth along each axis elsewhere: one point in the middle
    of a flat area finds the same mask as its neighbours.
    """
    from scipy.ndimage import uniform_filter

    grey = np.asarray(image, dtype=np.float64)
    # about two cells wide, so that the points on both sides of an edge notice it
    window = tuple(max(3, round(2 * length / side)) for length in grey.shape)
    mean = uniform_filter(grey, window)
    spread = np.sqrt(np.maximum(uniform_filter(grey**2, window) - mean**2, 0.0))
    points = point_grid(side)
    columns, rows = (
        np.minimum((points[:, axis] * grey.shape[1 - axis]).astype(int), grey.shape[1 - axis] - 1) for axis in (0, 1)
    )
    keep = spread[rows, columns] >= FLAT * spread.mean()
    number = np.arange(side)
    coarse = number % THINNING == min(THINNING, side) // 2
    return keep | np.logical_and.outer(coarse, coarse).ravel()
