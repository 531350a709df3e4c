"""What MOD trains beside the network, and drops at the end: tokenizer, dense predictor, teacher."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.methods.mod_gauge import CollapseGauge
from napari_ssl_seg.methods.mod_losses import ema_momentum, follow, warmed
from napari_ssl_seg.networks.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_ssl_seg.methods.mod_config import MODConfig
    from napari_ssl_seg.networks.backbone import Backbone

SMALLEST_DEVIATION = 1e-4
"""Of a feature of the tokens; what is constant stays near 0."""


class TokenHead(nn.Module):
    """Three linear layers with GELU, length 1, and the cosine with each of K prototypes."""

    def __init__(self, features: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        widths = (features, hidden, hidden, bottleneck)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, tokens: Tensor, *, frozen: bool = False) -> Tensor:
        """(..., features) to (..., K) in [-1, 1]; ``frozen``: without moving the prototypes."""
        prototypes = self.prototypes.detach() if frozen else self.prototypes
        return F.linear(F.normalize(self.mlp(tokens), dim=-1), F.normalize(prototypes, dim=-1))


class DensePredictor(nn.Module):
    """Eq. 4: a 1x1 convolution from a token to the voxels that it stands for, put back in their places."""

    def __init__(self, features: int, unit: tuple[int, ...], channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d if len(unit) == 2 else nn.Conv3d
        self.unit, self.channels = unit, channels
        self.head = conv(features, channels * math.prod(unit), kernel_size=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, features, *grid) to (B, C, *(grid * unit))."""
        return shuffle_voxels(self.head(tokens), self.unit)


def shuffle_voxels(values: Tensor, unit: tuple[int, ...]) -> Tensor:
    """(B, C * prod(unit), *grid) to (B, C, *(grid * unit)): `torch.nn.PixelShuffle` in any number of dimensions."""
    dims, grid = len(unit), values.shape[2:]
    values = values.reshape(values.shape[0], -1, *unit, *grid)
    order = [axis for pair in range(dims) for axis in (2 + dims + pair, 2 + pair)]
    sides = [side * step for side, step in zip(grid, unit, strict=True)]
    return values.permute(0, 1, *order).reshape(values.shape[0], values.shape[1], *sides)


class Teacher(nn.Module):
    """Copies of the network, without its decoder where that comes off, and of the head: never trained, always in eval mode."""

    def __init__(self, backbone: Backbone, head: TokenHead) -> None:
        super().__init__()
        self.backbone, self.head = copy.deepcopy(backbone), copy.deepcopy(head)
        if isinstance(self.backbone, UNet):
            self.backbone.drop_decoder()
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, backbone: nn.Module, head: nn.Module, momentum: float) -> None:
        """Move towards the student; buffers (running statistics) are copied."""
        for own, other in ((self.backbone, backbone), (self.head, head)):
            weights, buffers = dict(other.named_parameters()), dict(other.named_buffers())
            named = list(own.named_parameters())
            follow([weight for _, weight in named], [weights[name] for name, _ in named], momentum)
            for name, buffer in own.named_buffers():
                buffer.copy_(buffers[name])


@dataclass(frozen=True)
class TokenOutput:
    """Of both views, mu's first: tokens (2B, features, *grid), scores (2B, N, K), scores of whole patches (2B, K)."""

    student: Tensor
    student_scores: Tensor
    student_whole: Tensor
    teacher: Tensor
    teacher_scores: Tensor
    teacher_whole: Tensor


