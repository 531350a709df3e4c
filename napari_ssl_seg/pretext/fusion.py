"""Volume Fusion's maps: random boxes, painted over each other, say how much of the donor shows through.

Wang et al., "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale Unannotated
Dataset" (arXiv 2306.16925), Eq. 1 and Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Boxes:
    """Boxes of a batch, in the order in which they are painted.

    ``start`` and ``stop`` have shape (B, N, dims), in voxels of the patch, cut at its border; ``level`` (B, N) is the
    class that a box paints, 1 to K. Samples with fewer than N boxes are filled up with level 0 and no extent.
    """

    start: Tensor
    stop: Tensor
    level: Tensor

    @property
    def counts(self) -> Tensor:
        """Boxes of each sample, (B,)."""
        return (self.level > 0).sum(dim=1)

    def at_slices(self, rows: Tensor) -> Boxes:
        """The 2D boxes that 3D boxes leave on a slice of each sample; ``rows`` (B,) are indices along the first axis."""
        index = rows[:, None]
        met = (self.start[..., 0] <= index) & (index < self.stop[..., 0]) & (self.level > 0)
        order = (~met).long().argsort(dim=1, stable=True)[:, : int(met.sum(dim=1).max()) if met.numel() else 0]

        def kept(values: Tensor) -> Tensor:
            return values.gather(1, order[..., None].expand(-1, -1, values.shape[2]))

        return Boxes(
            kept(self.start[..., 1:] * met[..., None]),
            kept(self.stop[..., 1:] * met[..., None]),
            (self.level * met).gather(1, order),
        )

    @property
    def corners(self) -> Tensor:
        """(B, N, 2 * dims): start, then stop."""
        return torch.cat((self.start, self.stop), dim=2)


def sample_boxes(
    batch: int,
    shape: Sequence[int],
    *,
    levels: int,
    count: tuple[int, int],
    smallest: Sequence[int],
    largest: Sequence[int],
    generator: torch.Generator,
) -> Boxes:
    """Draw the boxes of Algorithm 1, on the generator's device.

    The number of boxes, each side and each level are uniform, bounds included. A box's centre is uniform in the patch
    and the box is cut at the border, as in the authors' released generator; so boxes at the border are smaller.

    Parameters
    ----------
    shape
        Voxels of the patch along each axis.
    levels
        K: classes beside the background.
    count
        Fewest and most boxes of a sample.
    smallest, largest
        Sides of a box along each axis, before the cut.
    """
    device, dims, slots = generator.device, len(shape), max(count[1], 0)

    def integers(low: Tensor, high: Tensor, *size: int) -> Tensor:
        draw = torch.rand(*size, generator=generator, device=device)
        # The clamp guards a product that is rounded up to the next integer.
        return torch.minimum(low + (draw * (high - low + 1)).floor().long(), high)

    whole = torch.tensor(list(shape), device=device)
    low, high = torch.tensor(list(smallest), device=device), torch.tensor(list(largest), device=device)
    used = integers(torch.tensor(count[0], device=device), torch.tensor(slots, device=device), batch)
    side = integers(low, high, batch, slots, dims)
    centre = integers(torch.zeros_like(whole), whole - 1, batch, slots, dims)
    level = integers(torch.tensor(1, device=device), torch.tensor(levels, device=device), batch, slots)

    present = torch.arange(slots, device=device) < used[:, None]
    begin = centre - side // 2
    start = begin.clamp(min=0) * present[..., None]
    stop = torch.minimum(begin + side, whole) * present[..., None]
    most = int(used.max()) if batch and slots else 0
    return Boxes(start[:, :most], stop[:, :most], (level * present)[:, :most])


def sample_grid(
    batch: int,
    shape: Sequence[int],
    *,
    levels: int,
    foreground: float,
    smallest: Sequence[int],
    largest: Sequence[int],
    generator: torch.Generator,
) -> Tensor:
    """Draw levels block by block of a regular grid, on the generator's device: the geometry of the authors' later generator.

    Each sample has blocks of one size, each side uniform with both bounds; ``foreground`` of its blocks, rounded to whole
    blocks, have a level from 1 to K, each equally likely, and the others 0. The last blocks of an axis are cut at the border.

    Returns
    -------
    Tensor
        uint8, (batch, *shape), values 0 to K.
    """
    device, dims = generator.device, len(shape)
    whole, low, high = (torch.tensor(list(values), device=device) for values in (shape, smallest, largest))
    draw = torch.rand(batch, dims, generator=generator, device=device)
    side = torch.minimum(low + (draw * (high - low + 1)).floor().long(), high)
    count = (whole + side - 1) // side
    most = [math.ceil(length / least) for length, least in zip(shape, smallest, strict=True)]
    # Every sample has room for the finest grid; blocks beyond its own come last in the order in which they are chosen.
    absent = torch.zeros(batch, *(1,) * dims, dtype=torch.bool, device=device)
    block = torch.zeros(batch, *(1,) * dims, dtype=torch.long, device=device)
    for axis, (length, blocks) in enumerate(zip(shape, most, strict=True)):
        along = [batch, *(1,) * dims]
        along[axis + 1] = blocks
        absent = absent | (torch.arange(blocks, device=device) >= count[:, axis, None]).view(along)
        along[axis + 1] = length
        block = block * blocks + (torch.arange(length, device=device) // side[:, axis, None]).view(along)
    absent = absent.flatten(1)
    order = torch.rand(absent.shape, generator=generator, device=device) + absent
    rank = order.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    chosen = rank < (foreground * count.prod(dim=1) + 0.5).floor()[:, None]
    level = torch.randint(1, levels + 1, absent.shape, generator=generator, device=device)
    return (level * chosen).to(torch.uint8).gather(1, block.flatten(1)).view(batch, *shape)


def paint_levels(boxes: Boxes, shape: Sequence[int]) -> Tensor:
    """Paint each sample's boxes in their order over zeros, later ones over earlier ones.

    Returns
    -------
    Tensor
        uint8, (B, *shape), values 0 to K.
    """
    batch = boxes.level.shape[0]
    canvas = torch.zeros((batch, *shape), dtype=torch.uint8)
    for sample in range(batch):
        drawn = zip(
            boxes.start[sample].tolist(), boxes.stop[sample].tolist(), boxes.level[sample].tolist(), strict=True
        )
        for start, stop, level in drawn:
            if level:
                inside: tuple[Any, ...] = (sample, *map(slice, start, stop))
                canvas[inside] = level
    return canvas.to(boxes.level.device)


def fuse(donor: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Eq. 1: ``alpha * donor + (1 - alpha) * background``.

    Exactly the background where alpha is 0, exactly the donor where it is 1, exactly both where they are equal: `lerp`
    starts from whichever end is nearer.

    Parameters
    ----------
    donor, background
        (B, C, *spatial), finite.
    alpha
        (B, 1, *spatial) in [0, 1], shared by all channels.
    """
    return torch.lerp(background, donor, alpha.to(background.dtype).expand_as(background))
