"""Several smaller patches out of each patch of a batch, all of one size: by whole voxels, then brought to the size wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_ssl_seg.networks.spec import NetworkSpec

FEWEST_STRIDES = 2
"""Strides of the network that a cut patch has along each axis at least: one alone leaves nothing to normalise over."""
FIXED_SIZE = ("unetr",)
"""Networks that take patches of the very size that they were built for."""


def cut_patches(image: Tensor, starts: Tensor, side: Sequence[int], size: Sequence[int]) -> Tensor:
    """Cut N patches out of each image.

    Parameters
    ----------
    image
        (B, C, *spatial).
    starts
        First voxel of each, int64 (B, N, dims); the whole patch lies inside.
    side
        Voxels of each along each axis.
    size
        What they are resampled to, linearly, each by itself, so that nothing of its surroundings gets in; equal to ``side``:
        they are copies.

    Returns
    -------
    Tensor
        (B, N, C, *size).
    """
    dims = len(side)
    places = [
        (starts[..., axis].unsqueeze(2) + torch.arange(side[axis], device=starts.device)).view(
            *starts.shape[:2], *(-1 if axis == other else 1 for other in range(dims))
        )
        for axis in range(dims)
    ]
    samples = torch.arange(len(image), device=image.device).view(-1, *(1,) * (dims + 1))
    cut = image.movedim(1, -1)[(samples, *places)].movedim(-1, 2)
    if tuple(size) == tuple(side):
        return cut
    mode = "bilinear" if dims == 2 else "trilinear"
    flat = F.interpolate(cut.flatten(0, 1), size=tuple(size), mode=mode, align_corners=False)
    return flat.view(*cut.shape[:3], *size)


def boxes_of(starts: Tensor, side: Sequence[int]) -> Tensor:
    """Start and stop of each patch, float32 (B, N, 2 * dims), as views of kind boxes have them."""
    lengths = torch.as_tensor(tuple(side), device=starts.device)
    return torch.cat((starts, starts + lengths), dim=2).float()


def size_for(spec: NetworkSpec | None, side: Sequence[float], patch: Sequence[int]) -> tuple[int, ...]:
    """The size at which a network takes patches of about ``side`` voxels; ``patch`` is that of its own.

    The next multiple of its stride, `FEWEST_STRIDES` of them at least; ``patch`` for a network that takes no other, or one
    that is not known.
    """
    if spec is None or spec.name in FIXED_SIZE:
        return tuple(patch)
    from napari_ssl_seg.networks import total_stride

    return tuple(
        max(math.ceil(length / stride), FEWEST_STRIDES) * stride
        for length, stride in zip(side, total_stride(spec), strict=True)
    )
