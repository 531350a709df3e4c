"""The transformers that Alice pretrains, as encoders of masked crops: those of a `unetr` and of a `swin_unetr`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_ssl_seg.errors import UserError
from napari_ssl_seg.methods.mae_net import take_tokens, transformer_tokens
from napari_ssl_seg.networks.swin_unetr import TOKEN_STAGE, SwinUNETRBackbone
from napari_ssl_seg.networks.unetr import UNETRBackbone

if TYPE_CHECKING:
    from torch import Tensor


class TokenEncoder(nn.Module):
    """From crops to tokens, one for each patch."""

    drops: bool
    """Whether hidden patches are left out; otherwise a learnt token stands in their place."""

    def transfer(self) -> dict[str, Tensor]:
        """Its weights, under the names that they have in the network."""
        raise TypeError("an encoder is of one kind")

    def forward(self, image: Tensor) -> Tensor:
        """All tokens of whole crops, (B, C, *spatial) to (B, N, features)."""
        raise TypeError("an encoder is of one kind")

    def masked(self, image: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of crops of which only the patches ``visible``, int64 (B, n), are seen.

        Returns
        -------
        tuple of Tensor
            Those of the visible patches, (B, n, features), and what the decoder gets: the same, or all N.
        """
        raise TypeError("an encoder is of one kind")


class ViTEncoder(TokenEncoder):
    """The transformer of a `UNETRBackbone`; hidden patches do not enter it, as in the paper."""

    drops = True

    def __init__(self, backbone: UNETRBackbone) -> None:
        super().__init__()
        self.vit = backbone.net.vit

    def transfer(self) -> dict[str, Tensor]:
        return named(self.vit, "net.vit.")

    def forward(self, image: Tensor) -> Tensor:
        return transformer_tokens(self.vit, image)

    def masked(self, image: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        seen = transformer_tokens(self.vit, image, visible)
        return seen, seen


class SwinEncoder(TokenEncoder):
    """The transformer of a `SwinUNETRBackbone` up to its map of stride 16, whose entries are the tokens.

    Windows need a whole grid, so nothing can be left out: a learnt vector stands in place of all that was embedded of
    hidden patches, as in SimMIM (the "zero-mask variant"; the paper's Swin encoder follows GreenMIM, which drops tokens).
    """

    drops = False

    def __init__(self, backbone: SwinUNETRBackbone) -> None:
        super().__init__()
        self.swin, self.normalise = backbone.net.swinViT, backbone.net.normalize
        self.swin.layers4 = nn.ModuleList()  # what makes the map of stride 32 of the tokens
        if self.swin.use_v2:
            self.swin.layers4c = nn.ModuleList()
        self.unit = backbone.token_stride
        self.mask_token = nn.Parameter(torch.zeros(backbone.layout.feature_size))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def transfer(self) -> dict[str, Tensor]:
        return named(self.swin, "net.swinViT.")

    def forward(self, image: Tensor) -> Tensor:
        return self._tokens(self.swin.patch_embed(image))

    def masked(self, image: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.swin.patch_embed(image)
        grid = [length // step for length, step in zip(image.shape[2:], self.unit, strict=True)]
        shown = torch.zeros(len(image), math.prod(grid), dtype=torch.bool, device=image.device)
        shown = shown.scatter(1, visible, True).view(-1, 1, *grid)
        for axis, parts in enumerate(grid, start=2):
            shown = shown.repeat_interleave(embedded.shape[axis] // parts, dim=axis)
        token = self.mask_token.to(embedded.dtype).view(1, -1, *(1,) * len(grid))
        tokens = self._tokens(torch.where(shown, embedded, token))
        return take_tokens(tokens, visible), tokens

    def _tokens(self, embedded: Tensor) -> Tensor:
        swin = self.swin
        x = swin.pos_drop(embedded)
        for stage in range(1, TOKEN_STAGE):
            if swin.use_v2:
                x = getattr(swin, f"layers{stage}c")[0](x.contiguous())
            x = getattr(swin, f"layers{stage}")[0](x.contiguous())
        return swin.proj_out(x, self.normalise).flatten(2).transpose(1, 2)


def encoder_of(backbone: nn.Module) -> TokenEncoder:
    """The encoder of a network, of which the rest is not used again.

    Raises
    ------
    UserError
        For one without a transformer that Alice knows.
    """
    if isinstance(backbone, UNETRBackbone):
        return ViTEncoder(backbone)
    if isinstance(backbone, SwinUNETRBackbone):
        return SwinEncoder(backbone)
    raise UserError("alice pretrains a transformer, which this network has none of; use network unetr or swin_unetr")


def named(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Copies of the weights of a module, with ``prefix`` before their names."""
    return {prefix + name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
