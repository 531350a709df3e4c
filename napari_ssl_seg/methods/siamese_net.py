"""Two views of a patch through one encoder: what contrast and self-distillation of whole images have in common.

Views go through an encoder and a projector, the queries maybe through a predictor too; keys come from the same encoder or
from one that follows it slowly; negatives from the batch or from a queue. A `Design` says which, and is a method.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from napari_ssl_seg.methods.contrast import KeyQueue, batch_loss, follow, negative_cosine, nt_xent, queue_loss
from napari_ssl_seg.methods.embedding_gauge import EmbeddingGauge
from napari_ssl_seg.methods.mod_losses import ema_momentum
from napari_ssl_seg.methods.projection import Embedder

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.projection import HeadPlan
    from napari_ssl_seg.networks.backbone import Backbone

Objective = Literal["nt_xent", "info_nce", "distance", "cosine", "distillation"]


@dataclass(frozen=True)
class Design:
    """The switches of a siamese method.

    Attributes
    ----------
    title
        Of the method, for messages.
    projector
        Head of the encoder.
    objective
        ``nt_xent`` (SimCLR), ``info_nce`` against the queue or, without one, the other keys of the batch (MoCo), ``distance``
        of unit vectors, squared (BYOL), ``cosine``, negative (SimSiam), ``distillation`` of shares (`distillation_net`).
    temperature
        Of the first two, and of the shares that are predicted.
    predictor
        Second head, of the queries alone.
    momentum
        With which a second encoder follows, which then makes the keys; None: there is none.
    rising
        Whether the momentum rises to 1 along a cosine until the end of the run.
    queue
        Keys that are kept as negatives.
    stop_gradient
        Without a second encoder: whether the keys are taken as they are.
    both_ways
        Whether each view is once the query and once the key.
    weight
        Factor of each way's loss.
    """

    title: str
    projector: HeadPlan
    objective: Objective
    temperature: float = 1.0
    predictor: HeadPlan | None = None
    momentum: float | None = None
    rising: bool = False
    queue: int = 0
    stop_gradient: bool = False
    both_ways: bool = False
    weight: float = 1.0

    @property
    def needs_batch(self) -> bool:
        """Whether the negatives are the other patches of the batch."""
        return self.objective in ("nt_xent", "info_nce") and not self.queue


class SiameseNet(nn.Module):
    """A backbone's encoder with what the design puts around it.

    MoCo shuffles the batch before the key encoder, so that batch norm cannot tell which images belong together. Instance
    norm, which our networks have by default, mixes no images and needs no shuffling; with the presets that have batch norm
    the keys' batch goes through by itself, in the order of the queries, as on a single GPU there is no other way.
    """

    def __init__(self, backbone: Backbone, design: Design) -> None:
        super().__init__()
        self.design = design
        self.encoder = Embedder(backbone, design.projector)
        self.predictor: nn.Module = nn.Identity()
        if design.predictor is not None:
            self.predictor = design.predictor.build(design.projector.out, backbone)
        self.key_encoder: Embedder | None = None
        if design.momentum is not None:
            self.key_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.queue = KeyQueue(design.queue, design.projector.out) if design.queue else None
        self.gauge = EmbeddingGauge(design.projector.out, design.title)
        self._fresh: Tensor | None = None
        self._alone = False

    @property
    def backbone(self) -> Backbone:
        """Whose encoder is trained by gradients, and handed on."""
        return self.encoder.backbone

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Two views (B, C, *spatial) of the same patches.

        Returns
        -------
        dict
            ``loss``; without a gradient ``top1``, the share of the queries whose own key is the most similar of the batch,
            and ``spread`` and ``rank`` of the projections (`embedding_gauge`).
        """
        design = self.design
        ahead, behind = self.encoder(first), None
        if design.both_ways or self.key_encoder is None:
            behind = self.encoder(second)
        queries, keys = self.predictor(ahead), self._keys(second, behind)
        loss, made = self.compare(queries, keys), [keys]
        if design.both_ways:
            made.append(self._keys(first, ahead))
            loss = loss + self.compare(self.predictor(behind), made[1])
        if self.training:
            self._fresh = torch.cat(made).detach()
            self._alone = design.needs_batch and len(first) < 2
        told = {"top1": found_again(queries, keys), **self.gauge.observe(ahead), **self.told(keys)}
        return {"loss": design.weight * loss, **told}

    def told(self, keys: Tensor) -> dict[str, Tensor]:
        """Further numbers for the run's curves, from the keys of a step."""
        return {}

    def compare(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The objective of (B, D) each."""
        design = self.design
        if design.objective == "nt_xent":
            return nt_xent(queries, keys, design.temperature)
        if design.objective == "info_nce":
            queries, keys = F.normalize(queries.float(), dim=1), F.normalize(keys.float(), dim=1)
            if self.queue is None:
                return batch_loss(queries, keys, design.temperature)
            return queue_loss(queries, keys, self.queue.keys, design.temperature)
        cosine = negative_cosine(queries, keys)
        return cosine if design.objective == "cosine" else 2.0 + 2.0 * cosine

    @torch.no_grad()
    def embed(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Queries of the one and keys of the other view as they are compared, both of length 1."""
        keys = (self.key_encoder or self.encoder)(second)
        return F.normalize(self.predictor(self.encoder(first)), dim=1), F.normalize(keys, dim=1)

    def after_step(self, step: int, total: int) -> None:
        """Let the key encoder follow, and put the last keys into the queue."""
        momentum = self.design.momentum
        if self.key_encoder is not None and momentum is not None:
            follow(
                self.key_encoder, self.encoder, ema_momentum(momentum, step / total) if self.design.rising else momentum
            )
        if self.queue is not None and self._fresh is not None:
            self.queue.push(F.normalize(self._fresh, dim=1))
        self._fresh = None

    def remarks(self) -> tuple[str, ...]:
        """That it has collapsed, or has nothing to tell a patch from."""
        alone = f"a batch of one patch has nothing to tell it from, so {self.design.title} learns nothing; choose a larger batch"
        return (*((alone,) if self._alone else ()), *self.gauge.remarks())

    def _keys(self, view: Tensor, vectors: Tensor | None) -> Tensor:
        """Of a view, whose projections by the encoder are ``vectors`` where they are known."""
        if self.key_encoder is not None:
            with torch.no_grad():
                return self.key_encoder(view)
        assert vectors is not None
        return vectors.detach() if self.design.stop_gradient else vectors


@torch.no_grad()
def found_again(queries: Tensor, keys: Tensor) -> Tensor:
    """Share of the queries whose own key is the most similar one, of (B, D) each."""
    alike = F.normalize(queries.float(), dim=1) @ F.normalize(keys.float(), dim=1).T
    return (alike.argmax(dim=1) == torch.arange(len(alike), device=alike.device)).float().mean()
