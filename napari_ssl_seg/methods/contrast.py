"""Contrast of whole images: NT-Xent, InfoNCE, the cosine; the queue of keys and the slowly following encoder of MoCo.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020; Chen et al., "SimCLR", ICML 2020;
Grill et al., "BYOL", NeurIPS 2020; Chen and He, "SimSiam", CVPR 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


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
