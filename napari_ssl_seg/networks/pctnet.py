"""PCT-Net: a 3D U-Net whose coarse levels run convolution and windowed attention side by side.

Wang et al., "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale Unannotated
Dataset", arXiv 2306.16925. The attention is MONAI's Swin layer: it has as many weights as the authors', takes any size and
has no collisions in its table of relative positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_ssl_seg.networks.backbone import Backbone
from napari_ssl_seg.networks.pct_blocks import ConvBlock, Down, PCTBlock, Up, activate, keep_size
from napari_ssl_seg.networks.pct_layout import LEVELS, PCT_LEVELS

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.pct_layout import PCTLayout


class PCTNet(Backbone):
    """Five levels; ``decode_deep`` gives the four finest of the decoder, each normalised for its head.

    The two finest levels are convolutions alone, within slices or across them as the layout's ``resolution`` says. Sizes that
    are no multiple of ``stride`` work too: what pooling cut off is repeated from the border.
    """

    def __init__(self, in_channels: int, layout: PCTLayout) -> None:
        super().__init__()
        widths, pools, kernels = layout.channels, layout.pools, layout.kernels
        self.dims, self.in_channels, self.layout = 3, in_channels, layout
        self.stride, self.out_features, self.bottleneck_features = layout.stride, widths[0], widths[-1]
        self.project = nn.Conv3d(in_channels, widths[0], kernels[0], padding=keep_size(kernels[0]))
        self.encoder = nn.ModuleList(_level(layout, level) for level in range(LEVELS))
        self.down = nn.ModuleList(
            Down(widths[level], widths[level + 1], pools[level], kernels[level + 1]) for level in range(LEVELS - 1)
        )
        self.decoder = nn.ModuleList(_level(layout, level) for level in range(LEVELS - 1))
        self.up = nn.ModuleList(
            Up(widths[level + 1], widths[level], pools[level], kernels[level]) for level in range(LEVELS - 1)
        )
        self.finish = nn.ModuleList(nn.Sequential(*activate(width)) for width in self.deep_features)

    @property
    def deep_features(self) -> tuple[int, ...]:
        return self.layout.channels[: LEVELS - 1] if self.layout.deep else self.layout.channels[:1]

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) to one feature map a level, finest first."""
        features = [self.encoder[0](self.project(x))]
        for down, block in zip(self.down, list(self.encoder)[1:], strict=True):
            features.append(block(down(features[-1])))
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """One feature map a level to (B, ``out_features``, D, H, W)."""
        return self.finish[0](self._expand(features)[0])

    def decode_deep(self, features: list[Tensor]) -> list[Tensor]:
        """One feature map a level to those of the decoder's levels, finest first."""
        levels = self._expand(features)
        return [finish(level) for finish, level in zip(self.finish, levels, strict=False)]

    def _expand(self, features: list[Tensor]) -> list[Tensor]:
        x, levels = features[-1], []
        for level in reversed(range(LEVELS - 1)):
            x = self.decoder[level](self.up[level](features[level], x))
            levels.append(x)
        return levels[::-1]


def _level(layout: PCTLayout, level: int) -> nn.Module:
    width, kernel, dropout = layout.channels[level], layout.kernels[level], layout.dropout[level]
    above = level - (LEVELS - PCT_LEVELS)
    if above < 0:
        return ConvBlock(width, kernel, dropout)
    return PCTBlock(
        width,
        kernel,
        heads=layout.heads[above],
        window=layout.window,
        mlp_ratio=layout.mlp_ratio,
        dropout=dropout,
        drop_path=layout.drop_path,
        normalise=layout.attention_norm,
    )
