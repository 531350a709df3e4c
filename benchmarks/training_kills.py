"""Pretrainings of every method, killed with kill -9 at random instants: what is lost, and whether they end at the same weights.

    OMP_NUM_THREADS=1 python benchmarks/training_kills.py [--kills 5] [--methods NAME ...]

A checkpoint is written after each step, so that many of the kills fall inside a save. Afterwards every checkpoint is
verified, the log is compared with what the killed process had written, and the run is resumed to its end and compared, to
the last bit, with one that nobody harmed. Goal: a hundred kills, none lost, none damaged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from common import keep

sys.path.insert(0, str(Path(__file__).parents[1]))
from napari_ssl_seg import Study
from tests.training.conftest import write_scans
from tests.training.every_method import EVERY
from tests.training.killing import Toll, kill_and_resume


def main() -> None:
    """Kill, count, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--kills", type=int, default=5, help="of each method [%(default)s]")
    parser.add_argument("--methods", nargs="+", default=EVERY)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    tolls: list[Toll] = []
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        write_scans(scans, 10)
        study = Study.create(
            Path(folder) / "study", images=scans / "images", labels=scans / "labels", split=(60, 20, 20)
        )
        for name in chosen.methods:
            tolls.append(kill_and_resume(study, name, chosen.kills, random.Random(f"{name} {chosen.seed}")))
            print(tolls[-1], flush=True)
    counts = ("kills", "damaged", "lost_steps", "lost_events", "torn_lines", "finished_before")
    total = {key: sum(getattr(toll, key) for toll in tolls) for key in counts}
    total["resumed_to_the_same_weights"] = sum(toll.same_weights for toll in tolls)
    print(total)
    keep("training_kills", {"methods": len(tolls), "total": total, "each": [asdict(toll) for toll in tolls]})


if __name__ == "__main__":
    main()
