"""Dice and cross-entropy, over the labelled voxels only: of classes, and of targets that may overlap."""

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


def focal_dice(logits: Tensor, target: Tensor, membership: Tensor | None = None) -> Losses:
    """Focal loss plus Dice loss, the supervised loss of MOD (Eq. 6 to 8).

    The focal loss has an exponent of 2, no class weights, and is the mean over the labelled voxels (and targets); the Dice
    loss is that of each class but the background, or of each target, over all labelled voxels of the batch, with plain
    denominators, 0 for what is neither there nor predicted at all.

    Parameters
    ----------
    logits, target
        As in `dice_ce`: a softmax over classes of which each voxel has one; or, with ``membership``, as in `dice_bce`: a
        sigmoid for each of the targets, which may overlap (the paper's case).

    Returns
    -------
    Losses
        ``total`` = ``focal`` + ``dice``.
    """
    import torch
    from torch.nn import functional

    from napari_ssl_seg.methods.mod_losses import dice_loss, focal

    flat = logits.float().movedim(1, -1).reshape(-1, logits.shape[1])
    wanted = target.reshape(-1)
    known, number = (wanted != IGNORE).unsqueeze(1), wanted.clamp(min=0)
    if membership is None:
        scores = functional.log_softmax(flat, dim=1)
        of_truth = scores.gather(1, number.unsqueeze(1))
        probability, truth = scores.exp()[:, 1:], functional.one_hot(number, flat.shape[1])[:, 1:]
    else:
        truth = membership[number].long()
        of_truth = functional.logsigmoid(torch.where(truth > 0, flat, -flat))
        probability = flat.sigmoid()
    focused = torch.where(known, focal(of_truth), torch.zeros_like(of_truth)).sum()
    focused = focused / (known.sum() * of_truth.shape[1]).clamp(min=1)
    dice = dice_loss(probability * known, truth * known, dim=0).mean()
    return Losses(focused + dice, {"focal": focused, "dice": dice})


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
