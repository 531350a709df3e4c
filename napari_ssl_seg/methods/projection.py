"""Heads that turn an encoder's vector into the one that is compared: projectors and predictors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.methods.labelling_net import PatchEncoder, keep_encoder

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.siamese import HeadNorm
    from napari_ssl_seg.networks.backbone import Backbone


class HeadPlan(Protocol):
    """A head that is yet to be built."""

    @property
    def out(self) -> int:
        """Length of what comes out."""

    def build(self, features: int, backbone: Backbone) -> nn.Module:
        """For vectors of ``features`` numbers, made from that backbone."""


@dataclass(frozen=True)
class Head:
    """Linear layers with ReLU between them.

    Attributes
    ----------
    hidden
        Widths of the hidden layers; 0: as wide as the encoder's coarsest map.
    out
        Length of what comes out.
    norm
        After each hidden layer. ``auto``: batch norm in 2D, as in the papers; layer norm in 3D, where a batch is too small
        to have a mean.
    last_norm
        The same after the last layer, without weights of its own (SimSiam, MoCo v3).
    """

    hidden: tuple[int, ...]
    out: int
    norm: HeadNorm = "none"
    last_norm: bool = False

    def build(self, features: int, backbone: Backbone) -> nn.Sequential:
        """For vectors of ``features`` numbers, made from that backbone."""
        kind = self.norm if self.norm != "auto" else "batch" if backbone.dims == 2 else "layer"
        layers: list[nn.Module] = []
        for width in self.hidden:
            width = width or backbone.bottleneck_features
            layers += [nn.Linear(features, width), *_norm(kind, width, affine=True), nn.ReLU()]
            features = width
        layers += [nn.Linear(features, self.out), *(_norm(kind, self.out, affine=False) if self.last_norm else ())]
        return nn.Sequential(*layers)


class VectorBatchNorm(nn.BatchNorm1d):
    """Batch norm that takes a batch of one, too: by the running mean and deviation, as there is no other."""

    def forward(self, input: Tensor) -> Tensor:
        if len(input) > 1 or not self.training:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Embedder(PatchEncoder):
    """A patch to one vector: the encoder's coarsest map, its means over space, and a head.

    What the coarsest map does not depend on is not trained, and the decoder dropped where it comes off.
    """

    def __init__(self, backbone: Backbone, head: HeadPlan) -> None:
        keep_encoder(backbone)
        super().__init__(backbone)
        self.head = head.build(self.features, backbone)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *spatial) to (B, ``head.out``), of any length, float32."""
        return self.project(self.backbone.encode(image)[-1])

    def project(self, coarsest: Tensor) -> Tensor:
        """The same from the encoder's coarsest map."""
        return self.head(self.pool([coarsest])).float()


def _norm(kind: str, width: int, *, affine: bool) -> list[nn.Module]:
    if kind == "batch":
        return [VectorBatchNorm(width, affine=affine)]
    return [nn.LayerNorm(width, elementwise_affine=affine)] if kind == "layer" else []
