"""Quarter turns in the axial plane that give nothing away but what is in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

QUARTERS = 4
TURNS = ("0°", "90°", "180°", "270°")
"""Counterclockwise as a slice is shown, y pointing down."""
SMALLEST_SQUARE = 2


def draw_turns(batch: int, generator: torch.Generator) -> Tensor:
    """How many quarter turns each sample is turned by, int64 (B,), each of 0 to 3 equally likely."""
    return torch.randint(QUARTERS, (batch,), generator=generator, device=generator.device)


def turned(image: Tensor, turns: Tensor) -> Tensor:
    """The middle square of the last two axes of each sample turned by so many quarters, the rest as it is.

    Turning by k and then by 4 - k changes nothing.

    Parameters
    ----------
    image
        (B, C, *spatial), or (B, *spatial) for masks.
    turns
        int64 (B,), any integers.
    """
    rows, columns = _middle(image.shape[-2:])
    square = image[..., rows, columns]
    result = image.clone()
    quarters = turns.remainder(QUARTERS).to(image.device)
    for quarter in range(1, QUARTERS):
        chosen = quarters == quarter
        # Every sample is turned and a few are kept: choosing by index would wait for the GPU.
        kept = chosen.view(-1, *(1,) * (image.ndim - 1))
        result[..., rows, columns] = torch.where(
            kept, torch.rot90(square, quarter, (-2, -1)), result[..., rows, columns]
        )
    return result


def turnable(shape: Sequence[int], origins: Sequence[Sequence[int]], *, disc: bool = False) -> Tensor:
    """Voxels of the last two axes that a turned sample may show, bool (B, H, W): they look the same from all four sides.

    That is the middle square without what may be padding, which would give the turn away where the scan is smaller than the
    patch: as wide a margin on all four sides as the widest; with ``disc`` the circle in it.

    Parameters
    ----------
    shape
        (H, W).
    origins
        Of each sample the index in its scan of the patch's first voxel; 0 or less along an axis that may be padded. Such a
        patch has the scan in its middle, and as much padding at the other end or a voxel more.
    """
    height, width = shape[-2:]
    side = min(height, width)
    keep = torch.zeros(len(origins), height, width, dtype=torch.bool)
    rows, columns = _middle((height, width))
    for sample, origin in enumerate(origins):
        margin = 0
        for start, length in zip(origin[-2:], (height, width), strict=True):
            padding = 1 - start if start <= 0 else 0
            low = (length - side) // 2
            margin = max(margin, padding - low, padding - (length - side - low))
        margin = min(margin, (side - SMALLEST_SQUARE) // 2)
        places = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        reach = side / 2 - margin
        down, across = places.abs().view(-1, 1), places.abs().view(1, -1)
        inside = (down.square() + across.square()).sqrt() <= reach if disc else torch.maximum(down, across) <= reach
        keep[sample, rows, columns] = inside
    return keep


def uncover(image: Tensor, origins: Sequence[Sequence[int]], *, disc: bool = False) -> tuple[Tensor, Tensor]:
    """The `turnable` part of each patch and around it the patch's lowest value.

    Returns
    -------
    tuple of Tensor
        (B, C, *spatial), and the part as bool (B, *spatial).
    """
    plane = turnable(image.shape[-2:], origins, disc=disc).to(image.device)
    part = plane.view(len(image), *(1,) * (image.ndim - 4), *plane.shape[-2:]).expand(len(image), *image.shape[2:])
    floor = image.flatten(1).amin(dim=1).view(-1, *(1,) * (image.ndim - 1))
    return torch.where(part.unsqueeze(1), image, floor), part


def _middle(shape: Sequence[int]) -> tuple[slice, slice]:
    """The middle square of (H, W)."""
    height, width = shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)
