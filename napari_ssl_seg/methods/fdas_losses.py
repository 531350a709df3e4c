"""The three losses of FDAS (MICCAI 2025): restoration, distillation of regions, contrast of fused scans and originals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-7
"""In the denominator of Eq. 8, as in the paper."""


def mean_over(values: Tensor, used: Tensor) -> Tensor:
    """Mean of (B,) over the samples that are ``used``; 0, with gradients of 0, where none is."""
    return torch.where(used, values, torch.zeros_like(values)).sum() / used.sum().clamp(min=1)


def restoration_errors(restored: Tensor, image: Tensor) -> Tensor:
    """Eq. 6 for each sample: the mean squared error over the whole image, kept and replaced voxels; (B,)."""
    return (restored - image).square().flatten(1).mean(dim=1)


def region_dice(probabilities: Tensor, labels: Tensor, inside: Tensor) -> Tensor:
    """The terms of Eq. 8: soft Dice of each channel of each image, 0 where the label has none of it.

    Parameters
    ----------
    probabilities
        (B, K, *spatial).
    labels
        int64, (B, *spatial): 1..K = in channel k, 0 = in none.
    inside
        Boolean, (B, *spatial): voxels of the scan. The others count neither way; a softmax over K has to put its mass
        somewhere there, too.

    Returns
    -------
    Tensor
        (B, K).
    """
    batch, channels = probabilities.shape[:2]
    flat, label = probabilities.flatten(2), labels.flatten(1)
    channel = (label - 1).clamp(min=0)
    member = (label > 0).to(flat.dtype)
    said = flat.gather(1, channel.unsqueeze(1)).squeeze(1) * member  # what is said of each voxel's own channel
    nothing = flat.new_zeros(batch, channels)
    overlap = nothing.scatter_add(1, channel, said)
    sizes = nothing.scatter_add(1, channel, member)
    predicted = torch.bmm(flat, inside.flatten(1).to(flat.dtype).unsqueeze(2)).squeeze(2)
    return 2 * overlap / (predicted + sizes + EPSILON)


def distillation_losses(dice: Tensor) -> Tensor:
    """Eq. 8 for each image, of the terms (B, K) of `region_dice`: ``1 - sum / K``, empty channels among the K.

    These have a Dice of 0 whatever the network says, so the loss cannot fall below their share.
    """
    return 1.0 - dice.mean(dim=1)


def dice_of_present(dice: Tensor, labels: Tensor) -> Tensor:
    """Mean of the terms (B, K) over the channels that the labels (B, *spatial) of an image have; (B,), 0 for none."""
    from napari_ssl_seg.pretext.submasks import channel_areas

    present = channel_areas(labels, dice.shape[1]) > 0
    return (dice * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)


def similarities(fused: Tensor, original: Tensor) -> Tensor:
    """Cosines of all pairs of a fused scan (rows) and an original (columns).

    Parameters
    ----------
    fused, original
        (B, F), or (B, F, *places) to compare place by place.

    Returns
    -------
    Tensor
        (B, B), or (B, B, places).
    """
    first, second = (F.normalize(features.float(), dim=1) for features in (fused, original))
    if first.ndim == 2:
        return first @ second.T
    return torch.einsum("bfp,gfp->bgp", first.flatten(2), second.flatten(2))


def contrast_losses(similarity: Tensor, temperature: float) -> Tensor:
    """Eq. 9 for each fused scan: cross-entropy of its row, in which its own original is the right column.

    The anchor is the fused scan and the negatives are originals; the released code has it the other way round.

    Parameters
    ----------
    similarity
        (B, B) or (B, B, places), as `similarities` gives them; places are averaged after the logarithm.

    Returns
    -------
    Tensor
        (B,); 0 for a batch of one, which has no negatives.
    """
    own = torch.arange(similarity.shape[0], device=similarity.device)
    if similarity.ndim == 3:
        own = own[:, None].expand(-1, similarity.shape[2])
    losses = F.cross_entropy(similarity / temperature, own, reduction="none")
    return losses if losses.ndim == 1 else losses.mean(dim=1)
