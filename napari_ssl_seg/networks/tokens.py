"""Which weights of a network its tokens or its encoder's maps come from, asked without computing anything."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_ssl_seg.networks.backbone import Backbone

STRIDES_AN_AXIS = 2
"""Of the patch through which a network is followed that takes patches of any size."""


def token_weights(backbone: Backbone) -> frozenset[str]:
    """Names in ``backbone.state_dict()`` of what `Backbone.tokens` depend on: weights, and the buffers of their modules.

    A copy of the network without values is run and its gradients are followed, which costs no arithmetic.
    """
    return _weights_of(backbone, lambda shadow, features: [shadow.tokens(features)])


def encoder_weights(backbone: Backbone, *, every_level: bool = False) -> frozenset[str]:
    """Likewise of what the coarsest map of `Backbone.encode` depends on, or each of its maps."""
    return _weights_of(backbone, lambda shadow, features: features if every_level else features[-1:])


def _weights_of(backbone: Backbone, pick: Callable[[Backbone, list[Tensor]], Sequence[Tensor]]) -> frozenset[str]:
    shadow = copy.deepcopy(backbone).to("meta").requires_grad_(True)
    shape = getattr(shadow, "patch", tuple(STRIDES_AN_AXIS * stride for stride in shadow.stride))
    weights = dict(shadow.named_parameters())
    with torch.enable_grad():
        features = shadow.encode(torch.zeros(1, shadow.in_channels, *shape, device="meta"))
        total = torch.stack([picked.sum() for picked in pick(shadow, features)]).sum()
        found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    used = {name for name, gradient in zip(weights, found, strict=True) if gradient is not None}
    modules = {name.rpartition(".")[0] for name in used}
    return frozenset(used | {name for name, _ in shadow.named_buffers() if name.rpartition(".")[0] in modules})
