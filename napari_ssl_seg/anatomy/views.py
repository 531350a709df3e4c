"""Two views of one scan for the training of the embedding: turned, scaled and with other intensities, places still known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SCALES = (0.8, 1.2)
DEGREES = 10.0
LARGEST_VIEW = 40**3
"""Voxels of a view at most."""
VIEW_SHARE = 0.65
"""Of the side of a typical scan."""
APART = 0.25
"""How far the centres of two views of one scan lie apart along each axis, at most, as a share of the view."""


@dataclass(frozen=True)
class EmbeddingView:
    """A view and where it was read: ``source = centre + matrix @ (view - middle)``, all in voxels."""

    image: Tensor
    """(D, H, W)."""
    matrix: Tensor
    """(3, 3)."""
    centre: Tensor
    """(3,)."""
    source_shape: tuple[int, int, int]

    @property
    def middle(self) -> Tensor:
        return (torch.tensor(self.image.shape, dtype=torch.float32, device=self.centre.device) - 1) / 2

    def to_source(self, points: Tensor) -> Tensor:
        """(N, 3) voxels of the view -> voxels of the source."""
        return self.centre + (points - self.middle) @ self.matrix.T

    def from_source(self, points: Tensor) -> Tensor:
        """(N, 3) voxels of the source -> voxels of the view."""
        return self.middle + (points - self.centre) @ torch.linalg.inv(self.matrix).T

    def shows(self, points: Tensor) -> Tensor:
        """(N,) bool: whether points in voxels of the view lie in it and show something of the source."""
        source = self.to_source(points)
        return _within(points, self.image.shape) & _within(source, self.source_shape)


def view_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Sides of the views for scans of that typical shape: multiples of 8, from 16 upwards."""
    sides = [max(16, 8 * round(VIEW_SHARE * size / 8)) for size in shape]
    while math.prod(sides) > LARGEST_VIEW and max(sides) > 16:
        sides[sides.index(max(sides))] -= 8
    return sides[0], sides[1], sides[2]


def two_embedding_views(
    image: Tensor, shape: Sequence[int], generator: torch.Generator
) -> tuple[EmbeddingView, EmbeddingView]:
    """Two overlapping views of ``image`` (D, H, W)."""
    size = torch.tensor(shape, dtype=torch.float32)
    room = torch.tensor(image.shape, dtype=torch.float32) - 1
    reach = ((room - 0.6 * size) / 2).clamp(min=0)  # views may stand out a little: crops end anywhere
    centre = room / 2 + _uniform(generator, 3, -1, 1) * reach
    other = centre + _uniform(generator, 3, -APART, APART) * size
    low = (room / 2 - reach).minimum(room / 2)
    other = other.clamp(min=low, max=room - low)
    return tuple(_view(image, shape, at, generator) for at in (centre, other))  # type: ignore[return-value]


def _view(image: Tensor, shape: Sequence[int], centre: Tensor, generator: torch.Generator) -> EmbeddingView:
    angles = _uniform(generator, 3, -1, 1) * math.radians(DEGREES)
    matrix = _rotation(angles) * _uniform(generator, 3, *SCALES)
    device = image.device
    view = EmbeddingView(
        image.new_empty(tuple(shape)),
        matrix.to(device),
        centre.to(device),
        tuple(image.shape),  # type: ignore[arg-type]
    )
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    read = sample(image[None], view.to_source(points))[0].view(tuple(shape))
    return EmbeddingView(_jittered(read, generator), view.matrix, view.centre, view.source_shape)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """(C, D, H, W) read at (N, 3) places in its voxels, trilinearly, at the border where they lie outside: (C, N)."""
    sizes = torch.tensor(maps.shape[1:], dtype=torch.float32, device=points.device)
    unit = (2.0 * points + 1.0) / sizes - 1.0
    grid = unit.flip(-1).view(1, -1, 1, 1, 3)
    return F.grid_sample(maps[None], grid, padding_mode="border", align_corners=False)[0, :, :, 0, 0]


def _jittered(image: Tensor, generator: torch.Generator) -> Tensor:
    gamma, gain, shift, noise = _uniform(generator, 4, 0, 1).tolist()
    image = image.clamp(0, 1) ** math.exp((2 * gamma - 1) * 0.4)
    image = image * (0.8 + 0.4 * gain) + 0.2 * (shift - 0.5)
    random = torch.randn(image.shape, generator=generator).to(image.device)
    return image + 0.05 * noise * random


def _rotation(angles: Tensor) -> Tensor:
    (ca, cb, cc), (sa, sb, sc) = angles.cos().tolist(), angles.sin().tolist()
    about_z = torch.tensor([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = torch.tensor([[cb, 0, -sb], [0, 1, 0], [sb, 0, cb]])
    about_x = torch.tensor([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _within(points: Tensor, shape: Sequence[int]) -> Tensor:
    last = torch.tensor(shape, dtype=torch.float32, device=points.device) - 1
    return ((points >= 0) & (points <= last)).all(dim=1)
