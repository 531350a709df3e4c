"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_ssl_seg.training.settings import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of ``settings`` over the trainable weights; norms and biases are not decayed."""
    import torch

    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), fused=True)


def schedule_factor(schedule: str, step: int, total: int, warmup: float) -> float:
    """Share of the highest learning rate at ``step`` (0 is the first) of ``total``.

    It rises linearly over ``round(warmup * total)`` steps, then falls over the rest: ``cosine`` to 0 along half a
    cosine, ``poly`` as (1 - t)^0.9, ``halving`` to 1/2, 1/4, 1/8 in four equal parts (Volume Fusion's plan, in parts
    of the run), ``constant`` not at all.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    share = min(1.0, (step - rising) / max(1, total - rising))
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * share))
    if schedule == "poly":
        return (1.0 - share) ** 0.9
    if schedule == "halving":
        return 0.5 ** min(3, int(4 * share))
    return 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of weights this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
