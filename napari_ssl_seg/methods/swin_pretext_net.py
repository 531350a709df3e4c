"""What the pretext of Swin UNETR trains: an encoder with three heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_ssl_seg.methods.embedding_gauge import EmbeddingGauge
from napari_ssl_seg.methods.labelling_net import PatchEncoder, keep_encoder
from napari_ssl_seg.methods.mod_net import DensePredictor
from napari_ssl_seg.pretext.turning import QUARTERS

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.backbone import Backbone


@dataclass(frozen=True)
class SwinPretextOutput:
    """Of two views (B, C, *spatial): what each restores, (B, C, *spatial); its turn, (B, 4); its embedding, (B, D)."""

    restored: tuple[Tensor, Tensor]
    turns: tuple[Tensor, Tensor]
    embeddings: tuple[Tensor, Tensor]


class SwinPretextNet(nn.Module):
    """An image restored from the coarsest map, and from its means a turn and an embedding, by one linear layer each.

    Parameters
    ----------
    features
        Length of the embeddings.
    whole
        Whether the network's own decoder restores the image; else it is one transposed convolution on the coarsest map,
        whose stride is the encoder's, and the decoder is not trained.
    """

    def __init__(self, backbone: Backbone, features: int, *, whole: bool) -> None:
        super().__init__()
        self.restore: nn.Module
        if whole:
            conv = nn.Conv2d if backbone.dims == 2 else nn.Conv3d
            self.restore = conv(backbone.out_features, backbone.in_channels, kernel_size=1)
        else:
            keep_encoder(backbone)
            self.restore = DensePredictor(backbone.bottleneck_features, tuple(backbone.stride), backbone.in_channels)
        self.whole = whole
        self.encoder = PatchEncoder(backbone)
        self.turn = nn.Linear(self.encoder.features, QUARTERS)
        self.embed = nn.Linear(self.encoder.features, features)
        self.gauge = EmbeddingGauge(features, "The contrast of Swin UNETR's pretext")

    @property
    def backbone(self) -> Backbone:
        return self.encoder.backbone

    def forward(self, first: Tensor, second: Tensor) -> SwinPretextOutput:
        """Both views at once."""
        maps = self.backbone.encode(torch.cat((first, second)))
        vectors = self.encoder.pool(maps)
        restored = self.restore(self.backbone.decode(maps) if self.whole else maps[-1])
        return SwinPretextOutput(
            *(
                (one, other)
                for one, other in (found.chunk(2) for found in (restored, self.turn(vectors), self.embed(vectors)))
            )
        )
