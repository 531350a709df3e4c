"""Patch sizes and strides from the shape and spacing of the scans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.networks.presets import preset_layout
from napari_ssl_seg.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

SLICE_LIMITS = {"small": 128, "standard": 256, "fdas": 256}
"""Longest side of a 2D patch."""
VOXEL_LIMITS = {"small": 64 * 64 * 32, "standard": 128 * 128 * 64, "unet3d": 128 * 128 * 64}
"""Most voxels of a 3D patch."""
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


def plan_patch(
    dims: int, median_shape: Sequence[float], stride: int | Sequence[int], preset: str = "small"
) -> tuple[int, ...]:
    """A patch for scans of that shape: a multiple of ``stride``, at least twice it, and within the preset's limits.

    In 2D the patch holds the whole slice where `SLICE_LIMITS` allows it. In 3D it is the shape rounded to multiples,
    its relatively longest sides cut until `VOXEL_LIMITS` is kept. Scans smaller than the patch are padded.

    Parameters
    ----------
    dims
        2 or 3.
    median_shape
        (z, y, x), or (y, x) in 2D, in voxels.
    stride
        Total stride of the network along each axis, or one number for all.
    """
    shape = [max(1.0, float(length)) for length in median_shape][-dims:]
    steps = [stride] * dims if isinstance(stride, int) else list(stride)[-dims:]
    least = [2 * step if step > 1 else 1 for step in steps]
    if dims == 2:
        limit = SLICE_LIMITS.get(preset, 256)
        return tuple(
            max(low, min(math.ceil(length / step), limit // step) * step)
            for length, step, low in zip(shape, steps, least, strict=True)
        )
    # Halves are rounded down: a little less context costs less than a margin of padding.
    patch = [
        max(low, math.ceil(length / step - 0.5) * step) for length, step, low in zip(shape, steps, least, strict=True)
    ]
    limit = VOXEL_LIMITS.get(preset, 128 * 128 * 64)
    while math.prod(patch) > limit:
        shrinkable = [axis for axis in range(dims) if patch[axis] - steps[axis] >= least[axis]]
        if not shrinkable:
            break
        longest = max(shrinkable, key=lambda axis: (patch[axis], -axis))
        patch[longest] -= steps[longest]
    return tuple(patch)


def plan_spec(
    dims: int,
    in_channels: int,
    median_shape: Sequence[float],
    median_spacing: Sequence[float],
    *,
    preset: str = "small",
    name: str = "unet",
) -> NetworkSpec:
    """A network for scans of that shape (z, y, x) and spacing (mm): strides for thick slices, and a patch.

    The papers' own layouts (``fdas``, ``unet3d``) keep their strides.

    Raises
    ------
    UserError
        When the preset does not exist for these dimensions.
    """
    levels = len(preset_layout(preset, dims).channels)
    isotropic = ((2,) * dims,) * (levels - 1)
    strides = isotropic if preset in ("fdas", "unet3d") else plan_strides(dims, median_shape, median_spacing, levels)
    total = tuple(math.prod(stride[axis] for stride in strides) for axis in range(dims))
    options: dict[str, Any] = {} if strides == isotropic else {"strides": strides}
    patch = plan_patch(dims, median_shape, total, preset)
    return NetworkSpec(
        name=name, dims=2 if dims == 2 else 3, in_channels=in_channels, preset=preset, patch=patch, options=options
    )
