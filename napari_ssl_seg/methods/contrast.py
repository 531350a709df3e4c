"""Contrast of whole images: InfoNCE, the queue of keys and the slowly following encoder of MoCo.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020 (v1: a linear head, temperature
0.07); Chen et al., "Improved Baselines with Momentum Contrastive Learning", arXiv 2003.04297 (v2: two layers, 0.2).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.unet import Backbone


def queue_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """``-log exp(q.k / t) / (exp(q.k / t) + sum_j exp(q.n_j / t))``, the mean over the batch (MoCo, eq. 1).

    Parameters
    ----------
    queries, keys
        (B, D), the i-th of one belonging to the i-th of the other; of length 1.
    queue
        Keys of other images, (K, D). With all similarities equal the loss is ``log(1 + K)``.
    """
    positive = (queries * keys).sum(dim=1, keepdim=True)
    logits = torch.cat((positive, dot_products(queries, queue)), dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def batch_loss(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """The same with the other keys of the batch for negatives: B logits a query, in one direction. 0 for a batch of one."""
    logits = dot_products(queries, keys) / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent (SimCLR, eq. 1): each of the 2B views has to find its partner among the 2B - 1 others, by cosine.

    Parameters
    ----------
    first, second
        (B, D), the i-th of one being another view of the i-th of the other; of any length.

    Returns
    -------
    Tensor
        The mean over the 2B views; ``log(2B - 1)`` where all are alike, 0 for a batch of one, which has no negatives.
    """
    views = F.normalize(torch.cat((first, second)).float(), dim=1)
    logits = dot_products(views, views) / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(logits.masked_fill(itself, float("-inf")), partners)


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """``-mean cos(p, z)`` over the batch (SimSiam, eq. 1); of (..., D) each. From -1, alike, to 1.

    ``2 + 2 * negative_cosine(p, z)`` is BYOL's squared distance of unit vectors (its eq. 2).
    """
    return -F.cosine_similarity(predictions.float(), targets.float(), dim=-1).mean()


def dot_products(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, D) and (..., M, D) to (..., N, M), in float32: halves would be off by as much as small temperatures tell apart."""
    with torch.autocast(first.device.type, enabled=False):
        return first.float() @ second.float().transpose(-1, -2)


class PooledEncoder(nn.Module):
    """A backbone's encoder, means of its coarsest level over space, and a projection to unit length.

    With batch norm it is one mean of each channel, as in MoCo. Instance norm gives each channel of each image the same
    mean just before, and so takes from that one mean most of what tells images apart: then it is one mean for each half of
    each axis, side by side (`pooled_parts`).

    Parameters
    ----------
    backbone
        Of which ``encode`` is used.
    out_features
        Length of the vectors.
    layers
        1: a linear head (MoCo v1); 2: one hidden layer as wide as the bottleneck (v2).
    """

    def __init__(self, backbone: Backbone, out_features: int, layers: int) -> None:
        super().__init__()
        width = backbone.token_features
        self.backbone = backbone
        self.parts = pooled_parts(backbone)
        pooled = width * self.parts**backbone.dims
        hidden: list[nn.Module] = [] if layers == 1 else [nn.Linear(pooled, width), nn.ReLU()]
        self.head = nn.Sequential(*hidden, nn.Linear(pooled if layers == 1 else width, out_features))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``out_features``)."""
        features = self.backbone.tokens(self.backbone.encode(image))
        pool = F.adaptive_avg_pool2d if features.ndim == 4 else F.adaptive_avg_pool3d
        return F.normalize(self.head(pool(features, self.parts).flatten(1)).float(), dim=1)


def pooled_parts(backbone: nn.Module) -> int:
    """Into how many parts each axis is cut before the means are taken: 2 with instance norm, 1 without.

    Measured with the small 2D U-Net on slices of hippocampus scans, 160 steps of 16 with a queue of 320: of 128 slices of
    other scans, 0.42 are nearest to their own warped copy with one part, 0.92 with two (0.15 and 0.85 before training).
    """
    return 2 if any(isinstance(part, nn.InstanceNorm2d | nn.InstanceNorm3d) for part in backbone.modules()) else 1


class KeyQueue(nn.Module):
    """The last ``length`` keys, first in, first out; unit vectors at random before there were so many."""

    keys: Tensor
    place: Tensor

    def __init__(self, length: int, features: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, features), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put (B, D) keys in the place of the oldest."""
        length = len(self.keys)
        where = (self.place + torch.arange(len(keys), device=self.place.device)) % length
        self.keys[where[-length:]] = keys[-length:].to(self.keys.dtype)
        self.place.copy_((self.place + len(keys)) % length)


@torch.no_grad()
def follow(follower: nn.Module, leader: nn.Module, momentum: float) -> None:
    """Each weight of ``follower`` becomes ``momentum`` times itself plus the rest of the leader's of the same name."""
    leading = dict(leader.named_parameters())
    for name, weight in follower.named_parameters():
        weight.lerp_(leading[name], 1.0 - momentum)


class MomentumContrast(nn.Module):
    """MoCo: queries by an encoder that is trained, keys by one that follows it, negatives from a queue.

    MoCo shuffles the batch before the key encoder, so that batch norm cannot tell which images belong together. Instance
    norm, which our networks have by default, mixes no images and needs no shuffling; with the presets that have batch norm
    the keys' batch goes through by itself, in the order of the queries, as on a single GPU there is no other way.

    Parameters
    ----------
    queue
        Keys that are kept; 0: no queue and no second encoder, the other images of the batch are the negatives
        (`batch_loss`), and both views train the one encoder.
    """

    def __init__(
        self, backbone: Backbone, *, features: int, layers: int, queue: int, momentum: float, temperature: float
    ) -> None:
        super().__init__()
        self.encoder = PooledEncoder(backbone, features, layers)
        self.momentum, self.temperature = momentum, temperature
        self.key_encoder: PooledEncoder | None = None
        self.queue: KeyQueue | None = None
        self._fresh: Tensor | None = None
        if queue:
            self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.queue = KeyQueue(queue, features)

    def forward(self, queries: Tensor, positives: Tensor) -> Tensor:
        """The loss of two views (B, C, *spatial) of the same images; remembers the keys for `after_step`."""
        vectors = self.encoder(queries)
        if self.key_encoder is None or self.queue is None:
            return batch_loss(vectors, self.encoder(positives), self.temperature)
        with torch.no_grad():
            keys = self.key_encoder(positives)
        self._fresh = keys
        return queue_loss(vectors, keys, self.queue.keys, self.temperature)

    def after_step(self) -> None:
        """Let the key encoder follow, and put the last keys into the queue."""
        if self.key_encoder is None or self.queue is None or self._fresh is None:
            return
        follow(self.key_encoder, self.encoder, self.momentum)
        self.queue.push(self._fresh)
        self._fresh = None
