"""The network of the Self-supervised Anatomical eMbedding: a small 3D U-Net that gives each place a unit vector at two levels.

After Yan et al., TMI 2022 (a 3D ResNet-18 with a feature pyramid, 128 numbers a place, weights for CT alone); ours has
0.88 million parameters and is trained on the study's own scans, whatever their modality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (16, 32, 64, 64)
"""Channels at stride 1, 2, 4 and 8."""
DIMENSIONS = 32
"""Of the vector of each level."""
FINE, COARSE = 2, 4
"""Strides of the two levels, in voxels."""
STRIDE = 8
"""Sides of what the network gets are multiples of it."""
LEAST = 16
"""And at least so long: instance norm needs more than one voxel at the deepest level."""


class EmbeddingNet(nn.Module):
    """(B, 1, D, H, W) -> fine (B, 32, D/2, H/2, W/2) and coarse (B, 32, D/4, H/4, W/4), each of unit length along axis 1."""

    def __init__(self) -> None:
        super().__init__()
        w0, w1, w2, w3 = WIDTHS
        self.stem = _block(1, w0)
        self.down1 = _block(w0, w1, stride=2)
        self.down2 = _block(w1, w2, stride=2)
        self.down3 = _block(w2, w3, stride=2)
        self.up2 = _block(w3 + w2, w2)
        self.up1 = _block(w2 + w1, w1)
        self.coarse = nn.Conv3d(w2, DIMENSIONS, 1)
        self.fine = nn.Conv3d(w1, DIMENSIONS, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        half = self.down1(self.stem(image))
        quarter = self.down2(half)
        deep = self.down3(quarter)
        quarter = self.up2(torch.cat((_upsampled(deep, quarter), quarter), dim=1))
        half = self.up1(torch.cat((_upsampled(quarter, half), half), dim=1))
        return F.normalize(self.fine(half), dim=1), F.normalize(self.coarse(quarter), dim=1)


def joined(fine: Tensor, coarse: Tensor) -> Tensor:
    """Both levels on the fine grid as one unit vector (B, 64, ...): a product of two is the mean of both similarities."""
    coarse = F.normalize(_upsampled(coarse, fine), dim=1)
    return torch.cat((fine, coarse), dim=1) / 2**0.5


def padded_length(size: int) -> int:
    """The side that the network can take for a scan of ``size`` voxels."""
    return max(LEAST, -(-size // STRIDE) * STRIDE)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
        nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


def _upsampled(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, size=like.shape[2:], mode="trilinear", align_corners=False)
