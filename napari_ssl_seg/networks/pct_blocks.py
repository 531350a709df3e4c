"""What PCT-Net is made of. Batch norm and PReLU come before each convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.nets.swin_unetr import BasicLayer
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.pct_layout import Triple

DEPTH = 2
"""Layers of attention in a block: in windows, and in windows shifted by half of one."""


def activate(width: int) -> list[nn.Module]:
    """Batch norm and PReLU of one slope."""
    return [nn.BatchNorm3d(width), nn.PReLU()]


def convolve(before: int, after: int, kernel: Triple) -> nn.Sequential:
    """Activation and a convolution that keeps the size."""
    return nn.Sequential(*activate(before), _conv(before, after, kernel))


class ConvBlock(nn.Sequential):
    """Two activations and convolutions, with dropout before the second convolution."""

    def __init__(self, width: int, kernel: Triple, dropout: float) -> None:
        super().__init__(
            *activate(width),
            _conv(width, width, kernel),
            *activate(width),
            nn.Dropout(dropout),
            _conv(width, width, kernel),
        )


class PCTBlock(nn.Module):
    """Parallel convolution and attention: their sum, without a residual around it."""

    def __init__(
        self,
        width: int,
        kernel: Triple,
        *,
        heads: int,
        window: int,
        mlp_ratio: float,
        dropout: float,
        drop_path: float,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.convolution = ConvBlock(width, kernel, dropout)
        self.dropout = nn.Dropout(dropout)
        self.attention = BasicLayer(
            dim=width,
            depth=DEPTH,
            num_heads=heads,
            window_size=(window,) * 3,
            drop_path=[drop_path] * DEPTH,
            mlp_ratio=mlp_ratio,
            qkv_bias=True,
            drop=dropout,
            attn_drop=dropout,
        )
        self.norm = nn.LayerNorm(width) if normalise else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W) to the same."""
        attended = self.attention(self.dropout(x))
        if self.norm is not None:
            attended = self.norm(attended.movedim(1, -1)).movedim(-1, 1)
        return self.convolution(x) + attended


class Down(nn.Module):
    """Max pooling, then the convolution to the next level's channels."""

    def __init__(self, before: int, after: int, pool: Triple, kernel: Triple) -> None:
        super().__init__()
        self.pool = pool
        self.convolution = convolve(before, after, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, D, H, W) to (B, after, D / pool, ...)."""
        return self.convolution(F.max_pool3d(x, self.pool))


class Up(nn.Module):
    """A transposed convolution, joined with the skip and convolved."""

    def __init__(self, coarse: int, fine: int, pool: Triple, kernel: Triple) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(*activate(coarse), nn.ConvTranspose3d(coarse, fine, kernel_size=pool, stride=pool))
        self.convolution = convolve(2 * fine, fine, kernel)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """(B, fine, D, H, W) and (B, coarse, D / pool, ...) to (B, fine, D, H, W)."""
        larger = self.enlarge(x)
        if larger.shape[2:] != skip.shape[2:]:  # an odd size lost its last voxels in pooling
            missing = [side - got for side, got in zip(skip.shape[2:], larger.shape[2:], strict=True)]
            larger = F.pad(larger, [margin for gap in reversed(missing) for margin in (0, gap)], mode="replicate")
        return self.convolution(torch.cat((skip, larger), dim=1))


def keep_size(kernel: Triple) -> Triple:
    """The padding with which a convolution keeps the size."""
    z, y, x = kernel
    return z // 2, y // 2, x // 2


def _conv(before: int, after: int, kernel: Triple) -> nn.Conv3d:
    return nn.Conv3d(before, after, kernel_size=kernel, padding=keep_size(kernel))
