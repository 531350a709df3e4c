"""Which axes to pool, and when: from the shape and the spacing of the scans. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_FEATURE = 4
"""An axis is pooled only while it keeps this many voxels."""
ANISOTROPY = 2.0
"""An axis is not pooled while its voxels are this many times longer than the shortest side of a voxel."""


def plan_strides(
    dims: int, shape: Sequence[float], spacing: Sequence[float], levels: int
) -> tuple[tuple[int, ...], ...]:
    """Pooling between ``levels`` levels, fitted to thick slices and short axes.

    An axis is pooled by 2 where its voxels, as large as they have grown on that level, are less than twice as long as
    the shortest, and where `SMALLEST_FEATURE` voxels remain. Always 2 in 2D.

    Parameters
    ----------
    dims
        2 or 3.
    shape, spacing
        (z, y, x), in voxels and mm.
    """
    if dims == 2:
        return ((2, 2),) * (levels - 1)
    size, step = list(shape), list(spacing)
    strides = []
    for _ in range(levels - 1):
        long_enough = [axis for axis in range(3) if size[axis] / 2 >= SMALLEST_FEATURE]
        finest = min((step[axis] for axis in long_enough), default=min(step))
        stride = tuple(2 if axis in long_enough and step[axis] < ANISOTROPY * finest else 1 for axis in range(3))
        strides.append(stride)
        size = [length / by for length, by in zip(size, stride, strict=True)]
        step = [length * by for length, by in zip(step, stride, strict=True)]
    return tuple(strides)


def plan_kernels(dims: int, spacing: Sequence[float], strides: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """A convolution kernel for each level: 3, and 1 along an axis whose voxels are still twice as long as the shortest."""
    if dims == 2:
        return ((3, 3),) * (len(strides) + 1)
    step = list(spacing)
    kernels = []
    for stride in (*strides, (1, 1, 1)):
        kernels.append(tuple(1 if length >= ANISOTROPY * min(step) else 3 for length in step))
        step = [length * by for length, by in zip(step, stride, strict=True)]
    return tuple(kernels)
