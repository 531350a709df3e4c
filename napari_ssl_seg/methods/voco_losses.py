"""The losses of VoCo: each crop's likeness to the base crops is the share of it that they hold.

Wu et al., VoCo, CVPR 2024, in the form of the authors' code: the paper's prediction loss (its eq. 3) is there one mean
over the base crops that a crop meets, weighted by how much, and another over those that it does not meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import dot_products

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-6
"""Added under the logarithm."""


def likeness(crops: Tensor, bases: Tensor) -> Tensor:
    """``relu(cos)`` of every crop with every base crop of its scan: (B, n, D) and (B, k, D) to (B, n, k)."""
    return cosines(crops, bases).clamp(0.0, 1.0)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, D) and (..., M, D) to (..., N, M)."""
    return dot_products(F.normalize(first.float(), dim=-1), F.normalize(second.float(), dim=-1))


def overlap_loss(shares: Tensor, alike: Tensor) -> Tensor:
    """``-sum y log(1 - |y - l|) / sum y`` over the crops of a scan, the mean over scans; (B, n, k) both.

    0 where the likeness ``l`` is the share ``y``; a crop that meets four base crops evenly and looks like none: ``-log 0.75``.
    """
    terms = -shares * torch.log(1.0 - (shares - alike).abs() + SMALLEST)
    return (terms.sum(dim=(1, 2)) / shares.sum(dim=(1, 2)).clamp(min=SMALLEST)).mean()


def elsewhere_loss(shares: Tensor, alike: Tensor) -> Tensor:
    """Mean of ``l^2`` where ``y`` is 0, of each scan, the mean over scans; (B, n, k) both."""
    apart = (shares == 0).to(alike.dtype)
    return ((apart * alike.square()).sum(dim=(1, 2)) / apart.sum(dim=(1, 2)).clamp(min=1.0)).mean()


def regularisation(bases: Tensor) -> Tensor:
    """Mean of ``relu(cos)^2`` over the pairs of base crops of a scan, (B, k, D): they shall tell places apart.

    Both of a pair are moved; the authors' code holds the second one still. 0 for a single base crop.
    """
    count = bases.shape[1]
    pairs = torch.triu(torch.ones(count, count, device=bases.device), diagonal=1)
    return (likeness(bases, bases).square() * pairs).sum(dim=(1, 2)).div(pairs.sum().clamp(min=1.0)).mean()
