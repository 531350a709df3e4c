"""Block masks with an exact number of masked blocks, and statistics of each block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BLOCKS_PER_AXIS = 4
VARIANCE_FLOOR = 1e-6


def fit_block(shape: Sequence[int], block: int) -> tuple[int, ...]:
    """``block`` along each axis, halved there until `BLOCKS_PER_AXIS` fit.

    Halving 16 gives blocks that divide any patch that a network of stride 8 or 16 takes, so no block is cut.
    """

    def fitted(size: int) -> int:
        side = block
        while side > 1 and side * BLOCKS_PER_AXIS > size:
            side //= 2
        return side

    return tuple(fitted(size) for size in shape)


def masked_count(blocks: int, ratio: float) -> int:
    """How many of ``blocks`` are masked: ``ratio`` rounded half up, but neither none nor all for a ratio inside (0, 1)."""
    count = math.floor(ratio * blocks + 0.5)
    if 0.0 < ratio < 1.0 and blocks > 1:
        return min(max(count, 1), blocks - 1)
    return min(max(count, 0), blocks)


def block_mask(
    batch: int, shape: Sequence[int], block: Sequence[int], ratio: float, generator: torch.Generator
) -> Tensor:
    """Draw for each sample which blocks of a regular grid are masked, without replacement.

    Parameters
    ----------
    batch
        Number of samples; each has its own draw.
    shape, block
        Voxels of the patch and of a block along each axis. The last block of an axis is cut at the border.
    ratio
        Share of the blocks to mask, in [0, 1]; `masked_count` says how many that are.

    Returns
    -------
    Tensor
        Boolean, (batch, *shape), True where masked, on the generator's device.
    """
    grid = [math.ceil(size / side) for size, side in zip(shape, block, strict=True)]
    return spread(choose_blocks(batch, grid, ratio, generator), block, shape)


def choose_blocks(batch: int, grid: Sequence[int], ratio: float, generator: torch.Generator) -> Tensor:
    """Draw for each sample `masked_count` of the blocks of a grid; boolean (batch, *grid), on the generator's device."""
    blocks = math.prod(grid)
    order = torch.rand(batch, blocks, generator=generator, device=generator.device).argsort(dim=1, stable=True)
    chosen = torch.zeros(batch, blocks, dtype=torch.bool, device=generator.device)
    chosen.scatter_(1, order[:, : masked_count(blocks, ratio)], True)
    return chosen.view(batch, *grid)


def block_statistics(image: Tensor, block: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each block of each channel, spread over its voxels.

    The deviation is that of a sample (divided by n - 1), as masked autoencoders normalise their targets
    (He et al., CVPR 2022, "norm_pix_loss"), with `VARIANCE_FLOOR` added under the root.

    Parameters
    ----------
    image
        (B, C, *spatial).

    Returns
    -------
    tuple of Tensor
        Two of the shape of ``image``.
    """
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    shape, window = image.shape[2:], tuple(block)

    def mean_of(values: Tensor) -> Tensor:
        return spread(pool(values, window, ceil_mode=True, count_include_pad=False), block, shape)

    mean = mean_of(image)
    count = torch.ones((1, 1, *shape), dtype=image.dtype, device=image.device)
    for axis, side in enumerate(block):
        length = torch.full((shape[axis],), float(side), dtype=image.dtype, device=image.device)
        if rest := shape[axis] % side:
            length[-rest:] = float(rest)
        count = count * length.view(*(-1 if axis == other else 1 for other in range(-2, len(shape))))
    variance = mean_of((image - mean) ** 2) * count / (count - 1).clamp(min=1)
    return mean, (variance + VARIANCE_FLOOR).sqrt()


def spread(values: Tensor, block: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Repeat each entry of a grid (..., *grid) over its block; cut to (..., *shape)."""
    first = values.ndim - len(shape)
    for axis, side in enumerate(block):
        values = values.repeat_interleave(side, dim=first + axis)
    inside: tuple[Any, ...] = (..., *(slice(size) for size in shape))
    return values[inside]
