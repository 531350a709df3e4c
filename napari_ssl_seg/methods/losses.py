"""Losses that several methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
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
