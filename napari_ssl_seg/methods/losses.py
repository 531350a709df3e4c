"""Losses that several methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from napari_ssl_seg.methods.base import Losses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

DICE_SMOOTH = 1e-5


def batch_dice(probabilities: Tensor, target: Tensor, smooth: float = DICE_SMOOTH) -> Tensor:
    """Soft Dice of each class over all voxels of the batch, the background among the classes.

    As in PyMIC, on which Volume Fusion was built: ``(2 sum(p y) + smooth) / (sum p + sum y + smooth)``.

    Parameters
    ----------
    probabilities
        (B, C, *spatial), summing to 1 over C.
    target
        Integers 0 to C - 1, (B, *spatial).

    Returns
    -------
    Tensor
        (C,), each in (0, 1].
    """
    scores = []
    for label in range(probabilities.shape[1]):
        is_label = target == label
        of_class = probabilities[:, label]
        overlap = (of_class * is_label).sum()
        scores.append((2 * overlap + smooth) / (of_class.sum() + is_label.sum() + smooth))
    return torch.stack(scores)


def masked_error(prediction: Tensor, target: Tensor, mask: Tensor, kind: Literal["l1", "mse"]) -> Tensor:
    """Mean absolute or squared error over the masked voxels of all channels; 0 where nothing is masked.

    Parameters
    ----------
    prediction, target
        (B, C, *spatial).
    mask
        Boolean, (B, *spatial), True where it counts.
    """
    # `where` and not a product: what the network says at visible voxels must not reach the loss, not even as inf * 0.
    difference = torch.where(mask.unsqueeze(1), prediction - target, torch.zeros_like(prediction))
    total = difference.abs().sum() if kind == "l1" else difference.square().sum()
    return total / (mask.sum() * prediction.shape[1]).clamp(min=1)


def deep_supervision(loss: Callable[[Tensor, Tensor], Losses], logits: Sequence[Tensor], target: Tensor) -> Losses:
    """A loss over the logits of several scales, each half as important as the next finer one.

    As in PyMIC: scale i has the weight 2^-i over the sum of all (8/15, 4/15, 2/15, 1/15 for four), and coarse logits are
    upsampled linearly to the target's size, so that the labels are never thinned out. One scale is ``loss`` itself.

    Parameters
    ----------
    loss
        Of full-size logits and the target.
    logits
        (B, C, *size) each, finest first (`networks.SegmentationNet.forward_deep`).
    target
        Whatever ``loss`` takes; its last axes are the full size.

    Returns
    -------
    Losses
        Total and parts are weighted sums over the scales, so that parts that add up to the total still do.
    """
    if len(logits) == 1:
        return loss(logits[0], target)
    dims = logits[0].ndim - 2
    size = tuple(target.shape[-dims:])
    of_scales = [loss(_resized(scores, size), target) for scores in logits]
    weights = deep_weights(len(logits))

    def weighted(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum()

    return Losses(
        weighted([scale.total for scale in of_scales]),
        {name: weighted([scale.parts[name] for scale in of_scales]) for name in of_scales[0].parts},
    )


def deep_weights(scales: int) -> list[float]:
    """2^-i over their sum, for i = 0 (the finest) to ``scales`` - 1."""
    raw = [0.5**scale for scale in range(scales)]
    return [weight / sum(raw) for weight in raw]


def _resized(scores: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(scores.shape[2:]) == size:
        return scores
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return torch.nn.functional.interpolate(scores.float(), size=size, mode=mode, align_corners=False)