class MODCompanion(nn.Module):
    """Everything of MOD but the network.

    Parameters
    ----------
    backbone
        The student; its weights now are the teacher's first.
    quiet
        Whether masked patches leave the student's running statistics (batch norm) alone: in joint training these come from
        the whole patches that are segmented.
    """

    token_centre: Tensor
    whole_centre: Tensor
    token_mean: Tensor
    token_deviation: Tensor

    def __init__(self, backbone: Backbone, config: MODConfig, *, quiet: bool) -> None:
        super().__init__()
        self.config, self.quiet = config, quiet
        self.head = TokenHead(backbone.token_features, config.hidden, config.bottleneck, config.prototypes)
        self.predictor = DensePredictor(backbone.token_features, tuple(backbone.token_stride), backbone.in_channels)
        self.teacher = Teacher(backbone, self.head)
        self.register_buffer("token_centre", torch.zeros(config.prototypes))
        self.register_buffer("whole_centre", torch.zeros(config.prototypes))
        self.register_buffer("token_mean", torch.zeros(backbone.token_features))
        self.register_buffer("token_deviation", torch.ones(backbone.token_features))
        self.gauge = CollapseGauge(config.prototypes)
        self.progress = 0.0
        """Share of the steps that are done."""
        self.latest: dict[str, Any] = {}
        """The last step's terms, weighted, by name: numbers, or tensors that are read when the run is saved."""
        self.remarks: list[str] = []
        self._fresh = True
        """No step was done yet: the running statistics of the tokens are still to be taken from the first."""
        self._means: tuple[Tensor, ...] | None = None
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    # -- schedules ------------------------------------------------------------------------------------------------
    @property
    def momentum(self) -> float:
        """The teacher's, at the next step."""
        return ema_momentum(self.config.momentum, self.progress)

    @property
    def token_temperature(self) -> float:
        """The teacher's, of the tokens."""
        config = self.config
        return warmed(config.first_temperature, config.last_temperature, config.temperature_warmup, self.progress)

    # -- a step ---------------------------------------------------------------------------------------------------
    def forward(self, backbone: Backbone, masked: Tensor, whole: Tensor) -> TokenOutput:
        """The student on masked views and the teacher on whole ones, (2B, C, *spatial) each."""
        frozen = self.training and self.progress < self.config.frozen
        with quiet_statistics(backbone, self.quiet):
            student = backbone.tokens(backbone.encode(masked))
        with torch.no_grad():
            followed = self.teacher.backbone
            teacher = followed.tokens(followed.encode(whole))
            if self._fresh and self.training and self.config.standardise:
                self.token_mean.copy_(_mean(teacher))
                self.token_deviation.copy_(_deviation(teacher))
            teacher_scores, teacher_whole = (self.teacher.head(part) for part in self._vectors(teacher))
        student_scores, student_whole = (self.head(part, frozen=frozen) for part in self._vectors(student))
        return TokenOutput(student, student_scores, student_whole, teacher, teacher_scores, teacher_whole)

    def _vectors(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, features, *grid) as (B, N, features) for the head, and their mean, (B, features): no token is for the whole."""
        flat = tokens.flatten(2).transpose(1, 2)
        if self.config.standardise:
            flat = (flat - self.token_mean) / self.token_deviation
        return flat, flat.mean(dim=1)

    def note(self, found: TokenOutput, entropy: Tensor, kl: Tensor, cross_entropy: Tensor) -> None:
        """Keep what `after_step` needs of a training step."""
        tokens, whole = found.teacher_scores.detach().float(), found.teacher_whole.detach().float()
        means = tokens.flatten(0, 1).mean(dim=0), whole.mean(dim=0)
        statistics = (_mean(found.teacher), _deviation(found.teacher)) if self.config.standardise else ()
        self._means = (*means, *statistics)
        self._seen = entropy, kl, cross_entropy

    @torch.no_grad()
    def after_step(self, backbone: nn.Module, step: int, total: int) -> None:
        """The teacher follows the student, the centres the teacher's means; the gauge takes the step into account."""
        self.progress = step / total
        self.teacher.follow(backbone, self.head, self.momentum)
        self.progress, self._fresh = (step + 1) / total, False
        if self._means is not None and self._seen is not None:
            followers = (self.token_centre, self.whole_centre, self.token_mean, self.token_deviation)
            for follower, found in zip(followers, self._means, strict=False):
                follower.lerp_(found, 1.0 - self.config.centre_momentum)
            remark = self.gauge.add(*self._seen)
            self.remarks += [remark] if remark else []
            self._means = self._seen = None

    # -- what a checkpoint holds besides weights ------------------------------------------------------------------
    def get_extra_state(self) -> dict[str, Any]:
        latest = {name: float(value) for name, value in self.latest.items()}
        return {"progress": self.progress, "gauge": self.gauge.state(), "latest": latest}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.progress, self.latest = float(state["progress"]), dict(state["latest"])
        self._fresh = self.progress == 0.0
        self.gauge.load_state(state["gauge"])


class MODNet(nn.Module):
    """A network with MOD beside it: what a pretraining trains."""

    def __init__(self, backbone: Backbone, companion: MODCompanion) -> None:
        super().__init__()
        self.backbone, self.companion = backbone, companion


@contextmanager
def quiet_statistics(module: nn.Module, quiet: bool) -> Iterator[None]:
    """Let batch norm normalise by the batch without remembering it."""
    norms = [part for part in module.modules() if quiet and isinstance(part, nn.modules.batchnorm._BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum


def _mean(tokens: Tensor) -> Tensor:
    """Of each feature over all tokens, (features,)."""
    return tokens.detach().float().transpose(0, 1).flatten(1).mean(dim=1)


def _deviation(tokens: Tensor) -> Tensor:
    """Likewise, at least `SMALLEST_DEVIATION`."""
    return tokens.detach().float().transpose(0, 1).flatten(1).std(dim=1, correction=0).clamp(min=SMALLEST_DEVIATION)
