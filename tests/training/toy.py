"""A task small enough for the loop to be tested by itself: noisy lines to fit, with dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_ssl_seg.methods.base import Losses
from napari_ssl_seg.training.events import Event
from napari_ssl_seg.training.runs import Run, RunRecord
from napari_ssl_seg.training.settings import FinetuneSettings, make_settings
from napari_ssl_seg.training.task import Evaluation, Task

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


class ToyTask(Task[dict[str, torch.Tensor]]):
    def __init__(self, *, evaluate_every: int = 0) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(32, 1)
        )
        self.evaluate_every = evaluate_every
        self.best = -1.0
        self.exported: list[bool] = []
        self.samples: list[int] = []
        self.fail_at: dict[int, BaseException] = {}
        self.nan_at: int | None = None
        self.on_step: Any = None

    def sample(self, step: int) -> dict[str, torch.Tensor]:
        self.samples.append(step)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 8, generator=generator)
        return {"step": torch.tensor(step), "x": x, "y": x.sum(1, keepdim=True)}

    def transform(self, batch: dict[str, torch.Tensor], step: int, device: torch.device) -> dict[str, torch.Tensor]:
        return {name: value.to(device) for name, value in batch.items()}

    def loss(self, batch: dict[str, torch.Tensor]) -> Losses:
        step = int(batch["step"])
        if self.on_step is not None:
            self.on_step(step)
        if step in self.fail_at:
            raise self.fail_at[step]
        fit = ((self.model(batch["x"]) - batch["y"]) ** 2).mean()
        if step == self.nan_at:
            fit = fit * float("nan")
        size = 1e-3 * sum(weight.square().sum() for weight in self.model.parameters())
        return Losses(fit + size, {"fit": fit, "size": size})

    def case_ids(self, batch: dict[str, torch.Tensor]) -> tuple[str, ...]:
        return (f"case_{int(batch['step'])}",)

    def evaluation_due(self, step: int, total: int) -> bool:
        return bool(self.evaluate_every) and (step % self.evaluate_every == 0 or step == total)

    def evaluate(self) -> Generator[Event, None, Evaluation | None]:
        yield Event("progress", {"what": "validation", "done": 0, "total": 1})
        return Evaluation(0.5, {"a": 0.5})

    def take_evaluation(self, step: int, outcome: Evaluation) -> bool:
        best = outcome.mean_dice > self.best
        self.best = max(self.best, outcome.mean_dice)
        return best

    def state(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state(self, state: dict[str, Any]) -> None:
        self.best = state["best"]

    def export(self, *, best: bool) -> None:
        self.exported.append(best)


def toy_run(folder: Path, **settings: Any) -> tuple[Run, FinetuneSettings]:
    made = make_settings(
        FinetuneSettings,
        {"iterations": 30, "batch_size": 16, "device": "cpu", "preview_seconds": 0, "threads": 1, **settings},
    )
    record = RunRecord(kind="finetune", network={"patch": [8]}, settings=made.model_dump())
    return Run.create(folder / "runs", record), made


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint_path("last"), weights_only=True)["model"]
