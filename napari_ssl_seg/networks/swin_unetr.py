"""Swin UNETR: windowed attention on five scales, and a convolutional decoder. MONAI's, taken apart.

Hatamizadeh et al., "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images", BrainLes 2021,
arXiv 2201.01266.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import SwinUNETR
from torch import nn

from napari_ssl_seg.networks.backbone import Backbone, check_size
from napari_ssl_seg.networks.monai_layouts import SWIN_STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.monai_layouts import SwinLayout

TOKEN_STAGE = 4
"""Which of the maps of `SwinUNETRBackbone.encode` holds the tokens: that of stride 16."""


class SwinUNETRBackbone(Backbone):
    """``net`` is MONAI's module without its last convolution; its weights keep their names under ``net.``."""

    def __init__(self, dims: int, in_channels: int, layout: SwinLayout) -> None:
        super().__init__()
        self.dims, self.in_channels, self.layout = dims, in_channels, layout
        self.net = SwinUNETR(
            in_channels=in_channels,
            out_channels=1,
            depths=layout.depths,
            num_heads=layout.heads,
            window_size=layout.window,
            feature_size=layout.feature_size,
            drop_rate=layout.dropout,
            attn_drop_rate=layout.attention_dropout,
            dropout_path_rate=layout.drop_path,
            use_v2=layout.v2,
            spatial_dims=dims,
        )
        self.net.out = nn.Identity()  # type: ignore[assignment]
        self.stride = (SWIN_STRIDE,) * dims
        self.out_features, self.bottleneck_features = layout.feature_size, layout.stage_features[-1]

    @property
    def token_features(self) -> int:
        return self.layout.stage_features[TOKEN_STAGE - 1]

    @property
    def token_stride(self) -> tuple[int, ...]:
        return (SWIN_STRIDE // 2,) * self.dims

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to maps of strides 1, 2, 4, 8, 16 and 32."""
        check_size(x, self.stride, "swin_unetr")
        net = self.net
        hidden = net.swinViT(x, net.normalize)
        return [
            net.encoder1(x),
            net.encoder2(hidden[0]),
            net.encoder3(hidden[1]),
            net.encoder4(hidden[2]),
            hidden[3],
            net.encoder10(hidden[4]),
        ]

    def tokens(self, features: list[Tensor]) -> Tensor:
        """The map of stride 16 as the transformer gives it."""
        return features[TOKEN_STAGE]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps as `encode` gives them to (B, ``out_features``, *spatial)."""
        net, x = self.net, features[-1]
        blocks = (net.decoder5, net.decoder4, net.decoder3, net.decoder2, net.decoder1)
        for block, skip in zip(blocks, features[-2::-1], strict=True):
            x = block(x, skip)
        return x
