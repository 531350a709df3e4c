"""Light augmentation for fine-tuning, on the device of the batch: one small affine map, then contrast, brightness, noise.

Few labels are what it is for, so it is on by default; mirroring is not, because left and right are different organs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_ssl_seg.training.segmentation_loss import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

ROTATION_DEGREES = 15.0
TILT_DEGREES = 7.5
"""Out of the axial plane, in 3D; not where slices are thick."""
SCALE = 1.2
CHANCE = 0.6
"""Of each of the changes, for each patch."""


def augment(
    image: Tensor, label: Tensor, generator: torch.Generator, *, spacing: Sequence[float], flip: bool = False
) -> tuple[Tensor, Tensor]:
    """Change each patch of a batch in its own way.

    Parameters
    ----------
    image
        (B, C, *spatial), normalised.
    label
        (B, *spatial), integers; what comes in from outside the patch is `IGNORE`.
    generator
        On the CPU; the draws depend on it alone.
    spacing
        (y, x) or (z, y, x) in mm, so that a rotation stays one where voxels are not cubes.
    flip
        Mirror half of the patches along x.

    Returns
    -------
    image, label
        New tensors of the same shape and type.
    """
    image, label = _affine(image, label, generator, spacing)
    if flip:
        image, label = _flip(image, label, generator)
    return _intensity(image, generator), label


def _draw(generator: torch.Generator, batch: int, low: float, high: float, neutral: float) -> Tensor:
    """Uniform numbers in [low, high], (B,); ``neutral`` for the patches that are to stay as they are."""
    import torch

    values = torch.rand(batch, generator=generator) * (high - low) + low
    return torch.where(torch.rand(batch, generator=generator) < CHANCE, values, torch.full((batch,), neutral))


def _affine(
    image: Tensor, label: Tensor, generator: torch.Generator, spacing: Sequence[float]
) -> tuple[Tensor, Tensor]:
    import torch
    from torch.nn import functional

    batch, dims = image.shape[0], image.ndim - 2
    thick = dims == 3 and spacing[0] > 2 * min(spacing[1:])
    theta = _matrices(generator, batch, dims, tilt=0.0 if thick else TILT_DEGREES)
    # grid_sample works in (x, y, z) from -1 to 1: go to mm, turn and scale there, and come back.
    half = torch.tensor([size * step / 2 for size, step in zip(image.shape[2:], spacing, strict=True)]).flip(0)
    theta = theta * half.view(1, 1, dims) / half.view(1, dims, 1)
    theta = torch.cat([theta, torch.zeros(batch, dims, 1)], dim=2).to(image)
    grid = functional.affine_grid(theta, [batch, 1, *image.shape[2:]], align_corners=False)
    floor = image.amin(dim=tuple(range(2, image.ndim)), keepdim=True)
    turned = functional.grid_sample(image - floor, grid, align_corners=False) + floor
    # 0 is what grid_sample fills with, so IGNORE is moved there and back.
    marks = (label - IGNORE).unsqueeze(1).to(image.dtype)
    marks = functional.grid_sample(marks, grid, mode="nearest", align_corners=False)
    return turned, marks.squeeze(1).round().to(label.dtype) + IGNORE


def _matrices(generator: torch.Generator, batch: int, dims: int, *, tilt: float) -> Tensor:
    """Rotations times a scale, (B, dims, dims), in the order (x, y) or (x, y, z)."""
    import torch

    def plane(first: int, second: int, degrees: float) -> Tensor:
        angle = _draw(generator, batch, -degrees, degrees, 0.0) * (math.pi / 180)
        matrix = torch.eye(dims).repeat(batch, 1, 1)
        matrix[:, first, first] = matrix[:, second, second] = angle.cos()
        matrix[:, first, second], matrix[:, second, first] = -angle.sin(), angle.sin()
        return matrix

    scale = torch.exp(_draw(generator, batch, -math.log(SCALE), math.log(SCALE), 0.0))
    matrix = plane(0, 1, ROTATION_DEGREES) * scale.view(batch, 1, 1)
    if dims == 3 and tilt:
        matrix = matrix @ plane(0, 2, tilt) @ plane(1, 2, tilt)
    return matrix


def _flip(image: Tensor, label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    import torch

    chosen = torch.rand(image.shape[0], generator=generator) < 0.5
    pick = chosen.to(image.device)
    image = torch.where(pick.view(-1, *[1] * (image.ndim - 1)), image.flip(-1), image)
    return image, torch.where(pick.view(-1, *[1] * (label.ndim - 1)), label.flip(-1), label)


def _intensity(image: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma within the patch's own range, then contrast about its mean, brightness and noise in units of its deviation."""
    import torch

    batch = image.shape[0]
    shape = (batch, *[1] * (image.ndim - 1))
    axes = tuple(range(1, image.ndim))

    def drawn(low: float, high: float, neutral: float) -> Tensor:
        return _draw(generator, batch, low, high, neutral).view(shape).to(image)

    low, high = image.amin(dim=axes, keepdim=True), image.amax(dim=axes, keepdim=True)
    extent = (high - low).clamp(min=1e-6)
    image = ((image - low) / extent).pow(torch.exp(drawn(-0.35, 0.35, 0.0))) * extent + low
    mean, deviation = image.mean(dim=axes, keepdim=True), image.std(dim=axes, keepdim=True)
    image = (image - mean) * drawn(0.8, 1.25, 1.0) + mean + drawn(-0.2, 0.2, 0.0) * deviation
    strength = drawn(0.0, 0.15, 0.0) * deviation
    return image + torch.randn(image.shape, generator=generator).to(image) * strength
