"""K-means of a pixel embedding: what the network has learnt to keep apart (figure 3 of the LRC paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

FITTED = 4096
"""Vectors that the centres are fitted to, taken at even steps; all are then assigned."""
ROUNDS = 20


def cluster_pixels(features: Tensor, inside: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Clusters of the pixels of one image, numbered by descending size from 1 on; 0 outside.

    Parameters
    ----------
    features
        (D, H, W), on any device; the work is done on the CPU, so that it is the same everywhere.
    inside
        Boolean, (H, W): the pixels to cluster.
    count
        Clusters; fewer come out where there are fewer different vectors.
    seed
        Of the first centres.

    Returns
    -------
    Tensor
        int64 (H, W), on the CPU.
    """
    mask = inside.cpu()
    labels = torch.zeros(mask.shape, dtype=torch.int64)
    vectors = features.detach().float().cpu()[:, mask].T.contiguous()
    if count < 1 or not len(vectors):
        return labels
    nearest = _distances(vectors, k_means(vectors, count, seed=seed)).argmin(dim=1)
    sizes = nearest.bincount(minlength=count)
    rank = torch.empty(len(sizes), dtype=torch.int64)
    rank[sizes.argsort(descending=True, stable=True)] = torch.arange(1, len(sizes) + 1)
    labels[mask] = rank[nearest]
    return labels


def k_means(vectors: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Centres (at most ``count``, D) of (N, D) vectors: Lloyd's rounds from the first centres of k-means++.

    Written here because scipy's warns of each empty cluster and takes a second where this takes a hundredth; an empty
    cluster keeps its centre.
    """
    step = -(-len(vectors) // FITTED)
    fitted = vectors[::step]
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(fitted), (1,), generator=generator))]
    gap = _distances(fitted, fitted[chosen]).squeeze(1)
    while len(chosen) < count and float(gap.max()) > 1e-8:
        chosen.append(int(torch.multinomial(gap, 1, generator=generator)))
        gap = torch.minimum(gap, _distances(fitted, fitted[chosen[-1:]]).squeeze(1))
    centres = fitted[chosen]
    for _ in range(ROUNDS):
        nearest = _distances(fitted, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, fitted)
        sizes = nearest.bincount(minlength=len(centres)).unsqueeze(1)
        moved = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _distances(vectors: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, (N, K)."""
    squares = vectors.square().sum(dim=1, keepdim=True) + centres.square().sum(dim=1)
    return (squares - 2.0 * vectors @ centres.T).clamp(min=0.0)
