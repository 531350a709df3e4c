"""What Alice trains: an encoder on masked crops, a light decoder, a head, the alignment module; and what follows them.

Of the paper's notation: V are the encoder's tokens of the visible patches, H = phi(decoder's tokens), Y = psi(tokens of the
target encoder). Encoder and decoder differ in width, so psi cannot be a copy of phi, and the paper does not say what it is.
Here it is the decoder's first linear layer followed by phi, both as they follow: all of the target side is a moving average.

The paper compares by "the cosine loss of BYOL and SimSiam" and shows no predictor, which both have. Measured on hippocampus
scans (unetr small, slices, batches of 8, 40 steps at a rate of 0.0005): without one the tokens' spread is 0.06 and falls, and
what they find in the alignment module is the same everywhere (0.003); with one 0.53 and 0.21. At the general rate of 0.005 it
collapses without one within 20 steps. So there is a predictor unless it is turned off.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.methods.alice_encoders import TokenEncoder, encoder_of
from napari_ssl_seg.methods.contrast import follow
from napari_ssl_seg.methods.embedding_gauge import EmbeddingGauge
from napari_ssl_seg.methods.mae_net import LightDecoder
from napari_ssl_seg.methods.projection import VectorBatchNorm

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.alice_config import AliceConfig
    from napari_ssl_seg.networks.backbone import Backbone


JUDGED_PAIRS = 50
"""Of the beginning, by which it is judged whether scans can be matched."""


class TokenHead(nn.Module):
    """phi: three linear layers with GELU, the last a bottleneck, and length 1, as DINO's head without its prototypes."""

    def __init__(self, width: int, hidden: int, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, features)
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to unit vectors (..., features), in float32."""
        return F.normalize(self.mlp(self.norm(tokens)).float(), dim=-1)


class Alignment(nn.Module):
    """The conditional anatomical semantic alignment module: each visible token asks all tokens what belongs to it.

    ``q = LN(V) W_q``, ``k = LN(H) W_k``, ``v = LN(H) W_v``, ``S = zeta(softmax(q k^T / sqrt C) v)``. Of zeta the paper says
    no more than its name; here it is a linear layer.
    """

    def __init__(self, tokens: int, features: int) -> None:
        super().__init__()
        self.norm_visible, self.norm_all = nn.LayerNorm(tokens), nn.LayerNorm(features)
        self.queries = nn.Linear(tokens, features, bias=False)
        self.keys = nn.Linear(features, features, bias=False)
        self.values = nn.Linear(features, features, bias=False)
        self.zeta = nn.Linear(features, features)

    def forward(self, visible: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n, features of the encoder) and (B, N, features) to S (B, n, features) and the attention (B, n, N)."""
        normal = self.norm_all(tokens)
        found, attention = attend(self.queries(self.norm_visible(visible)), self.keys(normal), self.values(normal))
        return self.zeta(found), attention


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """``A v`` and ``A = softmax(q k^T / sqrt C)`` of (B, n, C), (B, N, C) and (B, N, D)."""
    attention = (queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])).softmax(dim=-1)
    return attention @ values, attention


class Target(nn.Module):
    """The target encoder and psi: copies that follow and are never trained; always in eval mode."""

    def __init__(self, encoder: TokenEncoder, embed: nn.Linear, head: TokenHead) -> None:
        super().__init__()
        self.encoder, self.embed, self.head = copy.deepcopy(encoder), copy.deepcopy(embed), copy.deepcopy(head)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Target:
        """Stays in eval mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Y of whole crops: (B, C, *spatial) to (B, N, features)."""
        return self.head(self.embed(self.encoder(image)))

    def follow(self, encoder: TokenEncoder, embed: nn.Linear, head: TokenHead, momentum: float) -> None:
        """Each weight becomes ``momentum`` times itself plus the rest of the online one's."""
        for own, other in ((self.encoder, encoder), (self.embed, embed), (self.head, head)):
            follow(own, other, momentum)


@dataclass(frozen=True)
class AliceOutput:
    """Of the first crops and then of their partners, 2B in all."""

    restored: Tensor
    """(2B, N, voxels), for `mae_net.fold_patches`."""
    visible: Tensor
    """V, (2B, n, features of the encoder)."""
    student: Tensor | None = None
    """H, (2B, N, features); None where neither term needs it."""
    target: Tensor | None = None
    """Y, likewise, without a gradient."""


