"""What pretraining on 110,000 CT scans needs: storage, reading, GPU hours on 1, 8 and 64 GPUs, and what is short first.

    python benchmarks/scale_plan.py

The largest pretraining of the seed papers (Volume Fusion and PCT-Net: 110,000 scans, 400,000 steps of four patches of
64x128x128). Counted here: the arithmetic of a step (torch's own counter, on tensors without content) and the blocks that
random patches touch (a simulation with the layout of `volumes.blocks`). Assumed, and named so in the result: the size of a
scan, what a GPU does of its peak, and how fast disks and networks are; change them with the options.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
import torch
from common import keep
from torch.utils.flop_counter import FlopCounterMode

from napari_ssl_seg.networks import NetworkSpec, SegmentationNet, build_network
from napari_ssl_seg.volumes.blocks import BLOCK

PATCH, BATCH, STEPS, SCANS = (64, 128, 128), 4, 400_000, 110_000
CLASSES = 5
GPUS = (1, 8, 64)


def main() -> None:
    """Count, simulate, and keep the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--scan", type=int, nargs=3, default=(150, 512, 512), help="a typical CT, z y x")
    parser.add_argument("--peak", type=float, default=312, help="TFLOP/s of a GPU in bfloat16 (A100: 312, H100: 989)")
    parser.add_argument("--used", type=float, default=0.15, help="share of the peak that 3D convolutions reach")
    parser.add_argument("--disk", type=float, default=2000, help="MB/s that one machine reads from its storage")
    parser.add_argument("--link", type=float, default=25, help="GB/s between machines")
    parser.add_argument("--cpu-ms", type=float, default=16, help="processor time to cut one patch (large_volume.py)")
    chosen = parser.parse_args()
    reading = touched(tuple(chosen.scan), PATCH, 2000)
    results: dict[str, Any] = {
        "scans": SCANS,
        "steps": STEPS,
        "batch_a_gpu": BATCH,
        "patch": PATCH,
        "assumed": dict(vars(chosen)),
        "block": BLOCK,
        "reading": reading,
        "storage": storage(tuple(chosen.scan)),
        "networks": [plan(name, preset, chosen, reading) for name, preset in (("pctnet", "paper"), ("unet", "unet3d"))],
    }
    for network in results["networks"]:
        print(network)
    print(results["reading"], results["storage"])
    keep("scale_plan", results)


def touched(scan: tuple[int, ...], patch: tuple[int, ...], draws: int) -> dict[str, float]:
    """Blocks and bytes that a patch at a random place reads, int16, and what share of them it keeps."""
    rng = np.random.default_rng(0)
    starts = np.stack(
        [rng.integers(0, max(1, length - side + 1), draws) for length, side in zip(scan, patch, strict=True)]
    )
    counts = np.ones(draws)
    for axis, (side, block, length) in enumerate(zip(patch, BLOCK, scan, strict=True)):
        last = np.minimum(starts[axis] + side, length) - 1
        counts *= last // block - starts[axis] // block + 1
    size = 2 * math.prod(BLOCK)
    return {
        "blocks_a_patch": round(float(counts.mean()), 1),
        "mb_a_patch": round(float(counts.mean()) * size / 2**20, 2),
        "used_share": round(2 * math.prod(patch) / (float(counts.mean()) * size), 3),
        "whole_scan_mb": round(2 * math.prod(scan) / 2**20, 1),
    }


def storage(scan: tuple[int, ...]) -> dict[str, float]:
    """Terabytes of all scans as they come (packed to about half) and as blocks."""
    blocks = math.prod(math.ceil(length / side) for length, side in zip(scan, BLOCK, strict=True))
    each = 2 * blocks * math.prod(BLOCK)
    return {"packed_tb": round(SCANS * math.prod(scan) / 1e12, 1), "blocks_tb": round(SCANS * each / 1e12, 1)}


def plan(name: str, preset: str, chosen: argparse.Namespace, reading: dict[str, float]) -> dict[str, Any]:
    """Time and rates for one network on each number of GPUs; the number of patches seen stays what it is."""
    spec = NetworkSpec(name=name, dims=3, preset=preset, patch=PATCH)
    with torch.device("meta"):
        network = SegmentationNet(build_network(spec), CLASSES)
        inputs = torch.empty(1, 1, *PATCH)
    counter = FlopCounterMode(display=False)
    with counter:
        network(inputs).sum().backward()
    flops = counter.get_total_flops()
    parameters = sum(weight.numel() for weight in network.parameters())
    compute = BATCH * flops / (chosen.used * chosen.peak * 1e12)
    rows = []
    for gpus in GPUS:
        machines = math.ceil(gpus / 8)
        patches = 2 * BATCH * gpus  # each with its donor
        exchange = 0.0 if gpus == 1 else 2 * (gpus - 1) / gpus * 4 * parameters / (chosen.link * 1e9)
        read = patches / machines * reading["mb_a_patch"] / chosen.disk
        step = max(compute + exchange, read)
        steps = STEPS / gpus
        rows.append(
            {
                "gpus": gpus,
                "step_s": round(step, 3),
                "compute_s": round(compute, 3),
                "exchange_s": round(exchange, 4),
                "read_s": round(read, 4),
                "short_first": "reading" if read > compute + exchange else "arithmetic",
                "read_mb_s_a_machine": round(patches / machines * reading["mb_a_patch"] / step),
                "cores_that_cut_a_machine": round(patches / machines * chosen.cpu_ms / 1000 / step, 1),
                "hours": round(steps * step / 3600, 1),
                "gpu_hours": round(steps * step * gpus / 3600),
            }
        )
    return {
        "network": f"{name} {preset}",
        "million_weights": round(parameters / 1e6, 1),
        "tflop_a_patch": round(flops / 1e12, 3),
        "passes_over_the_scans": round(STEPS * BATCH / SCANS, 1),
        "on": rows,
    }


if __name__ == "__main__":
    main()
