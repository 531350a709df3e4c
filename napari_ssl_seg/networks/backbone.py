"""What methods, heads and sliding windows may rely on, whatever the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

from napari_ssl_seg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Backbone(nn.Module, ABC):
    """What methods and segmentation heads may rely on; ``forward(x)`` is ``decode(encode(x))``.

    ``stride`` is the total downsampling of each axis, ``out_features`` the channels at full resolution and
    ``bottleneck_features`` those at the coarsest level.
    """

    dims: int
    in_channels: int
    out_features: int
    bottleneck_features: int
    stride: tuple[int, ...]
    any_size: bool = True
    """False: only patches of the very size that it was built for."""

    @property
    def token_features(self) -> int:
        """Channels of `tokens`."""
        return self.bottleneck_features

    @property
    def token_stride(self) -> tuple[int, ...]:
        """Voxels along each axis that one token stands for."""
        return self.stride

    @property
    def deep_features(self) -> tuple[int, ...]:
        """Channels of the maps of `decode_deep`; more than one where the network is supervised on several scales."""
        return (self.out_features,)

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, *spatial) to feature maps, finest first."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Feature maps as `encode` gives them to (B, ``out_features``, *spatial)."""

    def tokens(self, features: list[Tensor]) -> Tensor:
        """Feature maps as `encode` gives them to one vector for each block of ``token_stride`` voxels.

        (B, ``token_features``, *grid); the coarsest map unless the network says otherwise.
        """
        return features[-1]

    def decode_deep(self, features: list[Tensor]) -> list[Tensor]:
        """Feature maps as `encode` gives them to the maps that are supervised, finest first; the first is `decode`'s."""
        return [self.decode(features)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``out_features``, *spatial)."""
        return self.decode(self.encode(x))


def check_size(x: Tensor, stride: tuple[int, ...], name: str) -> None:
    """Refuse an input whose sides are no multiples of ``stride``.

    Raises
    ------
    UserError
        Naming the size and a fitting one.
    """
    size = tuple(x.shape[2:])
    if any(side % step for side, step in zip(size, stride, strict=True)):
        fitting = tuple(-(-side // step) * step for side, step in zip(size, stride, strict=True))
        raise UserError(f"{name} takes sizes that are multiples of {stride}, and got {size}; pad it to {fitting}")
