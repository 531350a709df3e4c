"""What our networks cost over the same MONAI modules in a bare PyTorch loop. Goal: at most 5 % a step.

Three ways to make the same steps on the same batches, one after the other in each round, in one process:

- ``stock``: MONAI's own module with its own head; forward, loss, backward, clipping, optimiser, nothing else. MONAI has no
  PCT-Net: there it is the convolutions and MONAI's Swin layers of ours, called one after the other by a plain function.
- ``bare``: our network in that same bare loop.
- ``loop``: our network in our training loop, with its events, log, stop files and checks. The goal is about this one.

    python benchmarks/network_overhead.py [--rounds 5] [--steps 15] [--device cpu] [--preset small] [--networks ...]

A step's time is its shortest over all rounds, which other work on the machine disturbs least; the ratio is that of the
means over the steps. The CPU time of the training thread is disturbed less still.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from common import keep
from monai.networks.nets import UNETR, DynUNet, SwinUNETR
from training_overhead import SKIPPED, Timed, make_study

from napari_ssl_seg.methods.losses import deep_supervision
from napari_ssl_seg.networks import NetworkSpec, plan_spec
from napari_ssl_seg.networks.families import FAMILIES
from napari_ssl_seg.training import drain, pick_device, prepare_finetune
from napari_ssl_seg.training.finetuning import FinetuneTask
from napari_ssl_seg.training.hardware import choose_precision, limited_threads, make_fabric, warm_up
from napari_ssl_seg.training.loop import train_task
from napari_ssl_seg.training.optimisation import make_optimizer
from napari_ssl_seg.training.segmentation_loss import dice_ce
from napari_ssl_seg.training.settings import FinetuneSettings, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from napari_ssl_seg.networks import SegmentationNet
    from napari_ssl_seg.study import Study

CLASSES = 2
WAYS = ("stock", "bare", "loop")
SHAPES = {"small": ((36, 50, 36), 2), "large": ((96, 96, 96), 2)}
"""Of the scans that the network is planned for, and patches a step."""


def stock_module(spec: NetworkSpec) -> nn.Module:
    """MONAI's module as its users build it."""
    layout = FAMILIES[spec.name].layout(spec)
    common: dict[str, Any] = {"in_channels": 1, "out_channels": CLASSES, "spatial_dims": 3}
    if spec.name == "unetr":
        return UNETR(
            img_size=spec.patch,
            feature_size=layout.feature_size,
            hidden_size=layout.hidden_size,
            mlp_dim=layout.mlp_dim,
            num_heads=layout.heads,
            **common,
        )
    if spec.name == "swin_unetr":
        return SwinUNETR(
            depths=layout.depths,
            num_heads=layout.heads,
            window_size=layout.window,
            feature_size=layout.feature_size,
            **common,
        )
    return DynUNet(
        kernel_size=layout.all_kernels(3),
        strides=((1, 1, 1), *layout.all_strides(3)),
        upsample_kernel_size=layout.all_strides(3),
        filters=layout.channels,
        **common,
    )


