"""How long the inspector takes: every method, a 256x256 slice and a 64x128x128 patch, with and without a network's output.

    python benchmarks/pretext_latency.py [--threads 2]

Goals: under 200 ms for a slice and under 1 s for a patch on two cores, for what is drawn while a slider moves. The scan
is read once and then comes from the study's cache, as in the window; that first look is given apart. Also the time of a
training batch, which must not hold up the training.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import torch
from common import keep

from napari_ssl_seg import Study
from napari_ssl_seg.methods import get_method, inspect, list_methods
from napari_ssl_seg.networks import NetworkSpec, build_network
from napari_ssl_seg.pretext import generator_for, sample_batch

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (256, 256, 128)
SPECS = {
    2: NetworkSpec(dims=2, preset="small", patch=(256, 256)),
    3: NetworkSpec(dims=3, preset="small", patch=(64, 128, 128)),
}
GOALS = {2: 0.2, 3: 1.0}
BATCH = {2: 16, 3: 2}
ROUNDS = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder))
        results = [measure(study, method.name, dims) for method in list_methods() for dims in sorted(method.dims)]
        study.close()
    goals = {f"{dims}d": seconds for dims, seconds in GOALS.items()}
    keep(
        "pretext_latency",
        {"scan": list(SHAPE), "threads": threads, "rounds": ROUNDS, "goal_seconds": goals, "results": results},
    )


def make_study(folder: Path) -> Study:
    """Four scans of noise, smooth along each axis."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(4):
        coarse = rng.normal(size=tuple(length // 8 for length in SHAPE))
        voxels = (coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2) * 500 + rng.normal(0, 20, SHAPE)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "images" / f"scan{number}.nii")
    return Study.create(folder / "study", images=folder / "images", split=(100, 0, 0))


def measure(study: Study, name: str, dims: int) -> dict[str, Any]:
    method = get_method(name)
    spec = SPECS[dims].model_copy(update={"name": (*method.networks, "unet")[0]})
    cases = [case.id for case in study.cases()]
    fresh = Study.open(study.folder)
    first = seconds(lambda: inspect(fresh, method, cases[0], spec=spec))
    fresh.close()
    for case_id in cases:
        study.patches_source(case_id, purpose="show")
    depth = study.case(cases[0]).shape[0]
    shown = [
        seconds(lambda at=at: inspect(study, method, cases[0], spec=spec, slice_index=(at * 7) % depth, seed=at))
        for at in range(ROUNDS)
    ]
    model = method.build(build_network(spec)).eval()
    pretext = inspect(study, method, cases[0], spec=spec).pretext
    output = [seconds(lambda: method.output_views(model, pretext)) for _ in range(3)]
    batches, pretexts = [], []
    for step in range(ROUNDS):
        begun = time.perf_counter()
        batch = sample_batch(study, cases, spec, method.needs, BATCH[dims], 0, step)
        batches.append(time.perf_counter() - begun)
        pretexts.append(seconds(lambda batch=batch, step=step: method.pretext(batch, generator_for(0, step))))
    return {
        "method": name,
        "dims": dims,
        "patch": list(spec.patch),
        "inspect_first_with_reading": round(first, 4),
        "inspect_median": round(statistics.median(shown), 4),
        "inspect_worst": round(max(shown), 4),
        "within_goal": max(shown) < GOALS[dims],
        "output_of_small_network_median": round(statistics.median(output), 4),
        "batch_size": BATCH[dims],
        "sample_batch_median": round(statistics.median(batches), 4),
        "pretext_of_batch_median": round(statistics.median(pretexts), 4),
    }


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
