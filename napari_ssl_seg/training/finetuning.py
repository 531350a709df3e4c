"""Fine-tuning as a task of the loop: labelled patches, Dice and cross-entropy, validation on whole scans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ssl_seg.methods.losses import deep_supervision
from napari_ssl_seg.training.answers import Answer
from napari_ssl_seg.training.augment import augment
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.hardware import choose_precision, seeded
from napari_ssl_seg.training.labelled import LabelledBatch, LabelledSampler, LabelMap
from napari_ssl_seg.training.previews import write_preview
from napari_ssl_seg.training.randomness import step_seed
from napari_ssl_seg.training.sliding import segment
from napari_ssl_seg.training.task import Evaluation, Task
from napari_ssl_seg.training.transfer import take_over
from napari_ssl_seg.training.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch
    from torch import nn

    from napari_ssl_seg.methods.base import Losses
    from napari_ssl_seg.networks import NetworkSpec, SegmentationNet
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run, RunRecord
    from napari_ssl_seg.training.settings import FinetuneSettings

EVALUATIONS = 10


class FinetuneTask(Task[LabelledBatch]):
    """A segmentation network on the labelled scans of a run's record.

    Parameters
    ----------
    source
        The run whose weights are taken over; None is scratch.
    """

    network: SegmentationNet
    """What validates, predicts and is exported."""
    model: nn.Module
    """What is trained: the same, unless something is trained beside it (`training.joint`)."""

    def __init__(
        self,
        study: Study,
        run: Run,
        record: RunRecord,
        spec: NetworkSpec,
        settings: FinetuneSettings,
        source: Run | None,
    ) -> None:
        from napari_ssl_seg.networks import build_network

        self.study, self.run, self.spec, self.settings = study, run, spec, settings
        self.answer = Answer(record.classes, record.targets).check()
        self.values = list(record.classes)
        self.names = list(self.answer.named.values())
        self.train_ids, self.validation_ids = record.cases["train"], record.cases.get("validation", [])
        self.spacing = study.median_spacing()[-spec.dims :]
        self.best: float | None = None
        self.best_step = self.since_best = self.step_done = 0
        with seeded(settings.seed):
            self.network = build_network(spec, self.answer.channels)
        self.report = take_over(self.network, source)
        self.model = self.network
        self.sampler = LabelledSampler(
            study,
            self.train_ids,
            spec,
            self.values,
            slices=record.slices,
            foreground=settings.foreground,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )

    # -- training -------------------------------------------------------------------------------------------------
    def sample(self, step: int) -> LabelledBatch:
        return self.sampler.batch(step, (self.ranks.rank, self.ranks.size))

    def transform(self, batch: LabelledBatch, step: int, device: torch.device) -> LabelledBatch:
        import torch

        moved = batch.to(device)
        if not self.settings.augment:
            return moved
        generator = torch.Generator().manual_seed(step_seed(self.settings.seed + 1, self.ranks.number(step)))
        with torch.no_grad():
            image, label = augment(moved.image, moved.label, generator, spacing=self.spacing, flip=self.settings.flips)
        return LabelledBatch(image, label, batch.case_ids)

    def loss(self, batch: LabelledBatch) -> Losses:
        return deep_supervision(self.answer.loss, self.network.forward_deep(batch.image), batch.label)

    def case_ids(self, batch: LabelledBatch) -> tuple[str, ...]:
        return batch.case_ids

    def after_step(self, step: int, total: int) -> None:
        self.step_done = step + 1

    def start_events(self) -> list[Event]:
        events = [Event("weights", self.report.as_data())]
        if not self.validation_ids:
            message = "no labelled scan in the validation split: the last weights are kept, not the best"
            events.append(Event("warning", {"message": message}))
        return events

    # -- validation -----------------------------------------------------------------------------------------------
    def evaluation_due(self, step: int, total: int) -> bool:
        every = self.settings.evaluate_every or max(1, math.ceil(total / EVALUATIONS))
        return bool(self.validation_ids) and (step % every == 0 or step == total)

    def evaluate(self) -> Generator[Event, None, Evaluation | None]:
        """Dice of each class on whole validation scans: the mean over the scans in which it is defined."""
        scores = np.full((len(self.validation_ids), len(self.names)), np.nan)
        for row, case_id in enumerate(self.validation_ids):
            yield Event("progress", {"what": "validation", "done": row, "total": len(self.validation_ids)})
            reference = LabelMap(self.study, case_id, self.values, purpose="choose")
            scores[row] = self.answer.dice(self._segment(case_id), reference)
        known = ~np.isnan(scores)
        sums, counts = np.where(known, scores, 0.0).sum(axis=0), known.sum(axis=0)
        means = np.divide(sums, counts, out=np.full(len(self.names), np.nan), where=counts > 0)
        mean = float(np.nanmean(means)) if counts.any() else math.nan
        return Evaluation(mean, dict(zip(self.names, map(float, means), strict=True)))

    def take_evaluation(self, step: int, outcome: Evaluation) -> bool:
        better = math.isfinite(outcome.mean_dice) and (self.best is None or outcome.mean_dice > self.best)
        if better:
            self.best, self.best_step, self.since_best = outcome.mean_dice, step, 0
        else:
            self.since_best += 1
        return better

    def should_stop(self) -> str | None:
        if self.settings.patience and self.since_best >= self.settings.patience:
            return f"no better validation Dice for {self.since_best} validations; the best was {self.best:.3f} at step {self.best_step}"
        return None

    # -- what is left behind --------------------------------------------------------------------------------------
    def preview(self, step: int) -> Event | None:
        """The label map of one slice of a fixed scan."""
        case_id = self.settings.preview_case or (self.validation_ids or self.train_ids)[0]
        array = self.study.patches_source(case_id, purpose="show").array
        depth = array.shape[1]
        index = depth // 2 if self.settings.preview_slice < 0 else min(self.settings.preview_slice, depth - 1)
        thickness = 1 if self.spec.dims == 2 else min(depth, self.spec.patch[0])
        first = min(max(index - thickness // 2, 0), depth - thickness)
        numbers = self._run(array[:, first : first + thickness])[index - first]
        arrays = {"labels": self.answer.written.astype(np.uint16)[numbers]}
        return write_preview(self.run, arrays, step=step, case=case_id, index=index, origin=(0, 0))

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "since_best": self.since_best, "step": self.step_done}

    def load_state(self, state: dict[str, Any]) -> None:
        self.best, self.best_step, self.since_best = state["best"], state["best_step"], state["since_best"]
        self.step_done = state["step"]

    def export(self, *, best: bool) -> None:
        """Write the weights: the best ones where there is a validation, the last ones otherwise."""
        if best or self.best is None:
            save_weights(self.run, self.network.state_dict(), step=self.step_done)

    def _segment(self, case_id: str) -> np.ndarray:
        return self._run(self.study.patches_source(case_id, purpose="choose").array)

    def _run(self, array: np.ndarray) -> np.ndarray:
        device = next(self.network.parameters()).device
        precision = choose_precision(str(device), self.settings.precision)
        # A quarter of overlap is enough to tell better from worse; prediction uses the full setting.
        overlap = min(0.25, self.settings.overlap)
        return segment(
            self.network,
            array,
            self.spec,
            device=device,
            overlap=overlap,
            precision=precision,
            overlapping=self.answer.overlapping,
        )
