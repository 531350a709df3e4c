"""An encoder that sees a whole patch at once, without the decoder."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import pooled_parts
from napari_ssl_seg.networks.tokens import STRIDES_AN_AXIS, encoder_weights
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.backbone import Backbone


class PatchEncoder(nn.Module):
    """One vector for each patch: means over space of the encoder's coarsest map, or of all of its maps side by side.

    With instance norm it is one mean for each half of each axis (`contrast.pooled_parts`).

    Parameters
    ----------
    every_level
        Whether the vector is made of all maps of `Backbone.encode` (VoCo), or of the coarsest.
    """

    def __init__(self, backbone: Backbone, *, every_level: bool = False) -> None:
        super().__init__()
        self.every_level = every_level
        self.parts = pooled_parts(backbone)
        self.backbone = backbone
        widths = level_widths(backbone)
        self.features = self.parts**backbone.dims * sum(widths if every_level else widths[-1:])

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Maps as the encoder gives them to (B, ``features``)."""
        chosen = maps if self.every_level else maps[-1:]
        mean = F.adaptive_avg_pool2d if self.backbone.dims == 2 else F.adaptive_avg_pool3d
        return torch.cat([mean(map_, self.parts).flatten(1) for map_ in chosen], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``features``)."""
        return self.pool(self.backbone.encode(image))


def keep_encoder(backbone: Backbone, *, every_level: bool = False) -> None:
    """Train nothing but what the encoder's maps depend on, or its coarsest; forget the decoder where that comes off."""
    trained = encoder_weights(backbone, every_level=every_level)
    for name, weight in backbone.named_parameters():
        weight.requires_grad_(name in trained)
    if isinstance(backbone, UNet):
        backbone.drop_decoder()


def level_widths(backbone: Backbone) -> list[int]:
    """Channels of each map of `Backbone.encode`, asked of a copy without values."""
    shadow = copy.deepcopy(backbone).to("meta")
    shape = getattr(shadow, "patch", tuple(STRIDES_AN_AXIS * stride for stride in shadow.stride))
    with torch.no_grad():
        return [map_.shape[1] for map_ in shadow.encode(torch.zeros(1, shadow.in_channels, *shape, device="meta"))]
