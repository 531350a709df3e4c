"""What part of a training step the pretext takes: every method, slices and volumes, the small presets on the CPU.

    python benchmarks/pretext_share.py [--threads 1] [--rounds 9]

Goal: a pretext takes at most a tenth of the forward, backward and optimiser step that it feeds. Patches and batches are
those that the trainer plans for scans of the hippocampus' size. Methods take turns, step by step in one process, so that
whatever else the machine does befalls all alike; times are of this process's CPU, which on a busy machine is steadier
than the clock. The reading and cutting of patches, which no method can help, is given beside.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from common import keep

from napari_ssl_seg.methods import get_method, list_methods
from napari_ssl_seg.networks import build_network, plan_spec
from napari_ssl_seg.pretext import generator_for, sample_batch
from napari_ssl_seg.training.planning import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ssl_seg.methods import Method
    from napari_ssl_seg.methods.base import Prepared

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.methods.fakes import SETTLED, fake_prepared, small_study

SHAPE, SPACING = (36, 50, 36), (1.0, 1.0, 1.0)
GOAL = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    runners = [Runner(method.name, dims) for method in list_methods() for dims in sorted(method.dims)]
    for step in range(arguments.rounds + 1):  # the first is a warm-up
        for runner in runners:
            runner.step(step)
    results = [runner.result() for runner in runners]
    keep(
        "pretext_share",
        {
            "scan": list(SHAPE),
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "goal_share": GOAL,
            "all_within_goal": all(result["within_goal"] for result in results),
            "results": results,
        },
    )


class Runner:
    """A method in training, one step at a time."""

    def __init__(self, name: str, dims: int) -> None:
        torch.manual_seed(0)
        self.method: Method = get_method(name, SETTLED.get(name))
        network = (*self.method.networks, "unet")[0]
        self.spec = plan_spec(dims, 1, SHAPE, SPACING, name=network)
        self.study = small_study(6, shape=SHAPE)
        self.prepared: Prepared = fake_prepared(self.method, self.study)
        self.model = self.method.build(build_network(self.spec))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.times: dict[str, list[float]] = {"batch": [], "pretext": [], "step": []}

    def step(self, step: int) -> None:
        begun = time.process_time()
        marks = [0.0]
        for _ in self._parts(step):
            marks.append(time.process_time() - begun)
        if step:
            for name, (start, stop) in zip(self.times, pairwise(marks), strict=True):
                self.times[name].append(stop - start)

    def _parts(self, step: int) -> Iterator[None]:
        size = BATCH[self.spec.dims]
        batch = sample_batch(
            self.study, list(self.study.scans), self.spec, self.method.needs, size, 0, step, prepared=self.prepared
        )
        yield
        with torch.no_grad():
            pretext = self.method.pretext(batch, generator_for(0, step))
        yield
        self.method.loss(self.model, pretext).total.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(self.model, step, 1000)
        yield

    def result(self) -> dict[str, Any]:
        means = {name: statistics.mean(values) for name, values in self.times.items()}
        share = means["pretext"] / means["step"]
        return {
            "method": self.method.name,
            "dims": self.spec.dims,
            "network": f"{self.spec.name} {self.spec.preset}",
            "patch": list(self.spec.patch),
            "batch_size": BATCH[self.spec.dims],
            **{f"{name}_ms": round(1000 * value, 2) for name, value in means.items()},
            "worst_pretext_ms": round(1000 * max(self.times["pretext"]), 2),
            "share": round(share, 4),
            "within_goal": share <= GOAL,
        }


if __name__ == "__main__":
    main()
