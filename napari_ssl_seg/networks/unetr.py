"""UNETR: a vision transformer over cubes of 16 voxels, and a convolutional decoder. MONAI's, taken apart.

Hatamizadeh et al., "UNETR: Transformers for 3D Medical Image Segmentation", WACV 2022, arXiv 2103.10504.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import UNETR
from torch import nn

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.networks.backbone import Backbone
from napari_ssl_seg.networks.monai_layouts import UNETR_PATCH

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.monai_layouts import UNETRLayout

TAPPED = (3, 6, 9)
"""Layers of the transformer, of 12, whose output the decoder gets besides the last."""


class UNETRBackbone(Backbone):
    """``net`` is MONAI's module without its last convolution and what it never uses; its weights keep their names under ``net.``.

    Each token has a learnt position, so the network takes patches of one size alone.
    """

    any_size = False

    def __init__(self, dims: int, in_channels: int, patch: tuple[int, ...], layout: UNETRLayout) -> None:
        super().__init__()
        self.dims, self.in_channels, self.layout, self.patch = dims, in_channels, layout, tuple(patch)
        self.net = UNETR(
            in_channels=in_channels,
            out_channels=1,
            img_size=self.patch,
            feature_size=layout.feature_size,
            hidden_size=layout.hidden_size,
            mlp_dim=layout.mlp_dim,
            num_heads=layout.heads,
            dropout_rate=layout.dropout,
            qkv_bias=layout.qkv_bias,
            spatial_dims=dims,
        )
        self.net.out = nn.Identity()  # type: ignore[assignment]
        for block in self.net.vit.blocks:
            block.norm_cross_attn = nn.Identity()  # of attention to a second input, which there is not
        self.stride = (UNETR_PATCH,) * dims
        self.out_features, self.bottleneck_features = layout.feature_size, layout.hidden_size

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *patch) to maps of strides 1, 2, 4, 8 and 16; the last holds the transformer's tokens."""
        if tuple(x.shape[2:]) != self.patch:
            raise UserError(f"this unetr was built for patches of {self.patch}, and got {tuple(x.shape[2:])}")
        net = self.net
        last, hidden = net.vit(x)
        tapped = [net.proj_feat(hidden[layer]) for layer in TAPPED]
        skips = [
            block(tokens) for block, tokens in zip((net.encoder2, net.encoder3, net.encoder4), tapped, strict=True)
        ]
        return [net.encoder1(x), *skips, net.proj_feat(last)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps as `encode` gives them to (B, ``out_features``, *patch)."""
        net, x = self.net, features[-1]
        for block, skip in zip((net.decoder5, net.decoder4, net.decoder3, net.decoder2), features[-2::-1], strict=True):
            x = block(x, skip)
        return x
