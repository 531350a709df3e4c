"""A masked autoencoder around a vision transformer that belongs to a segmentation network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_ssl_seg.networks.unetr import UNETRBackbone

HEAD_WIDTH = 48
"""Channels of a head of the decoder; a width that is a multiple of it has a position code in 2D and in 3D."""


class LightDecoder(nn.Module):
    """A few transformer layers over all patches of a scan, and a linear layer from each to its voxels.

    Parameters
    ----------
    features
        Of the encoder's tokens.
    grid
        Patches along each axis.
    voxels
        Of a patch, all channels.
    width, layers
        Of the decoder.
    masked
        Whether it gets the visible tokens alone and puts a learnt one into the others' places.
    """

    def __init__(
        self, features: int, grid: Sequence[int], voxels: int, width: int, layers: int, *, masked: bool = True
    ) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.embed = nn.Linear(features, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width)) if masked else None
        self.register_buffer("places", position_codes(self.grid, width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, 4 * width, width // HEAD_WIDTH, 0.0) for _ in range(layers)), nn.LayerNorm(width)
        )
        for block in list(self.blocks)[:layers]:
            block.norm_cross_attn = nn.Identity()  # of attention to a second input, which there is not
        self.predict = nn.Linear(width, voxels)
        if self.mask_token is not None:
            nn.init.trunc_normal_(self.mask_token, std=0.02)

    def decode(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """The encoder's tokens to one of the decoder for each patch, (B, patches, width); ``predict`` makes voxels of them.

        Parameters
        ----------
        tokens
            (B, n, features): of the patches ``visible``, int64 (B, n); of all where that is None.
        """
        places: Tensor = self.places  # type: ignore[assignment]
        seen = self.embed(tokens)
        if visible is not None:
            assert self.mask_token is not None
            whole = self.mask_token.to(seen.dtype).expand(len(tokens), math.prod(self.grid), -1)
            seen = whole.scatter(1, visible.unsqueeze(2).expand(-1, -1, seen.shape[2]), seen)
        return self.blocks(seen + places)


class MAENet(LightDecoder):
    """The transformer of a `UNETRBackbone` on visible tokens, and a light decoder on all.

    The parts are MONAI's, put together as in its `MaskedAutoEncoderViT`, but that the encoder is the backbone's own, that
    it has therefore no class token, and that what is visible is given and not drawn from torch's global generator.
    """

    def __init__(self, backbone: UNETRBackbone, patch: int, width: int, layers: int) -> None:
        grid = tuple(length // patch for length in backbone.patch)
        super().__init__(backbone.layout.hidden_size, grid, patch**backbone.dims * backbone.in_channels, width, layers)
        self.vit = backbone.net.vit

    def forward(self, image: Tensor, visible: Tensor) -> Tensor:
        """Voxels of every patch, from those of the visible ones.

        Parameters
        ----------
        image
            (B, C, *spatial); what lies in other patches than the visible ones does not reach the result.
        visible
            int64 (B, n), numbers of the visible patches.

        Returns
        -------
        Tensor
            (B, patches, voxels), for `unfold_patches`'s order.
        """
        return self.predict(self.decode(transformer_tokens(self.vit, image, visible), visible))


def transformer_tokens(vit: nn.Module, image: Tensor, visible: Tensor | None = None) -> Tensor:
    """Tokens of a vision transformer of MONAI's that gets the ``visible`` patches alone, or all; (B, n, features)."""
    tokens = vit.patch_embedding(image)  # type: ignore[operator]
    if visible is not None:
        tokens = take_tokens(tokens, visible)
    for block in vit.blocks:  # type: ignore[union-attr]
        tokens = block(tokens)
    return vit.norm(tokens)  # type: ignore[operator]


def position_codes(grid: Sequence[int], width: int) -> Tensor:
    """Sines and cosines of each patch's place, a part of the channels for each axis, fixed; (1, patches, ``width``).

    As in MAE, with wavelengths from 2 pi to 20000 pi patches.
    """
    share = width // (2 * len(grid))
    rates = 10000.0 ** (-torch.arange(share, dtype=torch.float64) / share)
    places = torch.cartesian_prod(*(torch.arange(length, dtype=torch.float64) for length in grid))
    angles = places.view(-1, len(grid), 1) * rates
    return torch.cat((angles.sin(), angles.cos()), dim=2).flatten(1).float().unsqueeze(0)


def take_tokens(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Of (B, patches, features) those of the given numbers (B, n): (B, n, features)."""
    return tokens.gather(1, numbers.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


def unfold_patches(image: Tensor, patch: int) -> Tensor:
    """(B, C, *spatial) cut into patches of ``patch`` voxels a side: (B, patches, C * voxels), first axes slowest."""
    batch, channels, *shape = image.shape
    dims = len(shape)
    split = image.view(batch, channels, *(part for length in shape for part in (length // patch, patch)))
    grid, inside = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    return split.permute(0, *grid, 1, *inside).flatten(1 + dims).flatten(1, dims)


def fold_patches(patches: Tensor, shape: tuple[int, ...], patch: int) -> Tensor:
    """The inverse of `unfold_patches`, to (B, C, *shape)."""
    dims = len(shape)
    grid = [length // patch for length in shape]
    split = patches.view(len(patches), *grid, -1, *(patch,) * dims)
    order = [axis for pair in zip(range(1, 1 + dims), range(2 + dims, 2 + 2 * dims), strict=True) for axis in pair]
    return split.permute(0, 1 + dims, *order).reshape(len(patches), -1, *shape)
