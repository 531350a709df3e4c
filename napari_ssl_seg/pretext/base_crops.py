"""VoCo's crops: a grid of base crops that tile a patch, random crops of the same size, and how much each overlaps each.

Wu et al., "VoCo: A Simple-yet-Effective Volume Contrastive Learning Framework for 3D Medical Image Analysis", CVPR 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SMALLEST_SIDE = 2
"""Voxels of a crop along an axis that is cut."""


@dataclass(frozen=True)
class CropGrid:
    """``cells`` crops of ``side`` voxels along each axis of a patch; ``first`` is where the first begins.

    A patch that the cells do not divide has a margin of less than ``cells`` voxels, shared out to both ends, in which no
    crop lies.
    """

    cells: tuple[int, ...]
    side: tuple[int, ...]
    first: tuple[int, ...]

    @classmethod
    def fit(cls, shape: Sequence[int], cells: Sequence[int]) -> CropGrid:
        """The largest crops of which so many fit along each axis.

        Raises
        ------
        UserError
            When they would have less than `SMALLEST_SIDE` voxels along an axis that is cut.
        """
        side = tuple(length // count for length, count in zip(shape, cells, strict=True))
        if any(length < SMALLEST_SIDE and count > 1 for length, count in zip(side, cells, strict=True)):
            raise UserError(
                f"voco cuts patches into {' by '.join(map(str, cells))} base crops, and"
                f" {'x'.join(map(str, shape))} voxels are too few for that; use larger patches or a coarser grid"
            )
        first = tuple((length - count * step) // 2 for length, count, step in zip(shape, cells, side, strict=True))
        return cls(tuple(cells), side, first)

    @property
    def count(self) -> int:
        """Base crops of a patch."""
        return math.prod(self.cells)

    def bases(self, device: torch.device | str = "cpu") -> Tensor:
        """First voxels of the base crops, first axes slowest; int64 (count, dims)."""
        steps = [
            first + torch.arange(cells, device=device) * side
            for first, cells, side in zip(self.first, self.cells, self.side, strict=True)
        ]
        return torch.cartesian_prod(*steps).view(self.count, len(steps))

    def draw(self, batch: int, crops: int, generator: torch.Generator) -> Tensor:
        """First voxels of random crops, each anywhere in the grid; int64 (batch, crops, dims), on the generator's device."""
        drawn = torch.rand(batch, crops, len(self.side), generator=generator, device=generator.device)
        free = torch.tensor(
            [(cells - 1) * side for cells, side in zip(self.cells, self.side, strict=True)], device=generator.device
        )
        first = torch.tensor(self.first, device=generator.device)
        return first + torch.minimum((drawn * (free + 1)).long(), free)

    def overlaps(self, starts: Tensor) -> Tensor:
        """The share of each crop that lies in each base crop, which sum to 1.

        Parameters
        ----------
        starts
            First voxels, (..., dims); the crops lie in the grid.

        Returns
        -------
        Tensor
            float32 (..., count).
        """
        shares = torch.ones(*starts.shape[:-1], 1, device=starts.device)
        for axis, (first, cells, side) in enumerate(zip(self.first, self.cells, self.side, strict=True)):
            begins = first + torch.arange(cells, device=starts.device) * side
            along = (1.0 - (starts[..., axis, None] - begins).abs() / side).clamp(min=0.0)
            shares = (shares.unsqueeze(-1) * along.unsqueeze(-2)).flatten(-2)
        return shares

    def centres(self, device: torch.device | str = "cpu") -> Tensor:
        """Of the base crops, float32 (count, dims), in voxels of the patch."""
        return self.bases(device) + (torch.tensor(self.side, device=device) - 1) / 2
