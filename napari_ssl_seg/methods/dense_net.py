"""DenseCL around the siamese engine: a second head and queue for the places of the encoder's coarsest map."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.contrast import KeyQueue, dot_products, follow, queue_loss
from napari_ssl_seg.methods.siamese_net import SiameseNet, found_again

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.projection import HeadPlan
    from napari_ssl_seg.methods.siamese_net import Design
    from napari_ssl_seg.networks.backbone import Backbone


def most_similar(first: Tensor, second: Tensor) -> Tensor:
    """For each place of the first map the most similar one of the second, by the cosine of their features (DenseCL, eq. 4).

    Parameters
    ----------
    first, second
        (B, N, C) and (B, M, C).

    Returns
    -------
    Tensor
        int64 (B, N).
    """
    return dot_products(F.normalize(first.float(), dim=2), F.normalize(second.float(), dim=2)).argmax(dim=2)


def places_loss(queries: Tensor, keys: Tensor, matches: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each place against its match, the mean over all places (DenseCL, eq. 2).

    Parameters
    ----------
    queries, keys
        (B, N, D) and (B, M, D), of any length.
    matches
        int64 (B, N), numbers of the keys.
    queue
        (K, D), means of the places of other patches.
    """
    matched = keys.gather(1, matches.unsqueeze(2).expand(-1, -1, keys.shape[2]))
    return queue_loss(
        F.normalize(queries.float(), dim=2).flatten(0, 1),
        F.normalize(matched.float(), dim=2).flatten(0, 1),
        queue,
        temperature,
    )


class DenseContrastNet(SiameseNet):
    """MoCo with a second head, for places; its weights follow, and a queue keeps means of the keys over their places.

    Parameters
    ----------
    share
        Of the contrast of places in the loss; lambda in the paper.
    """

    def __init__(self, backbone: Backbone, design: Design, dense: HeadPlan, share: float) -> None:
        super().__init__(backbone, design)
        self.share = share
        self.dense_head = dense.build(backbone.bottleneck_features, backbone)
        self.key_dense_head = copy.deepcopy(self.dense_head).requires_grad_(False)
        self.dense_queue = KeyQueue(design.queue, dense.out)
        self._fresh_places: Tensor | None = None

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """As of any siamese net; ``global`` and ``dense`` are the two contrasts that the loss is made of."""
        assert self.key_encoder is not None
        seen = self.encoder.backbone.encode(first)[-1]
        queries, places = self.encoder.project(seen), self.dense_head(flat(seen))
        with torch.no_grad():
            other = self.key_encoder.backbone.encode(second)[-1]
            keys, key_places = self.key_encoder.project(other), self.key_dense_head(flat(other))
            matches = most_similar(flat(seen), flat(other))
        whole = self.compare(queries, keys)
        dense = places_loss(places, key_places, matches, self.dense_queue.keys, self.design.temperature)
        if self.training:
            self._fresh = keys
            self._fresh_places = F.normalize(key_places.float().mean(dim=1), dim=1)
        told = {"global": whole.detach(), "dense": dense.detach(), "top1": found_again(queries, keys)}
        loss = (1.0 - self.share) * whole + self.share * dense
        return {"loss": loss, **told, **self.gauge.observe(queries)}

    def after_step(self, step: int, total: int) -> None:
        """Both heads follow, and both queues take the last keys."""
        super().after_step(step, total)
        assert self.design.momentum is not None
        follow(self.key_dense_head, self.dense_head, self.design.momentum)
        if self._fresh_places is not None:
            self.dense_queue.push(self._fresh_places)
        self._fresh_places = None


def flat(map_: Tensor) -> Tensor:
    """(B, C, *grid) to (B, N, C)."""
    return map_.flatten(2).transpose(1, 2)


@torch.no_grad()
def match_views(net: DenseContrastNet, first: Tensor, second: Tensor) -> tuple[View, ...]:
    """Places of the first view, and in the same order and colours those of the second that they are matched with."""
    assert net.key_encoder is not None
    seen, other = net.encoder.backbone.encode(first)[-1], net.key_encoder.backbone.encode(second)[-1]
    centres = [place_centres(map_.shape[2:], view.shape[2:]) for map_, view in ((seen, first), (other, second))]
    matches = most_similar(flat(seen), flat(other)).cpu()
    here = centres[0].expand(len(first), -1, -1)
    return (
        View("places", "Places of the first view", "points", here, over="first"),
        View("matches", "Their matches in the second view", "points", centres[1][matches], over="second"),
    )


def place_centres(grid: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Middles of the blocks that the places of a map stand for, in voxels: (N, dims), first axes slowest."""
    axes = [(torch.arange(cells) + 0.5) * (side / cells) - 0.5 for cells, side in zip(grid, shape, strict=True)]
    return torch.cartesian_prod(*axes).view(-1, len(grid))