class AliceNet(nn.Module):
    """The part of a network that makes tokens, and all that Alice trains beside it.

    Parameters
    ----------
    grid
        Tokens of a crop along each axis.
    """

    def __init__(self, backbone: Backbone, grid: tuple[int, ...], config: AliceConfig) -> None:
        super().__init__()
        self.encoder = encoder_of(backbone)
        self.decoder = LightDecoder(
            backbone.token_features,
            grid,
            math.prod(backbone.token_stride) * backbone.in_channels,
            config.decoder_width,
            config.decoder_layers,
            masked=self.encoder.drops,
        )
        self.alignment: Alignment | None = None
        self.head: TokenHead | None = None
        self.target: Target | None = None
        self.gauge: EmbeddingGauge | None = None
        if config.volume_weight or config.alignment_weight:
            self.head = TokenHead(config.decoder_width, config.hidden, config.features)
            self.target = Target(self.encoder, self.decoder.embed, self.head)
            self.gauge = EmbeddingGauge(config.features, "Alice")
        if config.alignment_weight:
            self.alignment = Alignment(backbone.token_features, config.features)
        self.volume_predictor = _predictor(config, bool(config.volume_weight))
        self.alignment_predictor = _predictor(config, bool(config.alignment_weight))

        self.pairs = (0, 0)
        """Matched and unmatched ones among the first."""

    def count_pairs(self, matched: int, unmatched: int) -> None:
        """Take note of a training step's pairs, until there were `JUDGED_PAIRS`."""
        if self.training and sum(self.pairs) < JUDGED_PAIRS:
            self.pairs = self.pairs[0] + matched, self.pairs[1] + unmatched

    def get_extra_state(self) -> dict[str, Any]:
        return {"pairs": list(self.pairs)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        matched, unmatched = state["pairs"]
        self.pairs = int(matched), int(unmatched)

    def pairs_remark(self) -> str | None:
        """A sentence where most of the first pairs found no match."""
        matched, unmatched = self.pairs
        if matched + unmatched < JUDGED_PAIRS or unmatched <= matched:
            return None
        return (
            f"{unmatched} of the first {matched + unmatched} pairs of crops found no match that was accepted; the second crop"
            " is then the matcher's best guess, so the scans may not show the same part of the body"
        )

    def forward(self, crops: Tensor, visible: Tensor, whole: Tensor | None) -> AliceOutput:
        """Both crops of each pair at once.

        Parameters
        ----------
        crops
            (2B, C, *spatial), of which the patches ``visible``, int64 (2B, n), alone are seen.
        whole
            The target encoder's views, (2B, C, *spatial).
        """
        seen, decoded = self.encoder.masked(crops, visible)
        tokens = self.decoder.decode(decoded, visible if self.encoder.drops else None)
        restored = self.decoder.predict(tokens)
        if self.head is None or self.target is None or whole is None:
            return AliceOutput(restored, seen)
        return AliceOutput(restored, seen, self.head(tokens), self.target(whole))

    def summaries(self, found: AliceOutput) -> tuple[Tensor, Tensor]:
        """The mean token of each crop, the student's as predicted and the target's, (2B, features) each."""
        assert found.student is not None and found.target is not None
        return self.volume_predictor(found.student.mean(dim=1)), found.target.mean(dim=1)

    def aligned(self, found: AliceOutput) -> tuple[Tensor, Tensor]:
        """S and T of both crops, (2B, n, features) each: what the visible tokens find among the student's tokens, as predicted,
        and among the target's. T has no gradient."""
        assert self.alignment is not None and found.student is not None and found.target is not None
        said, _ = self.alignment(found.visible, found.student)
        with torch.no_grad():
            wanted, _ = self.alignment(found.visible, found.target)
        return self.alignment_predictor(said), wanted

    def follow(self, momentum: float) -> None:
        """Let the target side follow."""
        if self.target is not None and self.head is not None:
            self.target.follow(self.encoder, self.decoder.embed, self.head, momentum)


class Predictor(nn.Module):
    """Linear, batch norm, GELU, linear, on the vectors of all crops at once (BYOL, section 3.1)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.widen, self.norm = nn.Linear(features, hidden), VectorBatchNorm(hidden)
        self.narrow = nn.Linear(hidden, features)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., features) to the same shape."""
        wide = self.norm(self.widen(vectors).flatten(0, -2))
        return self.narrow(F.gelu(wide)).view(vectors.shape)


def _predictor(config: AliceConfig, wanted: bool) -> nn.Module:
    return Predictor(config.features, 2 * config.features) if config.predictor and wanted else nn.Identity()
