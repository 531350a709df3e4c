"""Changes of intensity that give two views of one patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

PASSES = 2
"""Each adds a variance of half a voxel, so the deviation is one voxel."""


def blurred(image: Tensor) -> Tensor:
    """Smoothed with a deviation of one voxel along each axis, by the binomial filter 1-2-1 twice; borders are repeated.

    Parameters
    ----------
    image
        (B, C, *spatial).
    """
    for axis in range(2, image.ndim):
        length = image.shape[axis]
        before = torch.arange(-1, length - 1, device=image.device).clamp(min=0)
        after = torch.arange(1, length + 1, device=image.device).clamp(max=length - 1)
        for _ in range(PASSES):
            image = (image.index_select(axis, before) + image.index_select(axis, after)) / 4 + image / 2
    return image
