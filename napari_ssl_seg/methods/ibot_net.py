"""iBOT around DINO's net: a second head and centre, for tokens."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

from napari_ssl_seg.methods.base import View
from napari_ssl_seg.methods.contrast import follow
from napari_ssl_seg.methods.dense_net import flat
from napari_ssl_seg.methods.distillation_net import DistillationNet, PrototypeScores
from napari_ssl_seg.methods.ibot import spread_tokens
from napari_ssl_seg.methods.mod_losses import distillation, ema_momentum, mean_of_hidden
from napari_ssl_seg.methods.mod_views import principal_maps
from napari_ssl_seg.methods.siamese_net import found_again

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.base import Pretext
    from napari_ssl_seg.methods.ibot import IBOTConfig
    from napari_ssl_seg.methods.siamese_net import Design
    from napari_ssl_seg.networks.backbone import Backbone


class IBOTNet(DistillationNet):
    """The student sees masked views and the teacher whole ones; tokens are those of the encoder's coarsest map."""

    token_centre: Tensor

    def __init__(self, backbone: Backbone, design: Design, config: IBOTConfig) -> None:
        super().__init__(backbone, design, config)
        self.token_head = PrototypeScores(
            backbone.bottleneck_features, config.hidden, config.projection, config.prototypes
        )
        self.key_token_head = copy.deepcopy(self.token_head).requires_grad_(False)
        self.register_buffer("token_centre", torch.zeros(config.prototypes))
        self._fresh_tokens: Tensor | None = None
        self._go_to(0.0)

    def compare_views(self, masked: Tensor, whole: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Losses of both views, first ones before second ones.

        Parameters
        ----------
        masked, whole
            (2B, C, *spatial).
        hidden
            Bool (2B, *grid).

        Returns
        -------
        dict
            ``cls`` and ``tokens``, the means over both views; without a gradient what `SiameseNet.forward` tells.
        """
        assert self.key_encoder is not None
        seen = self.encoder.backbone.encode(masked)[-1]
        queries, tokens = self.encoder.project(seen), self.score_tokens(seen)
        with torch.no_grad():
            other = self.key_encoder.backbone.encode(whole)[-1]
            keys, wanted = self.key_encoder.project(other), self.key_token_head(flat(other)).float()
        half = len(masked) // 2
        across = self.compare(queries[:half], keys[half:]) + self.compare(queries[half:], keys[:half])
        if self.training:
            self._fresh, self._fresh_tokens = keys, wanted
        return {
            "cls": self.design.weight * across,
            "tokens": mean_of_hidden(self.token_errors(tokens, wanted), hidden.flatten(1)),
            "top1": found_again(queries[:half], keys[half:]),
            **self.gauge.observe(queries[:half]),
            **self.told(keys),
        }

    def score_tokens(self, map_: Tensor) -> Tensor:
        """(B, features, *grid) to (B, N, K)."""
        return self.token_head(flat(map_)).float()

    def token_errors(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Cross-entropy of each token, (B, N), of scores (B, N, K)."""
        return distillation(
            teacher,
            student,
            centre=self.token_centre,
            teacher_temperature=self.teacher_temperature,
            student_temperature=self.design.temperature,
        )

    def heads(self) -> list[tuple[PrototypeScores, PrototypeScores]]:
        """Of whole patches, and of tokens."""
        return [*super().heads(), (self.token_head, self.key_token_head)]

    def after_step(self, step: int, total: int) -> None:
        """Both heads of the teacher follow, and both centres its means."""
        assert self.design.momentum is not None
        if self._fresh_tokens is not None:
            mean = self._fresh_tokens.flatten(0, 1).mean(dim=0)
            self.token_centre.lerp_(mean, 1.0 - self.config.centre_momentum)
        self._fresh_tokens = None
        follow(self.key_token_head, self.token_head, ema_momentum(self.design.momentum, step / total))
        super().after_step(step, total)


@torch.no_grad()
def token_views(net: IBOTNet, pretext: Pretext, unit: tuple[int, ...]) -> tuple[View, ...]:
    """Tokens of the first view: the student's of the masked one, the teacher's of the whole one, and how they differ."""
    assert net.key_encoder is not None
    hidden, shape = pretext.targets["hidden_first"], tuple(pretext.inputs.shape[2:])
    seen = net.encoder.backbone.encode(pretext.inputs)[-1].float()
    other = net.key_encoder.backbone.encode(pretext.targets["first"])[-1].float()
    errors = net.token_errors(net.score_tokens(seen), net.key_token_head(flat(other)).float())
    errors = torch.where(hidden, errors.view(hidden.shape), torch.zeros_like(errors.view(hidden.shape))).unsqueeze(1)
    student, teacher = principal_maps(seen, other)
    most = math.log(net.config.prototypes)

    def shown(name: str, title: str, values: Tensor, top: float) -> View:
        return View(name, title, "image", spread_tokens(values, unit, shape), (0.0, top))

    return (
        shown("student", "Student's tokens of the masked first view (first component)", student, 1.0),
        shown("teacher", "Teacher's tokens of the first view (first component)", teacher, 1.0),
        shown("token_error", "Cross-entropy of hidden tokens", errors, most),
    )
