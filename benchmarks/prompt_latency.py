"""How soon points and boxes are answered once a slice is encoded: our decoder beside the stock predictor, in one process.

    python benchmarks/prompt_latency.py [--weights FILE] [--rounds 15] [--device cpu]

Without --weights a vit_b with random weights: what it costs does not depend on them. A slice of 512 x 512 is encoded once,
at the full and at the fast setting; then each question is asked in turn, of both decoders on the same embedding. Wall time
says what a person waits on this machine as busy as it is (see load_average), processor time of the thread what the work is.
Goal: 100 ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from common import keep
from sam_speed import model, slice_256

from napari_ssl_seg.annotation import PromptSession
from napari_ssl_seg.regions.sam_engine import SamEngine

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.regions.stock_sam import stock

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_MS = 100
KEY = ("slice", 0)
RANDOM = np.random.default_rng(0)
QUESTIONS: dict[str, tuple[list[tuple[float, float, bool]], tuple[float, float, float, float] | None]] = {
    "one point": ([(200.0, 220.0, True)], None),
    "five points, two outside": ([(*RANDOM.uniform(50, 450, 2), number < 3) for number in range(5)], None),
    "fifteen points": ([(*RANDOM.uniform(50, 450, 2), number % 3 > 0) for number in range(15)], None),
    "a box": ([], (120.0, 100.0, 300.0, 330.0)),
    "a box and two points": ([(200.0, 220.0, True), (130.0, 110.0, False)], (120.0, 100.0, 300.0, 330.0)),
}


def main() -> None:
    """Measure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--weights")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    network, title = model(chosen.weights)
    image = np.kron(slice_256(), np.ones((2, 2)))
    full = PromptSession(SamEngine(network, device=chosen.device))
    fast = PromptSession(SamEngine(network, device=chosen.device, fast=True))
    encoding = {
        name: seconds(lambda session=session: session.encode(KEY, image))
        for name, session in (("full", full), ("fast", fast))
    }
    with stock() as package, torch.inference_mode():
        predictor = prepared(package, full)
        answers = {
            name: measure(full, fast, predictor, points, box, chosen.rounds)
            for name, (points, box) in QUESTIONS.items()
        }
    keep(
        "prompt_latency",
        {
            "model": title,
            "device": chosen.device,
            "threads": torch.get_num_threads(),
            "pixels": list(image.shape),
            "goal_ms": GOAL_MS,
            "rounds": chosen.rounds,
            "encoding_seconds": encoding,
            "answers_ms": answers,
            "kept_bytes_a_slice": full.nbytes,
        },
    )


def prepared(package: Any, session: PromptSession) -> Any:
    """The stock predictor with our embedding in it, instead of a second encoding."""
    predictor = package.SamPredictor(session.engine.model)
    encoded = session._slices.peek(KEY)
    assert encoded is not None and encoded.rows is not None
    side = session.engine.grid
    predictor.features = encoded.rows.T.reshape(1, -1, side, side).contiguous()
    predictor.input_size, predictor.original_size, predictor.is_image_set = encoded.input_size, encoded.size, True
    return predictor


def measure(
    full: PromptSession, fast: PromptSession, predictor: Any, points: Any, box: Any, rounds: int
) -> dict[str, Any]:
    """Milliseconds of each in turn, and how far the answers agree."""
    several = len(points) == 1 and box is None
    asked = {
        "point_coords": np.array([(x, y) for y, x, _ in points]) if points else None,
        "point_labels": np.array([int(inside) for *_, inside in points]) if points else None,
        "box": None if box is None else np.array([box[1], box[0], box[3], box[2]]),
        "multimask_output": several,
    }
    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: full.mask(KEY, points, box),
        "ours, fast": lambda: fast.mask(KEY, points, box),
        "stock": lambda: predictor.predict(**asked),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items() if number % 2 else reversed(works.items()):
            wall, cpu = time.perf_counter(), time.thread_time()
            work()
            if number:  # the first fills caches
                took[name].append((time.perf_counter() - wall, time.thread_time() - cpu))
    answer = full.ask(KEY, points, box)
    masks, scores, _ = predictor.predict(**asked)
    return {
        **{
            name: {
                "wall_median": ms(statistics.median(wall for wall, _ in pairs)),
                "wall_best": ms(min(wall for wall, _ in pairs)),
                "cpu_median": ms(statistics.median(cpu for _, cpu in pairs)),
            }
            for name, pairs in took.items()
        },
        "same_pixels": round(float((answer.masks == masks).mean()), 6),
        "largest_difference_of_scores": float(f"{np.abs(answer.scores - scores).max():.1e}"),
    }


def seconds(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": round(time.perf_counter() - wall, 1), "cpu": round(time.process_time() - cpu, 1)}


def ms(value: float) -> float:
    return round(1000 * value, 1)


if __name__ == "__main__":
    main()
