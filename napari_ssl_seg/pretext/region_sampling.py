"""Regions that two views share, and points drawn in them: without a loop over regions, on the device of the label maps.

A region is a positive number in a label map; 0 and below are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SharedRegions:
    """The regions of each image that both views show."""

    ids: Tensor
    """int64 (B, K), ascending, with 0 behind the last where an image has fewer than K."""
    lost: Tensor
    """int64 (B,): regions of the first view that the second lacks."""
    surplus: Tensor
    """int64 (B,): regions beyond the most that are used."""

    @property
    def counts(self) -> Tensor:
        """int64 (B,): regions of each image."""
        return (self.ids > 0).sum(dim=1)


def shared_regions(first: Tensor, second: Tensor, *, most: int, generator: torch.Generator) -> SharedRegions:
    """The numbers that have at least one pixel in both label maps, at most ``most`` of them, chosen at random.

    Parameters
    ----------
    first, second
        Integers (B, H, W).
    most
        Regions of an image that are used at most.
    generator
        Draws which those are, on its own device.
    """
    top = max(int(first.max()), int(second.max()), 0)
    here, there = region_sizes(first, top), region_sizes(second, top)
    both = (here > 0) & (there > 0)
    lost = ((here > 0) & ~both).sum(dim=1)
    counts = both.sum(dim=1)
    keep = both
    if int(counts.max()) > most:
        lots = torch.rand(both.shape, generator=generator, device=generator.device).to(both.device)
        best = lots.masked_fill(~both, 2.0).argsort(dim=1, stable=True)[:, :most]
        keep = torch.zeros_like(both).scatter_(1, best, True) & both
    width = int(keep.sum(dim=1).max())
    numbers = torch.arange(1, top + 1, device=both.device)
    ids = torch.where(keep, numbers, top + 1).sort(dim=1).values[:, :width]
    return SharedRegions(ids.masked_fill(ids > top, 0), lost, counts - keep.sum(dim=1))


def region_sizes(labels: Tensor, top: int) -> Tensor:
    """Pixels of the regions 1 to ``top`` of each map: int64 (B, top)."""
    flat = labels.flatten(1).clamp(min=0)
    sizes = torch.zeros(len(flat), top + 1, dtype=torch.int64, device=flat.device)
    return sizes.scatter_add_(1, flat, torch.ones_like(flat))[:, 1:]


def sample_points(labels: Tensor, ids: Tensor, draws: Tensor) -> Tensor:
    """Pixels drawn uniformly and with replacement from each region.

    The pixels are sorted by label once; a region is then a stretch of that order, and ``draws`` say how far into it to
    go. So a region of one pixel gives that pixel for each draw, and the result depends on nothing but ``draws``.

    Parameters
    ----------
    labels
        Integers (B, H, W).
    ids
        Regions of each image, (B, K); 0: none.
    draws
        Uniform numbers in [0, 1), (B, K, N).

    Returns
    -------
    Tensor
        int64 (B, K, N): flat indices y * W + x, -1 where there is no such region.
    """
    flat = labels.flatten(1).clamp(min=0)
    top = max(int(flat.max()), int(ids.max()) if ids.numel() else 0)
    # Narrow integers sort several times faster.
    keys = flat.to(torch.int16) if top < 2**15 else flat
    order = keys.argsort(dim=1, stable=True)
    sizes = torch.zeros(len(flat), top + 1, dtype=torch.int64, device=flat.device)
    sizes.scatter_add_(1, flat, torch.ones_like(flat))
    ends = sizes.cumsum(dim=1)
    size, end = sizes.gather(1, ids).unsqueeze(-1), ends.gather(1, ids).unsqueeze(-1)
    ahead = (draws.double() * size).long().clamp(max=(size - 1).clamp(min=0))
    index = order.gather(1, (end - size + ahead).clamp(max=flat.shape[1] - 1).flatten(1)).view(draws.shape)
    return index.masked_fill((ids == 0).unsqueeze(-1) | (size == 0), -1)


def point_means(features: Tensor, points: Tensor) -> Tensor:
    """Mean feature of the points of each region.

    Parameters
    ----------
    features
        (B, D, H, W).
    points
        (B, K, N) as `sample_points` gives them; what is -1 is filled with some pixel, and of no use.

    Returns
    -------
    Tensor
        (B, K, D).
    """
    batch, channels = features.shape[:2]
    regions, count = points.shape[1:]
    flat = points.clamp(min=0).flatten(1).unsqueeze(1).expand(-1, channels, -1)
    return features.flatten(2).gather(2, flat).view(batch, channels, regions, count).mean(dim=3).transpose(1, 2)


def whole_means(features: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """Mean feature of all pixels of each region: what `point_means` tends to with many points. (B, K, D).

    ``labels`` is (B, H, W), ``ids`` (B, K); where an id is 0 the mean is 0.
    """
    batch, channels = features.shape[:2]
    flat = labels.flatten(1).clamp(min=0)
    top = max(int(flat.max()), int(ids.max()) if ids.numel() else 0)
    sums = features.new_zeros(batch, top + 1, channels)
    values = features.flatten(2).transpose(1, 2)
    sums = sums.scatter_add(1, flat.unsqueeze(-1).expand(-1, -1, channels), values)
    sizes = features.new_zeros(batch, top + 1).scatter_add(1, flat, torch.ones_like(flat, dtype=features.dtype))
    means = sums.gather(1, ids.unsqueeze(-1).expand(-1, -1, channels)) / sizes.gather(1, ids).clamp(min=1).unsqueeze(-1)
    return means.masked_fill((ids == 0).unsqueeze(-1), 0.0)
