"""Fine-tuning with a method's own loss beside the supervised one, at each step, on the same patches.

What the method trains besides the network (a teacher, heads) is in the checkpoints, so that a stopped run goes on bit for
bit, and in nothing else: weights for use are those of a plain fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_ssl_seg.methods.base import Batch, Losses
from napari_ssl_seg.methods.losses import deep_supervision
from napari_ssl_seg.training.finetuning import FinetuneTask
from napari_ssl_seg.training.hardware import seeded
from napari_ssl_seg.training.labelled import LabelledBatch
from napari_ssl_seg.training.segmentation_loss import focal_dice

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ssl_seg.methods.base import Method, Pretext
    from napari_ssl_seg.networks import Backbone, NetworkSpec, SegmentationNet
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.answers import Answer
    from napari_ssl_seg.training.runs import Run, RunRecord
    from napari_ssl_seg.training.settings import FinetuneSettings


class JointNet(nn.Module):
    """A segmentation network, and what its method trains beside it; ``backbone`` is the network's."""

    def __init__(self, network: SegmentationNet, companion: nn.Module, *, overlapping: bool = False) -> None:
        super().__init__()
        self.network, self.companion, self.overlapping = network, companion, overlapping

    @property
    def backbone(self) -> Backbone:
        """The student, for the method."""
        return self.network.backbone

    def segment(self, image: Tensor) -> Tensor:
        """Class numbers (B, *spatial); of targets that overlap the last that a voxel belongs to, from 1 on."""
        logits = self.network(image)
        if not self.overlapping:
            return logits.argmax(dim=1)
        numbers = torch.arange(1, logits.shape[1] + 1, device=logits.device).view(-1, *(1,) * (logits.ndim - 2))
        return ((logits > 0) * numbers).amax(dim=1)


def build_joint(method: Method, spec: NetworkSpec, answer: Answer) -> JointNet:
    """The model of a joint fine-tuning with random weights, as its checkpoints hold it."""
    from napari_ssl_seg.networks import build_network

    return join(method, build_network(spec, answer.channels), answer)


def join(method: Method, network: SegmentationNet, answer: Answer) -> JointNet:
    """Put beside a network what the method trains with it."""
    companion = method.companion(network.backbone)  # type: ignore[attr-defined]
    return JointNet(network, companion, overlapping=answer.overlapping)


@dataclass(frozen=True)
class JointBatch(LabelledBatch):
    """Labelled patches, patches without labels, and the method's sample of both, the labelled first."""

    unlabelled: Batch | None = None
    pretext: Pretext | None = None


class JointTask(FinetuneTask):
    """A fine-tuning with ``mod_weight`` times its method's loss added.

    The supervised loss looks at the target ``mu`` of the method's sample: the augmented patch that a plain fine-tuning
    would see, with the method's first change of intensities. With a weight of 0 nothing of the method is run, and the
    outcome is that of a plain fine-tuning, bit for bit.
    """

    model: JointNet

    def __init__(
        self,
        study: Study,
        run: Run,
        record: RunRecord,
        spec: NetworkSpec,
        settings: FinetuneSettings,
        source: Run | None,
    ) -> None:
        from napari_ssl_seg.methods import get_method

        super().__init__(study, run, record, spec, settings, source)
        assert record.joint is not None
        self.method = get_method(record.joint, run.config).on_network(spec)
        self.weight = float(self.method.config.mod_weight)
        self.unlabelled_ids = record.cases.get("unlabelled", [])
        with seeded(settings.seed):
            self.model = join(self.method, self.network, self.answer)

    def sample(self, step: int) -> JointBatch:
        from napari_ssl_seg.pretext import sample_batch

        labelled = super().sample(step)
        others = None
        if self.unlabelled_ids and self.weight:
            size, seed = self.settings.batch_size, self.settings.seed
            others = sample_batch(
                self.study,
                self.unlabelled_ids,
                self.spec,
                self.method.needs,
                size,
                seed,
                step,
                share=(self.ranks.rank, self.ranks.size),
            )
        return JointBatch(labelled.image, labelled.label, labelled.case_ids, others)

    def transform(self, batch: LabelledBatch, step: int, device: torch.device) -> JointBatch:
        from napari_ssl_seg.pretext import generator_for

        made = super().transform(batch, step, device)
        if not self.weight:
            return JointBatch(made.image, made.label, made.case_ids)
        others = batch.unlabelled.to(device) if isinstance(batch, JointBatch) and batch.unlabelled is not None else None
        image, names = made.image, made.case_ids
        if others is not None:
            image, names = torch.cat((image, others.image)), (*names, *others.case_ids)
        patches = Batch(image=image, case_ids=names, origins=((0, 0, 0),) * len(names))
        with torch.no_grad():
            pretext = self.method.pretext(patches, generator_for(self.settings.seed, self.ranks.number(step)))
        return JointBatch(made.image, made.label, made.case_ids, others, pretext)

    def loss(self, batch: LabelledBatch) -> Losses:
        """The supervised parts and their sum ``seg``, then the method's own parts, not weighted."""
        pretext = batch.pretext if isinstance(batch, JointBatch) else None
        image = batch.image if pretext is None else pretext.targets["mu"][: len(batch.image)]
        supervised = self.answer.loss if self.method.config.supervised == "dice_ce" else self._focal_dice
        segmented = deep_supervision(supervised, self.network.forward_deep(image), batch.label)
        if pretext is None:
            return Losses(segmented.total, {**segmented.parts, "seg": segmented.total})
        beside = self.method.loss(self.model, pretext)
        latest: dict[str, Any] = self.model.companion.latest  # type: ignore[assignment]
        weighted = {name: self.weight * value for name, value in latest.items()}
        self.model.companion.latest = {"seg": segmented.total.detach(), **weighted}  # type: ignore[assignment]
        return Losses(
            segmented.total + self.weight * beside.total,
            {**segmented.parts, "seg": segmented.total, **beside.parts},
        )

    def _focal_dice(self, logits: Tensor, target: Tensor) -> Losses:
        if not self.answer.overlapping:
            return focal_dice(logits, target)
        return focal_dice(logits, target, torch.from_numpy(self.answer.membership).to(logits.device))

    def case_ids(self, batch: LabelledBatch) -> tuple[str, ...]:
        others = batch.unlabelled.case_ids if isinstance(batch, JointBatch) and batch.unlabelled is not None else ()
        return (*super().case_ids(batch), *others)

    def after_step(self, step: int, total: int) -> None:
        super().after_step(step, total)
        if self.weight:
            self.method.after_step(self.model, step, total)

    def remarks(self) -> tuple[str, ...]:
        return self.method.remarks(self.model)
