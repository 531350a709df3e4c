"""InfoNCE between places of two views: the same anatomy is the positive, the most similar other places the negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_ssl_seg.anatomy.views import sample

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.anatomy.views import EmbeddingView

ANCHORS = 64
HARDEST = 256
OTHERS = 64
"""Negatives taken at random from another scan."""
TEMPERATURE = 0.1
NEAR_CELLS = 2.0
"""Places of the other view nearer than this to the positive are no negatives, in cells of the level."""


def places(view: EmbeddingView, stride: int) -> Tensor:
    """(N, 3) centres of the cells of one level, in voxels of the view, in the order of the flattened map."""
    axes = [(torch.arange(n // stride, dtype=torch.float32) + 0.5) * stride - 0.5 for n in view.image.shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3).to(view.centre.device)


def draw_anchors(
    first: EmbeddingView, second: EmbeddingView, generator: torch.Generator, stride: int
) -> tuple[Tensor, Tensor]:
    """Up to `ANCHORS` places that both views show, (N, 3) in voxels of the first and of the second."""
    own = places(first, stride)
    # Anywhere in the cell: what is learnt then varies smoothly between the cells' centres.
    own = own + (torch.rand(own.shape, generator=generator).to(own.device) - 0.5) * stride
    there = second.from_source(first.to_source(own))
    both = (first.shows(own) & second.shows(there)).nonzero()[:, 0]
    chosen = both[torch.randperm(len(both), generator=generator).to(both.device)[:ANCHORS]]
    return own[chosen], there[chosen]


def read_map(level: Tensor, points: Tensor, stride: int) -> Tensor:
    """(N, C) unit vectors of a level (C, d, h, w) at places given in voxels of its view."""
    return F.normalize(sample(level, (points + 0.5) / stride - 0.5).T, dim=1)


def info_nce(
    first: Tensor,
    second: Tensor,
    anchors: tuple[Tensor, Tensor],
    views: tuple[EmbeddingView, EmbeddingView],
    others: Tensor,
    stride: int,
) -> Tensor:
    """Mean over the anchors of -log(exp(positive / t) / sum over positive and negatives of exp(. / t)); one level.

    Parameters
    ----------
    first, second
        Maps (C, d, h, w) of the two views.
    anchors
        The same places in voxels of the first and of the second view, (N, 3) each.
    others
        (M, C) vectors of another scan.
    """
    if len(anchors[0]) == 0:  # the views show nothing in common but what stands out of the scan
        return first.sum() * 0.0
    query = read_map(first, anchors[0], stride)
    positive = (query * read_map(second, anchors[1], stride)).sum(dim=1, keepdim=True)
    cells = places(views[1], stride)
    similar = query @ second.flatten(1)
    near = torch.cdist(views[1].to_source(anchors[1]), views[1].to_source(cells)) < NEAR_CELLS * stride
    hidden = near | ~views[1].shows(cells)
    similar = similar.masked_fill(hidden, -torch.inf)
    hardest = similar.topk(min(HARDEST, similar.shape[1]), dim=1).values
    logits = torch.cat((positive, hardest, query @ others.T), dim=1) / TEMPERATURE
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
