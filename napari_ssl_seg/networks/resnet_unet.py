"""A U-Net around a ResNet-50, from MONAI: the global branch at the size that the LRC paper has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.networks.backbone import Backbone

if TYPE_CHECKING:
    from torch import Tensor

STEP = 32
"""Pixels that become one at the coarsest level."""
SMALLEST = 2 * STEP
"""Batch norm cannot normalise a single pixel of a batch of one."""


class ResNetUNet(Backbone):
    """MONAI's ``FlexibleUNet`` with a ResNet-50, random weights, 2D: 32.1 million of them.

    It takes multiples of 32 pixels only; other sizes are continued at their far borders, and cut back at the end.
    """

    def __init__(self, in_channels: int, features: int) -> None:
        from monai.networks.nets import FlexibleUNet

        super().__init__()
        self.dims, self.in_channels, self.out_features = 2, in_channels, features
        self.bottleneck_features, self.stride = 2048, (STEP, STEP)
        self.net = FlexibleUNet(in_channels, features, "resnet50", pretrained=False, spatial_dims=2)

    def drop_decoder(self) -> ResNetUNet:
        """Forget the decoder's weights, for pretrainings that only encode; the encoder keeps its names. Returns itself."""
        self.net.decoder, self.net.segmentation_head = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        return self

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) to the ResNet's five maps, finest first; before them a map without channels that tells the size."""
        rows, columns = (max(SMALLEST, -(-size // STEP) * STEP) - size for size in x.shape[2:])
        padded = F.pad(x, (0, columns, 0, rows), mode="replicate")
        return [x[:, :0], *self.net.encoder(padded)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps as `encode` gives them to (B, ``out_features``, H, W)."""
        rows, columns = features[0].shape[2:]
        decoded: Tensor = self.net.segmentation_head(self.net.decoder(features[1:], self.net.skip_connect))
        return decoded[:, :, :rows, :columns]
