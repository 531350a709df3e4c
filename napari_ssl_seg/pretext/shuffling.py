"""Voxels that change places: local shuffling, and patches that are swapped. Both keep every intensity.

Zhou et al., "Models Genesis", Medical Image Analysis 2021 (arXiv 2004.07882); Chen et al., "Self-supervised learning for
medical image analysis using image context restoration", Medical Image Analysis 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def take_voxels(image: Tensor, order: Tensor) -> Tensor:
    """(B, C, *spatial) with the voxels of each sample taken from the places ``order`` (B, voxels), in all channels alike."""
    flat = image.flatten(2)
    return flat.gather(2, order.to(image.device).unsqueeze(1).expand_as(flat)).view_as(image)


def sample_cuts(batch: int, shape: Sequence[int], largest: Sequence[int], generator: torch.Generator) -> Tensor:
    """Cut each sample into blocks of random sizes by planes across each axis.

    Distances between planes are uniform from 1 to ``largest`` voxels, each axis of each sample by itself.

    Returns
    -------
    Tensor
        int64, (batch, *shape), the number of each voxel's block, on the generator's device.
    """
    device = generator.device
    blocks = torch.zeros(batch, *(1,) * len(shape), dtype=torch.long, device=device)
    for axis, (length, most) in enumerate(zip(shape, largest, strict=True)):
        steps = torch.rand(batch, length, generator=generator, device=device)
        ends = ((steps * most).floor().clamp(max=most - 1) + 1).cumsum(dim=1)
        places = torch.arange(length, device=device, dtype=ends.dtype).expand(batch, -1).contiguous()
        slab = torch.searchsorted(ends, places, right=True)
        blocks = blocks * length + slab.view(batch, *(length if other == axis else 1 for other in range(len(shape))))
    return blocks


def shuffle_within(blocks: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw an order that shuffles the voxels of each of a ``share`` of the blocks, and leaves the others as they are.

    Parameters
    ----------
    blocks
        int64, (B, *spatial), from `sample_cuts`.

    Returns
    -------
    Tensor
        int64, (B, voxels), a permutation of 0 ... voxels - 1, for `take_voxels`.
    """
    batch, voxels = blocks.shape[0], math.prod(blocks.shape[1:])
    flat, device = blocks.flatten(1), generator.device
    drawn = torch.randperm(batch * voxels, generator=generator, device=device).to(flat.device)
    coin = torch.rand(flat.shape, generator=generator, device=device).to(flat.device)
    # Two orders, both block by block: as the voxels lie, and at random inside each block. The second read in the places
    # of the first is a permutation inside the blocks. All samples in one row of whole numbers sort fastest.
    first = torch.arange(batch, device=flat.device)[:, None] * voxels
    row = (flat + first).flatten()
    lying = row.argsort(stable=True)
    mixed = drawn[row[drawn].argsort(stable=True)]
    order = torch.empty_like(row).scatter_(0, lying, mixed).view(batch, voxels) - first
    chosen = (coin < share).gather(1, flat)  # one coin a block: numbers of blocks are below that of the voxels
    return torch.where(chosen, order, torch.arange(voxels, device=flat.device))


def sample_swaps(
    batch: int, shape: Sequence[int], patch: Sequence[int], pairs: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw pairs of equal patches that change places.

    The patches are cells of a regular grid with a random start, so no two overlap and every voxel moves at most once; as
    many pairs as the grid has room for.

    Parameters
    ----------
    patch
        Sides of a patch along each axis, each at most the shape's.

    Returns
    -------
    tuple of Tensor
        The order for `take_voxels`, int64 (batch, voxels); and the number of the pair that a voxel belongs to, from 1 on,
        0 for voxels that stay, int64 (batch, *shape). On the generator's device.
    """
    device, dims = generator.device, len(shape)
    starts, cells = [], []
    for length, side in zip(shape, patch, strict=True):
        # Wherever the grid starts, it has the same number of cells: it moves within what they leave of the axis, or, where
        # nothing is left, gives one of them up for some freedom.
        count = length // side if length % side or length // side < 2 else length // side - 1
        free = length - count * side
        starts.append((torch.rand(batch, generator=generator, device=device) * (free + 1)).long().clamp(max=free))
        cells.append(count)
    total = math.prod(cells)
    pairs = min(pairs, total // 2)
    drawn = torch.rand(batch, total, generator=generator, device=device).argsort(dim=1, stable=True)
    first, second = drawn[:, :pairs], drawn[:, pairs : 2 * pairs]
    corner = _corners(cells, patch, shape, device).expand(batch, -1)
    # What a cell adds to the place of a voxel, and the number of its pair; the last entry is for voxels outside the grid.
    shift = torch.zeros(batch, total + 1, dtype=torch.long, device=device)
    shift.scatter_(1, first, corner.gather(1, second) - corner.gather(1, first))
    shift.scatter_(1, second, corner.gather(1, first) - corner.gather(1, second))
    numbers = torch.arange(1, pairs + 1, device=device).expand(batch, -1)
    pair = torch.zeros_like(shift).scatter_(1, first, numbers).scatter_(1, second, numbers)

    cell = torch.zeros(batch, *(1,) * dims, dtype=torch.long, device=device)
    inside = torch.ones(batch, *(1,) * dims, dtype=torch.bool, device=device)
    for axis, (length, side, start, count) in enumerate(zip(shape, patch, starts, cells, strict=True)):
        index = (torch.arange(length, device=device) - start[:, None]).div(side, rounding_mode="floor")
        along = (batch, *(length if other == axis else 1 for other in range(dims)))
        cell = cell * count + index.view(along)
        inside = inside & ((index >= 0) & (index < count)).view(along)
    cell = torch.where(inside, cell, total).flatten(1)
    order = torch.arange(cell.shape[1], device=device) + shift.gather(1, cell)
    return order, pair.gather(1, cell).view(batch, *shape)


def _corners(cells: Sequence[int], patch: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """Flat index of each cell's first voxel in a patch of ``shape``, the grid starting at 0; (1, cells)."""
    corner = torch.zeros(1, dtype=torch.long, device=device)
    for count, side, length in zip(cells, patch, shape, strict=True):
        corner = (corner[:, None] * length + torch.arange(count, device=device) * side).flatten()
    return corner.unsqueeze(0)
