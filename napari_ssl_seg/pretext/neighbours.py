"""A patch and one of its neighbours on a 3x3 grid: where both lie, and which neighbour it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CELLS = 3
SMALLEST_SIDE = 2
"""Voxels along an axis of the grid."""
WORDS = {
    "z": ("below", "", "above"),
    "y": ("in front", "", "behind"),
    "x": ("on its right", "", "on its left"),
}
"""Before and after along each axis; scans are held from feet to head, front to back and the patient's right to left."""


def offsets(axes: int) -> tuple[tuple[int, ...], ...]:
    """The steps from the middle cell to each of its neighbours, first axes slowest: 8 for two axes, 26 for three.

    The n-th is that of label n.
    """
    return tuple(step for step in product((-1, 0, 1), repeat=axes) if any(step))


def label_of(step: Sequence[int]) -> int:
    """The inverse of `offsets`."""
    return offsets(len(step)).index(tuple(step))


def in_words(step: Sequence[int]) -> str:
    """``behind, on its left``."""
    names = "zyx"[-len(step) :]
    return ", ".join(WORDS[axis][way + 1] for axis, way in zip(names, step, strict=True) if way)


@dataclass(frozen=True)
class Neighbours:
    """A patch and one of its neighbours for each sample."""

    starts: Tensor
    """First voxels of the two, int64 (B, 2, dims)."""
    label: Tensor
    """Which neighbour it is, int64 (B,), as in `offsets`."""
    places: Tensor
    """First voxels of all neighbours before they are shifted, int64 (B, labels, dims)."""


@dataclass(frozen=True)
class NeighbourGrid:
    """Sizes in voxels along each axis of a patch; ``gridded`` of its last axes are cut, the others are kept whole."""

    shape: tuple[int, ...]
    side: tuple[int, ...]
    gap: tuple[int, ...]
    jitter: tuple[int, ...]
    gridded: int

    @classmethod
    def fit(cls, shape: Sequence[int], gridded: int, *, extent: float, gap: float, jitter: float) -> NeighbourGrid:
        """The largest cells of which three, two gaps and the jitter at both ends fill ``extent`` of each gridded axis.

        Parameters
        ----------
        gap, jitter
            As shares of a cell's side.

        Raises
        ------
        UserError
            When a cell would have less than `SMALLEST_SIDE` voxels along an axis.
        """
        sides, gaps, shifts = [], [], []
        for axis, length in enumerate(shape):
            if axis < len(shape) - gridded:
                sides.append(length)
                gaps.append(0)
                shifts.append(0)
                continue
            side = math.floor(extent * length / (CELLS + (CELLS - 1) * gap + 2 * jitter))
            while side >= SMALLEST_SIDE and _span(side, gap, jitter) > length:
                side -= 1
            if side < SMALLEST_SIDE:
                raise UserError(
                    f"relative_location cuts patches into a grid of {CELLS} by {CELLS} with gaps, and"
                    f" {'x'.join(map(str, shape))} voxels leave no room for it; use larger patches, a greater extent or a"
                    " smaller gap"
                )
            sides.append(side)
            gaps.append(round(gap * side))
            shifts.append(math.floor(jitter * side))
        return cls(tuple(shape), tuple(sides), tuple(gaps), tuple(shifts), gridded)

    def draw(self, batch: int, generator: torch.Generator) -> Neighbours:
        """A place for the grid, a neighbour, and a shift of both patches, for each sample; on the generator's device."""
        dims, device = len(self.shape), generator.device
        steps = torch.zeros(len(offsets(self.gridded)), dims, dtype=torch.int64, device=device)
        steps[:, dims - self.gridded :] = torch.tensor(offsets(self.gridded), device=device)
        label = torch.randint(len(steps), (batch,), generator=generator, device=device)
        drawn = torch.rand(3, batch, dims, generator=generator, device=device)
        side, gap, jitter = (torch.tensor(lengths, device=device) for lengths in (self.side, self.gap, self.jitter))
        cut = (torch.arange(dims, device=device) >= dims - self.gridded).long()
        free = torch.tensor(self.shape, device=device) - side - cut * (CELLS - 1) * (side + gap) - 2 * jitter
        corner = jitter + torch.minimum((drawn[0] * (free + 1)).long(), free)
        middle = corner + cut * (side + gap)
        shift = torch.minimum((drawn[1:] * (2 * jitter + 1)).long(), 2 * jitter) - jitter
        places = middle.unsqueeze(1) + steps * (side + gap)
        other = places[torch.arange(batch, device=device), label]
        return Neighbours(torch.stack((middle + shift[0], other + shift[1]), dim=1), label, places)


def _span(side: int, gap: float, jitter: float) -> int:
    return CELLS * side + (CELLS - 1) * round(gap * side) + 2 * math.floor(jitter * side)
