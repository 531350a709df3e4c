"""A backbone with a 1x1 head. Weights are named ``backbone.*`` and ``head.*`` throughout, so that they can change hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.unet import Backbone


class HeadedNet(nn.Module):
    """``head(backbone(x))``, with ``out_channels`` at full resolution."""

    def __init__(self, backbone: Backbone, out_channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d if backbone.dims == 2 else nn.Conv3d
        self.backbone = backbone
        self.head = conv(backbone.out_features, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``out_channels``, *spatial)."""
        return self.head(self.backbone(x))


class SegmentationNet(HeadedNet):
    """Logits of ``n_classes``, the background among them."""

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone, n_classes)
        self.n_classes = n_classes


class Restorer(HeadedNet):
    """An image with as many channels as the backbone's input."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone, backbone.in_channels)
