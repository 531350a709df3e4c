"""Two U-Nets side by side, whose last features are joined: what Localized Region Contrast fine-tunes.

Yan et al., "Localized Region Contrast for Enhancing Self-Supervised Learning in Medical Image Segmentation", MICCAI 2023:
one branch comes from a local pretraining (encoder and decoder), the encoder of the other from a global one. Each ends in
as many channels at full resolution (the paper: 64); a 1x1 convolution over both gives the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_ssl_seg.networks.backbone import Backbone
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.presets import UNetLayout
    from napari_ssl_seg.networks.resnet_unet import ResNetUNet


class Branch(nn.Module):
    """A U-Net and a 1x1 convolution to ``features`` channels at full resolution, where it does not end in them itself."""

    def __init__(self, unet: UNet | ResNetUNet, features: int) -> None:
        super().__init__()
        self.unet = unet
        self.project: nn.Module = nn.Identity()
        if isinstance(unet, UNet):
            conv = nn.Conv2d if unet.dims == 2 else nn.Conv3d
            self.project = conv(unet.out_features, features, kernel_size=1)

    def decode(self, features: list[Tensor]) -> Tensor:
        """What the U-Net's ``encode`` gives to (B, ``features``, *spatial)."""
        return self.project(self.unet.decode(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``features``, *spatial)."""
        return self.decode(self.unet.encode(x))


class UNetPair(Backbone):
    """Two branches; their features are concatenated, the global one's first.

    Each decoder gets the skips of its own encoder. Weights are named ``local.*`` and ``global_.*``.

    Parameters
    ----------
    layout
        Of both U-Nets.
    features
        Channels in which each branch ends.
    global_encoder
        ``unet``: the same U-Net again; ``resnet50``: one around a ResNet-50, which is the paper's encoder (2D).
    """

    def __init__(
        self, dims: int, in_channels: int, layout: UNetLayout, features: int, global_encoder: str = "unet"
    ) -> None:
        super().__init__()
        self.dims, self.in_channels = dims, in_channels
        local = UNet(dims, in_channels, layout)
        self.local = Branch(local, features)
        self.global_ = Branch(global_unet(local, features, global_encoder), features)
        self.stride, self._levels = local.stride, len(layout.channels)
        self.branch_features, self.out_features = features, 2 * features
        self.bottleneck_features = self.global_.unet.bottleneck_features

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to the feature maps of the local branch, finest first, and then those of the global one."""
        return [*self.local.unet.encode(x), *self.global_.unet.encode(x)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps as `encode` gives them to (B, 2 * ``branch_features``, *spatial): the global branch's, the local's."""
        local, other = features[: self._levels], features[self._levels :]
        return torch.cat((self.global_.decode(other), self.local.decode(local)), dim=1)


def global_unet(local: UNet, features: int, encoder: str) -> UNet | ResNetUNet:
    """A network for the global branch beside that local one, with weights of its own."""
    if encoder == "unet":
        return UNet(local.dims, local.in_channels, local.layout)
    from napari_ssl_seg.networks.resnet_unet import ResNetUNet

    return ResNetUNet(local.in_channels, features)
