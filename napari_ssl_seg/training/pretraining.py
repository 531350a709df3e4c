"""Pretraining as a task of the loop: batches of train scans, a method's pretext, its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from napari_ssl_seg.methods.base import Prepared
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.previews import flat_views, write_preview
from napari_ssl_seg.training.task import Evaluation, Task
from napari_ssl_seg.training.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from napari_ssl_seg.methods.base import Batch, Losses, Method, Pretext
    from napari_ssl_seg.networks import NetworkSpec
    from napari_ssl_seg.study import Study
    from napari_ssl_seg.training.runs import Run
    from napari_ssl_seg.training.settings import PretrainSettings


EVALUATIONS = 10
FEWEST_STEPS = 10
"""Between scores of the pretext, where their number is left open."""
SCORED_PATCHES = {2: 32, 3: 4}
SCORED_STEP = 2**40
"""Step of the first scored batch: no run comes so far, so that the samples are none that it trains on."""


@dataclass(frozen=True)
class PretextBatch:
    """Patches, and once it is made their pretext."""

    batch: Batch
    pretext: Pretext | None = None


class PretrainTask(Task[PretextBatch]):
    """A method on a backbone.

    Parameters
    ----------
    case_ids
        Cases of the split train; the study refuses others when their voxels are asked for.
    """

    def __init__(
        self,
        study: Study,
        run: Run,
        method: Method,
        spec: NetworkSpec,
        case_ids: list[str],
        settings: PretrainSettings,
    ) -> None:
        self.study, self.run, self.method, self.spec = study, run, method.on_network(spec), spec
        self.case_ids_used, self.settings = case_ids, settings
        self.step_done = 0
        self.prepared = Prepared(self.method)

    def prepare(self) -> Generator[Event, None, None]:
        """The method's preparation of the study; what it settles is kept with the run before the model is built."""
        from napari_ssl_seg.networks import build_network
        from napari_ssl_seg.training.hardware import seeded

        self.prepared = yield from self.method.prepare(self.study, self.case_ids_used)
        self.method = self.prepared.method
        config = self.method.config.model_dump(mode="json")
        if config != self.run.config or dict(self.prepared.facts) != self.run.facts:
            self.run.note_prepared(config, dict(self.prepared.facts))
        with seeded(self.settings.seed):
            self.model = self.method.build(build_network(self.spec))

    def start_events(self) -> list[Event]:
        """What the preparation found odd."""
        return [Event("warning", {"message": text}, self.run.id) for text in self.prepared.warnings]

    def sample(self, step: int) -> PretextBatch:
        return PretextBatch(self._drawn(step, self.settings.batch_size, (self.ranks.rank, self.ranks.size)))

    def _drawn(self, step: int, size: int, share: tuple[int, int] = (0, 1)) -> Batch:
        from napari_ssl_seg.pretext import sample_batch

        return sample_batch(
            self.study,
            self.case_ids_used,
            self.method.sampled(self.spec),
            self.method.needs,
            size,
            self.settings.seed,
            step,
            purpose="train",
            prepared=self.prepared,
            share=share,
        )

    def transform(self, batch: PretextBatch, step: int, device: torch.device) -> PretextBatch:
        import torch

        from napari_ssl_seg.pretext import generator_for

        patches = batch.batch.to(device)
        with torch.no_grad():
            generator = generator_for(self.settings.seed, self.ranks.number(step))
            return PretextBatch(patches, self.method.pretext(patches, generator))

    def loss(self, batch: PretextBatch) -> Losses:
        assert batch.pretext is not None
        return self.method.loss(self.model, batch.pretext)

    def case_ids(self, batch: PretextBatch) -> tuple[str, ...]:
        return (*batch.batch.case_ids, *batch.batch.partner_ids)

    def after_step(self, step: int, total: int) -> None:
        self.method.after_step(self.model, step, total)
        self.step_done = step + 1

    def remarks(self) -> tuple[str, ...]:
        return self.method.remarks(self.model)

    def evaluation_due(self, step: int, total: int) -> bool:
        every = self.settings.evaluate_every or max(FEWEST_STEPS, math.ceil(total / EVALUATIONS))
        return self.method.validated and every > 0 and (step % every == 0 or step == total)

    def evaluate(self) -> Generator[Event, None, Evaluation | None]:
        """The pretext's own Dice on a few samples of the train scans, the same throughout the run."""
        yield Event("progress", {"what": "scoring the pretext", "done": 0, "total": 1})
        device = next(self.model.parameters()).device
        pretexts = (
            self.transform(PretextBatch(batch), SCORED_STEP + number, device).pretext
            for number, batch in enumerate(self._scored)
        )
        scores = self.method.validate(self.model, (pretext for pretext in pretexts if pretext is not None))
        known = [score for score in scores.values() if math.isfinite(score)]
        return Evaluation(math.fsum(known) / len(known) if known else math.nan, scores, what="pretext")

    @cached_property
    def _scored(self) -> list[Batch]:
        patches = SCORED_PATCHES[self.spec.dims]
        size = min(self.settings.batch_size, patches)
        return [self._drawn(SCORED_STEP + number, size) for number in range(math.ceil(patches / size))]

    def preview(self, step: int) -> Event | None:
        """What the model makes of one fixed sample: the pretext's views, then the output's."""
        import torch

        batch = self._shown
        device = next(self.model.parameters()).device
        moved = replace(batch, batch=batch.batch.to(device))
        with torch.no_grad():
            pretext = self.method.pretext(moved.batch, self._generator())
            arrays, views = flat_views((*pretext.views, *self.method.output_views(self.model, pretext)))
        z, y, x = batch.batch.origins[0]
        index = z if self.spec.dims == 2 else z + batch.batch.image.shape[2] // 2
        return write_preview(
            self.run, arrays, step=step, case=batch.batch.case_ids[0], index=index, origin=(y, x), views=views
        )

    @cached_property
    def _shown(self) -> PretextBatch:
        from napari_ssl_seg.pretext import batch_at

        return PretextBatch(
            batch_at(
                self.study,
                self.case_ids_used[0],
                self.method.sampled(self.spec),
                self.method.needs,
                seed=self.settings.seed,
                case_ids=self.case_ids_used,
                purpose="train",
                prepared=self.prepared,
            )
        )

    def _generator(self) -> torch.Generator:
        from napari_ssl_seg.pretext import generator_for

        return generator_for(self.settings.seed, 0)

    def load_state(self, state: dict[str, int]) -> None:
        self.step_done = state["step"]

    def state(self) -> dict[str, int]:
        return {"step": self.step_done}

    def export(self, *, best: bool) -> None:
        save_weights(self.run, self.method.transfer(self.model), step=self.step_done)
