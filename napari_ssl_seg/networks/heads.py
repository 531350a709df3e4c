"""A backbone with a 1x1 head. Weights are named ``backbone.*`` and ``head.*`` throughout, so that they can change hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.backbone import Backbone


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
    """Logits of ``n_classes``, the background among them.

    Where the backbone is supervised on several scales, ``deep_heads`` hold the coarser ones' 1x1 convolutions; they serve
    the training only.
    """

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone, n_classes)
        conv = nn.Conv2d if backbone.dims == 2 else nn.Conv3d
        self.n_classes = n_classes
        self.deep_heads = nn.ModuleList(conv(width, n_classes, kernel_size=1) for width in backbone.deep_features[1:])

    def forward_deep(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to the logits of every supervised scale, finest first: the first are those of `forward`."""
        maps = self.backbone.decode_deep(self.backbone.encode(x))
        return [head(features) for head, features in zip((self.head, *self.deep_heads), maps, strict=True)]


class Restorer(HeadedNet):
    """An image with as many channels as the backbone's input."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone, backbone.in_channels)
