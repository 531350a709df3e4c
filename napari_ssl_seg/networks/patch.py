"""Patch sizes and strides from the shape and spacing of the scans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_ssl_seg.networks.catalogue import check_name, total_stride
from napari_ssl_seg.networks.families import FAMILIES
from napari_ssl_seg.networks.presets import preset_layout
from napari_ssl_seg.networks.spec import NetworkSpec
from napari_ssl_seg.networks.strides import plan_strides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLICE_LIMITS = {"small": 128, "standard": 256, "fdas": 256}
"""Longest side of a 2D patch."""
VOXEL_LIMITS = {"small": 64 * 64 * 32, "standard": 128 * 128 * 64, "unet3d": 128 * 128 * 64}
"""Most voxels of a 3D patch."""


def plan_patch(
    dims: int, median_shape: Sequence[float], stride: int | Sequence[int], preset: str = "small", *, least: int = 2
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
    least
        So many strides along each axis at least, and more than one along one of them.
    """
    shape = [max(1.0, float(length)) for length in median_shape][-dims:]
    steps = [stride] * dims if isinstance(stride, int) else list(stride)[-dims:]
    lowest = [least * step if step > 1 else 1 for step in steps]
    if least == 1 and lowest == steps:
        roomiest = max(range(dims), key=lambda axis: (shape[axis] / steps[axis], -axis))
        lowest[roomiest] *= 2
    if dims == 2:
        limit = SLICE_LIMITS.get(preset, 256)
        return tuple(
            max(low, min(math.ceil(length / step), limit // step) * step)
            for length, step, low in zip(shape, steps, lowest, strict=True)
        )
    # Halves are rounded down: a little less context costs less than a margin of padding.
    patch = [
        max(low, math.ceil(length / step - 0.5) * step) for length, step, low in zip(shape, steps, lowest, strict=True)
    ]
    limit = VOXEL_LIMITS.get(preset, 128 * 128 * 64)
    while math.prod(patch) > limit:
        shrinkable = [axis for axis in range(dims) if patch[axis] - steps[axis] >= lowest[axis]]
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
    options: Mapping[str, Any] | None = None,
) -> NetworkSpec:
    """A network for scans of that shape (z, y, x) and spacing (mm): strides for thick slices, and a patch.

    The papers' own layouts (``fdas``, ``unet3d``) keep their strides. ``options`` stand in place of what would be chosen.

    Raises
    ------
    UserError
        When network or preset do not exist for these dimensions, or an option does not fit.
    """
    check_name(name)
    family = FAMILIES.get(name)
    if family is not None:
        chosen = family.fit(family.preset(preset, dims), dims, median_shape, median_spacing)
    else:
        levels = len(preset_layout(preset, dims).channels)
        strides = plan_strides(dims, median_shape, median_spacing, levels)
        own_strides = preset in ("fdas", "unet3d") or strides == ((2,) * dims,) * (levels - 1)
        chosen = {} if own_strides else {"strides": strides}
    spec = NetworkSpec(
        name=name,
        dims=2 if dims == 2 else 3,
        in_channels=in_channels,
        preset=preset,
        patch=(1,) * dims,
        options=chosen | dict(options or {}),
    )
    least = 2 if family is None else family.least
    return spec.model_copy(update={"patch": plan_patch(dims, median_shape, total_stride(spec), preset, least=least)})