def plain_pctnet(net: SegmentationNet, x: Tensor) -> list[Tensor]:
    """PCT-Net written down as one function."""
    b: Any = net.backbone

    def parallel(block: Any, x: Tensor) -> Tensor:
        attended = block.norm(block.attention(block.dropout(x)).permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        return block.convolution(x) + attended

    def down(level: Any, x: Tensor) -> Tensor:
        return level.convolution(torch.nn.functional.max_pool3d(x, level.pool))

    def up(level: Any, skip: Tensor, x: Tensor) -> Tensor:
        return level.convolution(torch.cat((skip, level.enlarge(x)), 1))

    e0 = b.encoder[0](b.project(x))
    e1 = b.encoder[1](down(b.down[0], e0))
    e2 = parallel(b.encoder[2], down(b.down[1], e1))
    e3 = parallel(b.encoder[3], down(b.down[2], e2))
    e4 = parallel(b.encoder[4], down(b.down[3], e3))
    d3 = parallel(b.decoder[3], up(b.up[3], e3, e4))
    d2 = parallel(b.decoder[2], up(b.up[2], e2, d3))
    d1 = b.decoder[1](up(b.up[1], e1, d2))
    d0 = b.decoder[0](up(b.up[0], e0, d1))
    heads = (net.head, *net.deep_heads)
    return [head(finish(level)) for head, finish, level in zip(heads, b.finish, (d0, d1, d2, d3), strict=True)]


def stock(task: Timed, spec: NetworkSpec) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """A module and its loss on a batch, for the bare loop."""
    if spec.name == "pctnet":
        net = task.model
        return net, lambda batch: deep_supervision(dice_ce, plain_pctnet(net, batch.image), batch.label).total
    module = stock_module(spec)
    return module, lambda batch: dice_ce(module(batch.image), batch.label).total


def bare(
    task: Timed, settings: FinetuneSettings, device: str, module: nn.Module, loss_of: Callable[[Any], Tensor]
) -> None:
    """What one writes by hand. Fabric only casts where the loop does (bf16 on GPUs)."""
    fabric = make_fabric(device, choose_precision(device))
    module = module.to(device).train()
    optimizer = make_optimizer(module, settings)
    weights = list(module.parameters())
    assert task.given is not None
    with limited_threads(settings.threads):
        for batch in task.given:
            with fabric.autocast():
                loss = loss_of(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            task.stamp()


def measure(study: Study, name: str, preset: str, rounds: int, steps: int, device: str) -> dict[str, Any]:
    """Times of the three ways, in rounds."""
    shape, batch_size = SHAPES["small" if preset == "small" else "large"]
    spec = plan_spec(3, 1, shape, (1.0, 1.0, 1.0), name=name, preset=preset)
    if name == "dynunet":  # MONAI's has no deep heads by default
        spec = spec.model_copy(update={"options": {**spec.options, "deep": 1}})
    train = {"preview_seconds": 0, "checkpoint_seconds": 3600, "evaluate_every": 10**6}
    times: dict[str, list[list[float]]] = {}
    cpu: dict[str, list[list[float]]] = {}
    given: list[Any] = []
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            run = prepare_finetune(study, dims=3, iterations=steps, batch_size=batch_size, device=device, train=train)
            settings = make_settings(FinetuneSettings, run.record.settings)
            task = Timed(study, run, run.record, spec, settings, None)
            if not given:
                given = [
                    FinetuneTask.transform(task, task.sample(step), step, torch.device(device)) for step in range(steps)
                ]
            task.given = given
            if way == "loop":
                drain(train_task(run, task, settings, device=device))
            elif way == "bare":
                bare(task, settings, device, task.model, lambda batch, task=task: task.loss(batch).total)
            else:
                bare(task, settings, device, *stock(task, spec))
            times.setdefault(way, []).append(np.diff(task.stamps)[SKIPPED:].tolist())
            cpu.setdefault(way, []).append(np.diff(task.cpu)[SKIPPED:].tolist())
    print({way: [len(r) for r in t] for way, t in times.items()})
    result: dict[str, Any] = {"patch": spec.patch, "batch_size": batch_size}
    for way, table in times.items():
        result[way] = {
            "ms_a_step": round(1000 * _typical(table), 2),
            "cpu_ms_a_step_of_the_training_thread": round(1000 * _typical(cpu[way]), 2),
            "ms_a_step_by_round": [round(1000 * statistics.median(row), 2) for row in table],
        }
    for way in ("bare", "loop"):
        for what in ("ms_a_step", "cpu_ms_a_step_of_the_training_thread"):
            result[f"{way} / stock, {what}"] = round(result[way][what] / result["stock"][what], 4)
    return result


def _typical(table: list[list[float]]) -> float:
    """Mean over the steps of each step's shortest time over the rounds."""
    return float(np.min(np.array(table), axis=0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", default="small", help="small, or standard (paper for pctnet) [small]")
    parser.add_argument("--networks", nargs="+", default=list(FAMILIES))
    options = parser.parse_args()
    device = pick_device(options.device)
    warm_up()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder))
        for name in options.networks:
            preset = "paper" if name == "pctnet" and options.preset != "small" else options.preset
            results[f"{name} {preset}"] = measure(study, name, preset, options.rounds, options.steps, device.name)
            print(name, results[f"{name} {preset}"], flush=True)
    keep(
        "network_overhead",
        {
            "device": f"{device.name} ({device.title})",
            "threads": torch.get_num_threads(),
            "rounds": options.rounds,
            "steps": options.steps,
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
