"""DynUNet, the network of nnU-Net. MONAI's, taken apart.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature Methods
2021.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from monai.networks.nets import DynUNet
from torch import nn

from napari_ssl_seg.networks.backbone import Backbone, check_size

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.monai_layouts import DynUNetLayout


class DynUNetBackbone(Backbone):
    """``net`` is MONAI's module without its heads; its weights keep their names under ``net.``."""

    def __init__(self, dims: int, in_channels: int, layout: DynUNetLayout) -> None:
        super().__init__()
        self.dims, self.in_channels, self.layout = dims, in_channels, layout
        strides = layout.all_strides(dims)
        self.net = DynUNet(
            spatial_dims=dims,
            in_channels=in_channels,
            out_channels=1,
            kernel_size=layout.all_kernels(dims),
            strides=((1,) * dims, *strides),
            upsample_kernel_size=strides,
            filters=layout.channels,
            dropout=layout.dropout or None,
            res_block=layout.residual,
        )
        self.net.output_block = nn.Identity()
        # It holds every weight a second time, under other names, to run them in its own order.
        self.net.skip_layers = nn.Identity()
        self.stride = tuple(math.prod(stride[axis] for stride in strides) for axis in range(dims))
        self.out_features, self.bottleneck_features = layout.channels[0], layout.channels[-1]

    @property
    def deep_features(self) -> tuple[int, ...]:
        return self.layout.channels[: self.layout.deep]

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to one feature map a level, finest first."""
        check_size(x, self.stride, "dynunet")
        features = [self.net.input_block(x)]
        for block in (*self.net.downsamples, self.net.bottleneck):
            features.append(block(features[-1]))
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """One feature map a level to (B, ``out_features``, *spatial)."""
        return self._expand(features)[0]

    def decode_deep(self, features: list[Tensor]) -> list[Tensor]:
        """One feature map a level to those of the finest levels of the decoder that are supervised."""
        return self._expand(features)[: self.layout.deep]

    def _expand(self, features: list[Tensor]) -> list[Tensor]:
        x, levels = features[-1], []
        for block, skip in zip(self.net.upsamples, features[-2::-1], strict=True):
            x = block(x, skip)
            levels.append(x)
        return levels[::-1]
