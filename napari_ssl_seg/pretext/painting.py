"""In- and out-painting: boxes of a scan, or all but some boxes, give way to noise.

Zhou et al., "Models Genesis", Medical Image Analysis 2021 (arXiv 2004.07882). Counts and sizes are those of the authors'
code: up to five boxes of a sixth to a third of each side are painted over, or up to five of about a half are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MOST_BOXES = 5
ANOTHER = 0.95
"""Probability of a further box after each."""
MARGIN = 3
"""Voxels between a box and the border, where the patch is large enough."""


def sample_painting(
    batch: int, shape: Sequence[int], outside: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw boxes, on the generator's device.

    Parameters
    ----------
    outside
        Boolean (batch,), True for out-painting: there is then at least one box, and what lies in none gives way.

    Returns
    -------
    tuple of Tensor
        ``start`` and ``stop``, int64 (batch, `MOST_BOXES`, dims), and ``present``, bool (batch, `MOST_BOXES`).
    """
    device = generator.device
    whole = torch.tensor(list(shape), device=device)

    def integers(low: Tensor, high: Tensor) -> Tensor:
        draw = torch.rand(batch, MOST_BOXES, len(shape), generator=generator, device=device)
        return torch.minimum(low + (draw * (high - low + 1)).floor().long(), high)

    inner = integers(whole // 6, whole // 3)
    outer = whole - integers(3 * whole // 7, 4 * whole // 7)
    side = torch.where(outside[:, None, None], outer, inner).clamp(min=1)
    margin = ((whole - side) // 2).clamp(max=MARGIN)
    start = integers(margin, whole - side - margin)
    more = torch.rand(batch, MOST_BOXES, generator=generator, device=device) < ANOTHER
    more[:, 0] |= outside
    return start, start + side, more.cumprod(dim=1).bool()


def hidden_voxels(start: Tensor, stop: Tensor, present: Tensor, outside: Tensor, shape: Sequence[int]) -> Tensor:
    """Bool (B, *shape): the union of each sample's boxes, or for out-painting all that lies in none of them."""
    batch, boxes, dims = start.shape
    inside = torch.zeros(batch, *shape, dtype=torch.bool, device=start.device)
    for box in range(boxes):
        met = present[:, box].view(batch, *(1,) * dims)
        for axis, length in enumerate(shape):
            place = torch.arange(length, device=start.device)
            within = (place >= start[:, box, axis, None]) & (place < stop[:, box, axis, None])
            met = met & within.view(batch, *(length if other == axis else 1 for other in range(dims)))
        inside |= met
    return inside ^ outside.view(batch, *(1,) * dims)
