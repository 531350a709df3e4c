"""What the training loop costs over a bare PyTorch loop on the same batches. Goal: at most 5 %.

Four ways to make the same steps, one after the other in each round, in one process:

- ``bare``: batches made beforehand; forward, backward, clipping, optimiser, nothing else.
- ``loop``: the loop of `napari_ssl_seg.training` on the very same batches: events, event log, heartbeat, stop and pause
  files, learning rate, seeds, finiteness, queue. The goal is about this one.
- ``bare_inline``: the bare loop that cuts and augments each batch between its steps, as a plain script would.
- ``loop_live``: our loop, whose batches are cut and augmented in its thread.

    python benchmarks/training_overhead.py [--rounds 5] [--steps 40] [--device cpu] [--out FILE.json]

A step's time is its shortest over all rounds, which other work on the machine disturbs least; the ratio is that of the
means over the steps. The CPU time of the training thread is disturbed less still. Setting up and saving at the end are not in
it: they do not grow with the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from napari_ssl_seg.networks import NetworkSpec
from napari_ssl_seg.study import Study
from napari_ssl_seg.training import drain, pick_device, prepare_finetune
from napari_ssl_seg.training.finetuning import FinetuneTask
from napari_ssl_seg.training.hardware import choose_precision, limited_threads, make_fabric, warm_up
from napari_ssl_seg.training.loop import train_task
from napari_ssl_seg.training.optimisation import make_optimizer
from napari_ssl_seg.training.planning import versions
from napari_ssl_seg.training.settings import FinetuneSettings, make_settings

SIZES = {
    "2D, 16 slices of 64x64": {"patch": (64, 64), "batch_size": 16},
    "2D, 2 slices of 32x32": {"patch": (32, 32), "batch_size": 2},
    "3D, 2 patches of 32x48x32": {"patch": (32, 48, 32), "batch_size": 2},
}
WAYS = ("bare", "loop", "bare_inline", "loop_live")
SKIPPED = 5
"""First steps, in which memory is allocated and caches fill."""


class Timed(FinetuneTask):
    """The real task; notes when each step ended, and can be given its batches."""

    given: list[Any] | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stamps: list[float] = []
        self.cpu: list[float] = []

    def sample(self, step: int) -> Any:
        return self.given[step] if self.given is not None else super().sample(step)

    def transform(self, batch: Any, step: int, device: torch.device) -> Any:
        return batch if self.given is not None else super().transform(batch, step, device)

    def after_step(self, step: int, total: int) -> None:
        super().after_step(step, total)
        self.stamp()

    def stamp(self) -> None:
        if next(self.model.parameters()).is_cuda:
            torch.cuda.synchronize()
        self.stamps.append(time.perf_counter())
        self.cpu.append(time.thread_time())

    def evaluation_due(self, step: int, total: int) -> bool:
        return False


def bare(task: Timed, settings: FinetuneSettings, device: str, *, inline: bool) -> None:
    """What one writes by hand. Fabric only casts where the loop does (bf16 on GPUs)."""
    fabric = make_fabric(device, choose_precision(device))
    model = task.model.to(device).train()
    optimizer = make_optimizer(model, settings)
    weights = list(model.parameters())
    with limited_threads(settings.threads):
        for step in range(settings.iterations):
            if inline:
                batch = FinetuneTask.transform(task, FinetuneTask.sample(task, step), step, torch.device(device))
            else:
                assert task.given is not None
                batch = task.given[step]
            with fabric.autocast():
                loss = task.loss(batch).total
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            task.stamp()


def measure(study: Study, size: dict[str, Any], rounds: int, steps: int, device: str) -> dict[str, Any]:
    """Times of the four ways, in rounds."""
    spec = NetworkSpec(dims=len(size["patch"]), patch=size["patch"])
    train = {"preview_seconds": 0, "checkpoint_seconds": 3600, "evaluate_every": 10**6}
    times: dict[str, list[list[float]]] = {}
    cpu: dict[str, list[list[float]]] = {}
    given: list[Any] = []
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            run = prepare_finetune(
                study, dims=spec.dims, iterations=steps, batch_size=size["batch_size"], device=device, train=train
            )
            settings = make_settings(FinetuneSettings, run.record.settings)
            task = Timed(study, run, run.record, spec, settings, None)
            if not given:
                given = [
                    FinetuneTask.transform(task, task.sample(step), step, torch.device(device)) for step in range(steps)
                ]
            task.given = None if way in ("bare_inline", "loop_live") else given
            if way.startswith("bare"):
                bare(task, settings, device, inline=way == "bare_inline")
            else:
                drain(train_task(run, task, settings, device=device))
            times.setdefault(way, []).append(np.diff(task.stamps)[SKIPPED:].tolist())
            cpu.setdefault(way, []).append(np.diff(task.cpu)[SKIPPED:].tolist())
    result: dict[str, Any] = {}
    for way, table in times.items():
        result[way] = {
            "ms_a_step": round(1000 * _typical(table), 3),
            "cpu_ms_a_step_of_the_training_thread": round(1000 * _typical(cpu[way]), 3),
            "ms_a_step_by_round": [round(1000 * statistics.median(row), 3) for row in table],
        }
    for way, against in (("loop", "bare"), ("loop_live", "bare"), ("loop_live", "bare_inline")):
        for what in ("ms_a_step", "cpu_ms_a_step_of_the_training_thread"):
            result[f"{way} / {against}, {what}"] = round(result[way][what] / result[against][what], 4)
    return result


def _typical(table: list[list[float]]) -> float:
    """Mean over the steps of each step's shortest time over the rounds."""
    return float(np.min(np.array(table), axis=0).mean())


def make_study(folder: Path) -> Study:
    """Eight noisy scans of 40x64x64 with a ball in each."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(8):
        shape = (64, 64, 40)
        centre = np.array(shape) / 2 + rng.uniform(-5, 5, 3)
        distance = sum((axis - middle) ** 2 for axis, middle in zip(np.indices(shape), centre, strict=True))
        label = (distance < 14**2).astype(np.uint8)
        for kind, array in (("images", label * 50 + rng.normal(0, 30, shape).astype(np.float32)), ("labels", label)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / kind / f"scan_{number}.nii.gz")
    return Study.create(folder / "study", images=folder / "images", labels=folder / "labels", split=(80, 0, 20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_overhead.json")
    options = parser.parse_args()
    device = pick_device(options.device)
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder))
        results = {}
        for name, size in SIZES.items():
            results[name] = measure(study, size, options.rounds, options.steps, device.name)
            print(name, json.dumps(results[name], indent=2), flush=True)
    report = {
        "device": f"{device.name} ({device.title})",
        "machine": platform.machine(),
        "versions": versions(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "rounds": options.rounds,
        "steps": options.steps,
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
