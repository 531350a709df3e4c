"""What VoCo trains: an encoder with a projector, and a teacher that follows both."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_ssl_seg.methods.contrast import follow
from napari_ssl_seg.methods.embedding_gauge import EmbeddingGauge
from napari_ssl_seg.methods.labelling_net import PatchEncoder, keep_encoder
from napari_ssl_seg.methods.projection import Head
from napari_ssl_seg.methods.voco_losses import likeness

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.networks.backbone import Backbone


@dataclass(frozen=True)
class VoCoOutput:
    """The student's embeddings of the crops (B, n, D) and base crops (B, k, D), and the likeness of each to each, (B, n, k)."""

    crops: Tensor
    bases: Tensor
    alike: Tensor


class VoCoNet(nn.Module):
    """``student`` is trained; ``teacher`` is a copy of it that follows slowly.

    Means over space of all of the encoder's maps go into the projector, as in the authors' code.
    """

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        keep_encoder(backbone, every_level=True)
        encoder = PatchEncoder(backbone, every_level=True)
        self.student = nn.Sequential(
            encoder, Head(hidden=(width, width), out=width, norm="batch").build(encoder.features, backbone)
        )
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.gauge = EmbeddingGauge(width, "VoCo")

    @property
    def backbone(self) -> nn.Module:
        return self.student.get_submodule("0.backbone")

    def forward(self, crops: Tensor, bases: Tensor) -> VoCoOutput:
        """Random crops (B, n, C, *size) and base crops (B, k, C, *size).

        A crop of either is compared with a base crop as the other of student and teacher sees it; the mean of both ways.
        """
        batch, sizes = len(crops), (crops.shape[1], bases.shape[1])
        images = torch.cat((crops, bases), dim=1).flatten(0, 1)
        seen, held = self.student(images).view(batch, sum(sizes), -1).split(sizes, dim=1)
        with torch.no_grad():
            taught, taught_bases = self.teacher(images).view(batch, sum(sizes), -1).split(sizes, dim=1)
        alike = (likeness(seen, taught_bases) + likeness(taught, held)) / 2
        return VoCoOutput(seen, held, alike)

    def after_step(self, momentum: float) -> None:
        """Let the teacher follow."""
        follow(self.teacher, self.student, momentum)
