"""Dice and cross-entropy, over the labelled voxels only: of classes, and of targets that may overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ssl_seg.methods.base import Losses

if TYPE_CHECKING:
    from collections.abc import Callable

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


def focal_dice(logits: Tensor, target: Tensor) -> Losses:
    """Focal loss plus Dice loss, the supervised loss of MOD (Eq. 6 to 8), for classes that exclude each other: with softmax.

    The focal loss has an exponent of 2, no class weights, and is the mean over the labelled voxels; the Dice loss is that
    of each class but the background over all labelled voxels of the batch, with plain denominators, 0 for a class that is
    neither there nor predicted at all.

    Parameters
    ----------
    logits, target
        As in `dice_ce`.

    Returns
    -------
    Losses
        ``total`` = ``focal`` + ``dice``.
    """
    import torch
    from torch.nn import functional

    from napari_ssl_seg.methods.mod_losses import dice_loss, focal

    classes = logits.shape[1]
    scores = functional.log_softmax(logits.float().movedim(1, -1).reshape(-1, classes), dim=1)
    wanted = target.reshape(-1)
    known = wanted != IGNORE
    of_truth = scores.gather(1, wanted.clamp(min=0).unsqueeze(1)).squeeze(1)
    focused = torch.where(known, focal(of_truth), torch.zeros_like(of_truth)).sum() / known.sum().clamp(min=1)
    truth = functional.one_hot(wanted.clamp(min=0), classes) * known.unsqueeze(1)
    dice = dice_loss(scores.exp() * known.unsqueeze(1), truth, dim=0)[1:].mean()
    return Losses(focused + dice, {"focal": focused, "dice": dice})


SUPERVISED: dict[str, Callable[[Tensor, Tensor], Losses]] = {"dice_ce": dice_ce, "focal_dice": focal_dice}
"""Losses of fine-tuning by name."""


def dice_bce(logits: Tensor, target: Tensor, membership: Tensor) -> Losses:
    """Soft Dice loss plus binary cross-entropy of targets that may overlap, each with a sigmoid of its own.

    As nnU-Net trains regions (Isensee et al. 2021): the Dice of `dice_ce` for each target, averaged over the targets, and
    the mean binary cross-entropy over labelled voxels and targets.

    Parameters
    ----------
    logits
        (B, K, *spatial), a channel for each target.
    target
        (B, *spatial), class numbers 0 to N - 1 or `IGNORE`.
    membership
        (N, K), whether a class is part of a target.

    Returns
    -------
    Losses
        ``total`` = ``dice`` + ``bce``; both are 0 (with a gradient of 0) where nothing is labelled.
    """
    import torch
    from torch.nn import functional

    logits = logits.float()
    flat = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    wanted = target.reshape(-1)
    known = (wanted != IGNORE).unsqueeze(1)
    inside = (membership[wanted.clamp(min=0)] & known).float()
    each = functional.binary_cross_entropy_with_logits(flat, inside, reduction="none") * known
    cross_entropy = each.sum() / (known.sum() * logits.shape[1]).clamp(min=1)
    probability = torch.sigmoid(flat) * known
    overlap = (probability * inside).sum(dim=0)
    sizes = probability.sum(dim=0) + inside.sum(dim=0)
    dice = (1.0 - (2.0 * overlap + SMOOTH) / (sizes + SMOOTH)).mean()
    return Losses(dice + cross_entropy, {"dice": dice, "bce": cross_entropy})
