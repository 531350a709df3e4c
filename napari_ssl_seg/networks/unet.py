"""The U-Net of all methods, in 2D and 3D, with its encoder and decoder apart.

FDAS's 2D network, the 3D U-Net of the Volume Fusion paper and our own sizes are layouts of this one definition.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.networks.backbone import Backbone
from napari_ssl_seg.networks.presets import layout_strides

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.presets import UNetLayout

NEGATIVE_SLOPE = 0.01


class UNet(Backbone):
    """Levels of two 3-convolutions each, max pooling, and a decoder of linear upsampling with skips.

    Sizes that are not a multiple of ``stride`` work too (the decoder follows the skips' sizes), but lose the coarse
    levels' view of the last voxels; training and sliding windows use multiples.
    """

    def __init__(self, dims: int, in_channels: int, layout: UNetLayout) -> None:
        super().__init__()
        channels = layout.channels
        self.dims, self.in_channels, self.layout = dims, in_channels, layout
        self.strides = layout_strides(layout, dims)
        self.stride = tuple(math.prod(stride[axis] for stride in self.strides) for axis in range(dims))
        self.out_features, self.bottleneck_features = channels[0], channels[-1]
        self._mode, self._align_corners = ("bilinear" if dims == 2 else "trilinear"), layout.align_corners
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        dropout = layout.dropout or (0.0,) * len(channels)
        self.encoder = nn.ModuleList(
            _block(dims, previous, width, layout.norm, rate)
            for previous, width, rate in zip((in_channels, *channels), channels, dropout, strict=False)
        )
        # Decoder levels from coarse to fine: narrow, upsample, concatenate with the skip, two convolutions.
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.narrow = nn.ModuleList(conv(coarse, fine, kernel_size=1) for coarse, fine in pairs)
        self.decoder = nn.ModuleList(_block(dims, 2 * fine, fine, layout.norm, 0.0) for _, fine in pairs)

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to one feature map a level, finest first."""
        pool = F.max_pool2d if self.dims == 2 else F.max_pool3d
        features = [self.encoder[0](x)]
        for stride, block in zip(self.strides, list(self.encoder)[1:], strict=True):
            features.append(block(pool(features[-1], stride)))
        return features

    def drop_decoder(self) -> UNet:
        """Forget the decoder's weights, for pretrainings that only encode; the encoder keeps its names. Returns itself."""
        self.narrow, self.decoder = nn.ModuleList(), nn.ModuleList()
        return self

    def decode(self, features: list[Tensor]) -> Tensor:
        """One feature map a level, finest first, to (B, ``out_features``, *spatial)."""
        x = features[-1]
        for narrow, block, skip in zip(self.narrow, self.decoder, features[-2::-1], strict=True):
            # The papers upsample before the 1x1 convolution; both are linear and commute, and this order costs less.
            x = F.interpolate(narrow(x), size=skip.shape[2:], mode=self._mode, align_corners=self._align_corners)
            x = block(torch.cat((skip, x), dim=1))
        return x


def _block(dims: int, before: int, after: int, norm: str, dropout: float) -> nn.Sequential:
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    parts: list[nn.Module] = []
    for width in (before, after):
        parts += [conv(width, after, kernel_size=3, padding=1), _norm(dims, after, norm), nn.LeakyReLU(NEGATIVE_SLOPE)]
        if dropout and len(parts) == 3:
            parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


def _norm(dims: int, channels: int, name: str) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)
    return nn.InstanceNorm2d(channels, affine=True) if dims == 2 else nn.InstanceNorm3d(channels, affine=True)
