"""Dice and cross-entropy, over the labelled voxels only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.methods.base import Losses

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = -1
SMOOTH = 1e-5


def dice_ce(logits: Tensor, target: Tensor) -> Losses:
    """Soft Dice loss plus cross-entropy; voxels whose target is `IGNORE` count in neither.

    The Dice of each class but the background is taken over all voxels of the batch at once,
    1 - (2 sum(p y) + e) / (sum(p) + sum(y) + e) with e = 1e-5, and averaged over the classes (Milletari et al. 2016, with
    the sums unsquared; MONAI's ``DiceCELoss(include_background=False, batch=True, softmax=True, to_onehot_y=True)``).

    Parameters
    ----------
    logits
        (B, K, *spatial), the background first.
    target
        (B, *spatial), integers 0 to K - 1 or `IGNORE`.

    Returns
    -------
    Losses
        ``total`` = ``dice`` + ``ce``; both are 0 (with a gradient of 0) where nothing is labelled.
    """
    import torch
    from torch.nn import functional

    logits = logits.float()
    classes = logits.shape[1]
    flat = logits.movedim(1, -1).reshape(-1, classes)
    wanted = target.reshape(-1)
    known = wanted != IGNORE
    count = known.sum().clamp(min=1)
    cross_entropy = functional.cross_entropy(flat, wanted, ignore_index=IGNORE, reduction="sum") / count
    probability = torch.softmax(flat, dim=1) * known.unsqueeze(1)
    one_hot = functional.one_hot(wanted.clamp(min=0), classes) * known.unsqueeze(1)
    overlap = (probability * one_hot).sum(dim=0)[1:]
    sizes = (probability.sum(dim=0) + one_hot.sum(dim=0))[1:]
    # Without one labelled voxel the smoothing would make the ratio 1 by itself: no loss, no gradient.
    dice = (1.0 - (2.0 * overlap + SMOOTH) / (sizes + SMOOTH)).mean()
    return Losses(dice + cross_entropy, {"dice": dice, "ce": cross_entropy})
