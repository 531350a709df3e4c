"""The network of FDAS: a backbone with two light heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.unet import Backbone


class FDASOutput(NamedTuple):
    """``restored`` is (B, C, *spatial) in [-1, 1], ``regions`` (B, K, *spatial) logits or None, ``bottleneck`` the coarsest features."""

    restored: Tensor
    regions: Tensor | None
    bottleneck: Tensor


class FDASNet(nn.Module):
    """One encoder and decoder; ``restore`` gives back the image's channels, ``segment`` the K regions.

    Parameters
    ----------
    channels
        K; None: no head for regions.
    """

    def __init__(self, backbone: Backbone, channels: int | None) -> None:
        super().__init__()
        conv = nn.Conv2d if backbone.dims == 2 else nn.Conv3d
        self.backbone = backbone
        self.restore = conv(backbone.out_features, backbone.in_channels, kernel_size=1)
        self.segment = None if channels is None else conv(backbone.out_features, channels, kernel_size=1)

    def forward(self, x: Tensor) -> FDASOutput:
        """(B, C, *spatial) to the outputs of both heads and the bottleneck."""
        features = self.backbone.encode(x)
        decoded = self.backbone.decode(features)
        regions = None if self.segment is None else self.segment(decoded)
        return FDASOutput(self.restore(decoded).tanh(), regions, features[-1])

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) to the bottleneck."""
        return self.backbone.encode(x)[-1]
