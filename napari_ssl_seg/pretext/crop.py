"""Cutting a patch out of a scan, padded where it sticks out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_ssl_seg.volumes.blocks import overview_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EMPTY_SHARE = 0.1
"""A patch whose standard deviation is below this share of the scan's holds nearly nothing (air, the table)."""
OUTSIDE = -1
"""Region of the voxels of a patch that lie outside the scan."""


class RegionCut(Protocol):
    """The region map of a scan, of which only the slices asked for are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x), that of the scan."""

    def cut(self, start: int, stop: int) -> np.ndarray:
        """Integers (stop - start, y, x): 1, 2 ... and 0 where there is no region."""


@dataclass(frozen=True)
class WholeMap:
    """A region map that is in memory as a whole."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.array.shape
        return z, y, x

    def cut(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


@dataclass(frozen=True)
class KnownSlices:
    """The region map of a scan of which not every slice is known; the others count as lying outside."""

    shape: tuple[int, int, int]
    find: Callable[[int], np.ndarray | None]
    """The map (y, x) of a slice, None where it is not known."""

    def cut(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, y, x)."""
        cut = np.full((max(stop - start, 0), *self.shape[1:]), OUTSIDE, dtype=np.int64)
        for z in range(start, stop):
            known = self.find(z)
            if known is not None:
                cut[z - start] = known
        return cut


@dataclass(frozen=True)
class Crop:
    """``image`` is (C, *patch), ``start`` the index (z, y, x) of the first voxel, maybe negative; region maps are (*patch)."""

    image: np.ndarray
    start: tuple[int, int, int]
    regions: np.ndarray | None = None
    submasks: np.ndarray | None = None

    def slice(self) -> Crop:
        """A patch of one slice without its first axis: (C, y, x)."""

        def first(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[0]

        return Crop(self.image[:, 0], self.start, first(self.regions), first(self.submasks))

    def flipped(self, axes: Sequence[int]) -> Crop:
        """Mirrored along axes of (z, y, x)."""
        if not axes:
            return self

        def flip(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.ascontiguousarray(np.flip(array, tuple(axes)))

        image = np.ascontiguousarray(np.flip(self.image, tuple(axis + 1 for axis in axes)))
        return Crop(image, self.start, flip(self.regions), flip(self.submasks))


def crop(
    array: np.ndarray,
    start: tuple[int, int, int],
    size: tuple[int, int, int],
    *,
    fill: float,
    regions: RegionCut | None = None,
    submasks: RegionCut | None = None,
) -> Crop:
    """Copy ``size`` voxels from ``start`` on; what lies outside the scan is ``fill``, and region `OUTSIDE`.

    Parameters
    ----------
    array
        (C, z, y, x).
    start
        May be negative, or so large that the patch ends outside.
    """
    return Crop(
        _cut(array, start, size, fill), start, _cut_regions(regions, start, size), _cut_regions(submasks, start, size)
    )


def random_start(shape: Sequence[int], size: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int]:
    """A start such that the patch lies inside; along axes where it is longer than the scan, the scan is centred in it."""
    z, y, x = (
        int(rng.integers(length - side + 1)) if length >= side else -((side - length) // 2)
        for length, side in zip(shape, size, strict=True)
    )
    return z, y, x


def centred_start(
    shape: Sequence[int], size: Sequence[int], slice_index: int, *, keep_depth: bool
) -> tuple[int, int, int]:
    """A start such that the patch lies in the middle of that slice.

    With ``keep_depth`` the patch is moved along z to lie inside the scan where it can; it still holds the slice.
    """

    def middle(length: int, side: int) -> int:
        return (length - side) // 2 if length >= side else -((side - length) // 2)

    depth, side = shape[0], size[0]
    z = slice_index
    if keep_depth:
        z = min(max(slice_index - side // 2, 0), depth - side) if depth >= side else middle(depth, side)
    return z, middle(shape[1], size[1]), middle(shape[2], size[2])


@dataclass(frozen=True)
class Contrast:
    """A scan's lowest value and its standard deviation, read off a regular grid of about `OVERVIEW_VOXELS` voxels."""

    floor: float
    deviation: float

    @classmethod
    def of(cls, array: np.ndarray) -> Contrast:
        """``array`` is (C, z, y, x); one on disk has the grid at hand (`volumes.block_array.BlockArray.overview`)."""
        overview = getattr(array, "overview", None)
        probed = array[_grid(array.shape)] if overview is None else overview()
        return cls(float(probed.min()), float(probed.std()))

    def is_empty(self, array: np.ndarray, start: Sequence[int], size: Sequence[int]) -> bool:
        """Whether the part of a patch that lies in the scan varies by less than `EMPTY_SHARE` of what the scan does."""
        ends = [
            (min(max(at, 0), length), max(min(at + side, length), 0))
            for at, side, length in zip(start, size, array.shape[1:], strict=True)
        ]
        step = overview_step([array.shape[0], *(max(high - low, 0) for low, high in ends)])
        inside = array[(slice(None), *(slice(low, high, step) for low, high in ends))]
        return float(inside.std()) < EMPTY_SHARE * self.deviation


def _grid(shape: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *[slice(None, None, overview_step(shape))] * 3)


def _cut(array: np.ndarray, start: Sequence[int], size: Sequence[int], fill: float) -> np.ndarray:
    inside, outside = [], []
    for length, at, side in zip(array.shape[1:], start, size, strict=True):
        low, high = min(max(at, 0), length), max(min(at + side, length), 0)
        inside.append(slice(low, high))
        outside.append(slice(low - at, high - at))
    part = array[(slice(None), *inside)]
    if part.shape[1:] == tuple(size):
        return part.copy() if isinstance(array, np.ndarray) else part  # what was read from blocks is nobody else's
    cut = np.full((array.shape[0], *size), fill, dtype=array.dtype)
    cut[(slice(None), *outside)] = part
    return cut


def _cut_regions(
    regions: RegionCut | None, start: tuple[int, int, int], size: tuple[int, int, int]
) -> np.ndarray | None:
    if regions is None:
        return None
    depth, at = regions.shape[0], start[0]
    low, high = min(max(at, 0), depth), max(min(at + size[0], depth), 0)
    slices = np.asarray(regions.cut(low, high)).astype(np.int64)[None]
    return _cut(slices, (at - low, *start[1:]), size, OUTSIDE)[0]
