"""DINO around the siamese engine: scores of prototypes, a centre, and the teacher's temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_ssl_seg.methods.mod_losses import distillation, distribution_stats, sharpened, warmed
from napari_ssl_seg.methods.mod_net import TokenHead
from napari_ssl_seg.methods.siamese_net import SiameseNet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.dino import DINOConfig
    from napari_ssl_seg.methods.siamese_net import Design
    from napari_ssl_seg.networks.backbone import Backbone


SMALLEST_DEVIATION = 1e-4
"""Of a feature; what is constant stays near 0."""


@dataclass(frozen=True)
class PrototypeHead:
    """Three layers with GELU to a vector of length 1, and its cosines with the prototypes."""

    hidden: int
    bottleneck: int
    out: int
    """Prototypes."""

    def build(self, features: int, backbone: Backbone) -> PrototypeScores:
        """For vectors of ``features`` numbers."""
        return PrototypeScores(features, self.hidden, self.bottleneck, self.out)


class PrototypeScores(TokenHead):
    """Cosines with the prototypes, which may be held where they are for a while.

    Vectors enter less a running mean and divided by a running deviation, of the teacher's vectors, once `settle` was called.
    """

    held = False
    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__(features, hidden, bottleneck, prototypes)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self._seen: list[Tensor] = []

    def forward(self, tokens: Tensor, *, frozen: bool = False) -> Tensor:
        """(..., features) to (..., K) in [-1, 1]."""
        if self.training:
            self._seen = [*self._seen[-1:], tokens.detach().float().flatten(0, -2)]
        standard = (tokens - self.mean) / self.deviation
        return super().forward(standard, frozen=frozen or (self.held and self.training))

    @torch.no_grad()
    def settle(self, student: PrototypeScores, share: float) -> None:
        """Move mean and deviation towards those of the vectors of the last step by ``share``, and give them to the student."""
        if self._seen:
            seen = torch.cat(self._seen)
            self.mean.lerp_(seen.mean(dim=0), share)
            self.deviation.lerp_(seen.std(dim=0, correction=0).clamp(min=SMALLEST_DEVIATION), share)
        student.mean.copy_(self.mean)
        student.deviation.copy_(self.deviation)
        self._seen, student._seen = [], []


class DistillationNet(SiameseNet):
    """The key encoder is the teacher: its scores less their running mean, sharpened, are what the encoder has to say.

    The centre, ``m c + (1 - m) mean`` over the scores of both views of the step (DINO, eq. 4), keeps one prototype from taking
    all; the low temperature keeps the shares from becoming all alike.
    """

    centre: Tensor

    def __init__(self, backbone: Backbone, design: Design, config: DINOConfig) -> None:
        super().__init__(backbone, design)
        self.config = config
        self.register_buffer("centre", torch.zeros(design.projector.out))
        self._go_to(0.0)

    @property
    def teacher_temperature(self) -> float:
        config = self.config
        return warmed(config.first_temperature, config.last_temperature, config.temperature_warmup, self.progress)

    def compare(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Cross-entropy of the encoder's shares against the teacher's, of scores (B, K) each; ln K where all are even."""
        return distillation(
            keys,
            queries,
            centre=self.centre,
            teacher_temperature=self.teacher_temperature,
            student_temperature=self.design.temperature,
        ).mean()

    def told(self, keys: Tensor) -> dict[str, Tensor]:
        """``teacher_entropy``: of the teacher's shares, relative to ln K; both ends, 0 and 1, are collapses where it stays."""
        stats = distribution_stats(sharpened(keys, self.centre, self.teacher_temperature))
        return {"teacher_entropy": stats["entropy"] / math.log(keys.shape[1])}

    def after_step(self, step: int, total: int) -> None:
        """The teacher follows, and centre and standard the teacher's means."""
        if self.config.standardise:
            for student, teacher in self.heads():
                teacher.settle(student, 1.0 if self.progress == 0.0 else 1.0 - self.config.centre_momentum)
        if self._fresh is not None:
            self.centre.lerp_(self._fresh.mean(dim=0), 1.0 - self.config.centre_momentum)
        super().after_step(step, total)
        self._go_to((step + 1) / total)

    def heads(self) -> list[tuple[PrototypeScores, PrototypeScores]]:
        """The student's and the teacher's, pair by pair."""
        assert self.key_encoder is not None
        return [(self.encoder.head, self.key_encoder.head)]  # type: ignore[list-item]

    def _go_to(self, progress: float) -> None:
        self.progress = progress
        """Share of the steps that are done."""
        for part in self.modules():
            if isinstance(part, PrototypeScores):
                part.held = progress < self.config.frozen

    def get_extra_state(self) -> dict[str, Any]:
        return {"progress": self.progress}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._go_to(float(state["progress"]))
