"""Elastic warps: one smooth displacement field for an image and for the regions on it.

Pull convention, as torch's ``grid_sample``: what comes out at (y, x) was read at (y + dy, x + dx). What would be read
outside is read at the border.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

REACH = 3.0
"""Standard deviations after which the Gaussian is cut off."""
KNOTS_PER_SIGMA = 2.0
"""Random numbers a standard deviation; more give the same fields at a higher price."""


def elastic_field(
    batch: int, shape: Sequence[int], *, largest: float, sigma: float, generator: torch.Generator
) -> Tensor:
    """Uniform noise in (-1, 1), smoothed with a Gaussian, scaled so that the longest displacement is ``largest``.

    The noise lies on every pixel, or for wide Gaussians on a lattice fine enough that nothing of it shows, and beyond the
    border too, so that the field is no weaker there.

    Parameters
    ----------
    batch
        Number of fields.
    shape
        (H, W) in pixels.
    largest
        Length of the longest displacement of each field, in pixels.
    sigma
        Standard deviation of the Gaussian, in pixels; 0: noise as it is.

    Returns
    -------
    Tensor
        float32 (batch, 2, H, W), the displacement (dy, dx) in pixels, on the generator's device.
    """
    down, across = (_smoothing(size, sigma).to(generator.device) for size in shape)
    noise = torch.rand(batch, 2, down.shape[1], across.shape[1], generator=generator, device=generator.device)
    field = down @ (2.0 * noise - 1.0) @ across.T
    length = field.square().sum(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True).sqrt()
    return field * (largest / length.clamp(min=1e-12))


def warp_image(image: Tensor, field: Tensor) -> Tensor:
    """(B, C, H, W) read at the displaced places, bilinearly; ``field`` is (B, 2, H, W) in pixels."""
    height, width = image.shape[2:]
    rows = torch.arange(height, dtype=field.dtype, device=field.device).view(-1, 1)
    columns = torch.arange(width, dtype=field.dtype, device=field.device)
    grid = torch.stack(
        (
            (2.0 * (columns + field[:, 1]) + 1.0) / width - 1.0,
            (2.0 * (rows + field[:, 0]) + 1.0) / height - 1.0,
        ),
        dim=-1,
    )
    return F.grid_sample(image, grid.to(image.dtype), mode="bilinear", padding_mode="border", align_corners=False)


def warp_labels(labels: Tensor, field: Tensor) -> Tensor:
    """Integers (B, H, W) read at the nearest pixel to the displaced places; no new label can come out."""
    height, width = labels.shape[1:]
    rows = torch.arange(height, dtype=field.dtype, device=field.device).view(-1, 1)
    columns = torch.arange(width, dtype=field.dtype, device=field.device)
    row = (rows + field[:, 0]).round().clamp(0, height - 1).long()
    column = (columns + field[:, 1]).round().clamp(0, width - 1).long()
    return labels.flatten(1).gather(1, (row * width + column).flatten(1)).view(labels.shape)


def displaced_grid(field: Tensor, lines: int = 8) -> Tensor:
    """A picture of each field: a grid of lines that went through it, 1 on a line and 0 off it, (B, 1, H, W)."""
    batch, _, height, width = field.shape
    step = max(2, round(min(height, width) / lines))
    on = torch.zeros(height, width, dtype=torch.bool, device=field.device)
    on[step // 2 :: step] = True
    on[:, step // 2 :: step] = True
    return warp_image(on.to(field.dtype).expand(batch, 1, height, width), field)


def _smoothing(size: int, sigma: float) -> Tensor:
    """(size, knots): how much each random number adds to each pixel."""
    if sigma <= 0.0:
        return torch.eye(size)
    step = max(1.0, sigma / KNOTS_PER_SIGMA)
    beyond = math.ceil(REACH * sigma / step)
    inside = math.ceil((size - 1) / step)
    knots = torch.arange(-beyond, inside + beyond + 1, dtype=torch.float32) * step
    pixels = torch.arange(size, dtype=torch.float32)
    return torch.exp(-0.5 * ((pixels[:, None] - knots) / sigma).square())
