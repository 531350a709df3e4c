"""Our mask generator beside the stock one, and the fast setting beside the full one: one process, interleaved.

python benchmarks/sam_speed.py [--points 16] [--rounds 2] [--fast-points 32] [--weights FILE] [--small FILE] [--device cuda]

Without --weights a vit_b with random weights is used: what it costs does not depend on the weights, but for the share of
masks that pass each filter, which is set: every mask passes the predicted quality (our worst case: the decoder then makes
every mask), and first none, then all pass stability (the stock generator then encodes each by run lengths).
On a GPU eight slices go through both, ours in half precision and several at a time; the stock one has neither.
--small FILE: weights of `small_sam.py`, for the agreement of fast and full where masks mean something.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, circumstances, keep
from scipy import ndimage

from napari_ssl_seg.files import write_json
from napari_ssl_seg.regions.sam_agreement import Agreement, compare_masks
from napari_ssl_seg.regions.sam_checkpoint import load_sam
from napari_ssl_seg.regions.sam_engine import SamEngine
from napari_ssl_seg.regions.sam_generator import GeneratorOptions, generate
from napari_ssl_seg.regions.sam_layout import SamLayout, build_sam
from napari_ssl_seg.sample import make_abdomen

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.regions.stock_sam import stock

VIT_B = SamLayout(
    image_size=1024,
    patch=16,
    width=768,
    depth=12,
    heads=12,
    window=14,
    global_blocks=(2, 5, 8, 11),
    mlp_ratio=4.0,
    qkv_bias=True,
    embedding=256,
    mask_channels=16,
    decoder_depth=2,
    decoder_mlp=2048,
    decoder_downsampling=2,
    iou_depth=3,
    iou_hidden=256,
    masks_per_point=3,
)


def slice_256(seed: int = 0) -> np.ndarray:
    volume = make_abdomen(seed)[0].astype(np.float32)
    image = volume[len(volume) // 2]
    image = ndimage.zoom(image, (256 / image.shape[0], 256 / image.shape[1]), order=1)
    return ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)


def model(weights: str | None) -> tuple[Any, str]:
    if weights:
        return load_sam(weights), Path(weights).name
    torch.manual_seed(0)
    return build_sam(VIT_B), "vit_b, random weights"


def timed(work: Any) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def interleaved(rounds: int, works: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of each by round, and the last result of each; the first of a round changes."""
    seconds: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in works}
    results: dict[str, Any] = {}
    for number in range(rounds):
        names = list(works) if number % 2 == 0 else list(works)[::-1]
        for name in names:
            wall, cpu, results[name] = timed(works[name])
            seconds[name]["wall"].append(round(wall, 2))
            seconds[name]["cpu"].append(round(cpu, 2))
            print(f"{name}: {wall:.1f} s, {cpu:.1f} s of processor", flush=True)
    return seconds, results


def ratio(seconds: dict[str, Any], over: str, under: str) -> dict[str, float]:
    """Of the medians, and the smallest of any round."""
    result = {}
    for kind in ("cpu", "wall"):
        a, b = seconds[over][kind], seconds[under][kind]
        result[f"{kind}_median"] = round(statistics.median(a) / statistics.median(b), 2)
        result[f"{kind}_smallest_of_a_round"] = round(min(x / y for x, y in zip(a, b, strict=True)), 2)
    return result


def against_stock(
    engine: SamEngine, images: list[np.ndarray], points: int, rounds: int, stability: float
) -> dict[str, Any]:
    options = {"points_per_side": points, "pred_iou_thresh": -1e9, "stability_score_thresh": stability}
    rgb = [np.repeat(image[..., None], 3, axis=2) for image in images]
    with stock() as package, torch.no_grad():
        generator = package.SamAutomaticMaskGenerator(engine.model, **options)
        seconds, results = interleaved(
            rounds,
            {
                "stock": lambda: [generator.generate(image) for image in rgb],
                "ours": lambda: list(generate(engine, images, GeneratorOptions(**options))),
            },
        )
    ours, theirs = ([mask for masks in results[name] for mask in masks] for name in ("ours", "stock"))
    same = [(a.segmentation == b["segmentation"]).mean() for a, b in zip(ours, theirs, strict=False)]
    return {
        "points_per_side": points,
        "slices": len(images),
        "rounds": rounds,
        "seconds": seconds,
        "times_faster": ratio(seconds, "stock", "ours"),
        "masks": {"stock": len(theirs), "ours": len(ours)},
        "same_pixels": round(float(np.mean(same)), 6) if same else None,
    }


def fast_against_full(full: SamEngine, image: np.ndarray, points: int, rounds: int) -> dict[str, Any]:
    options = GeneratorOptions(points_per_side=points, pred_iou_thresh=-1e9)
    engines = {"full": full, "fast": SamEngine(full.model, device=full.device, fast=True, precision=full.precision)}
    seconds, _ = interleaved(
        rounds,
        {name: (lambda engine=engine: next(generate(engine, [image], options))) for name, engine in engines.items()},
    )
    return {
        "points_per_side": points,
        "rounds": rounds,
        "seconds": seconds,
        "times_faster": ratio(seconds, "full", "fast"),
    }


AGREEMENT = GeneratorOptions(points_per_side=24, pred_iou_thresh=0.3, stability_score_thresh=0.6)
"""Chosen by the full setting alone: at 0.8 and 0.9 the small network gives one mask a slice, the background, on which
agreement says nothing; here it gives about fourteen, and 43 % of the phantoms' parts are among them."""


def agreement(weights: str) -> dict[str, Any]:
    """On phantoms that the small network was not trained on; also without masks of over half the slice (background)."""
    from small_sam import slices

    sam = load_sam(weights)
    engines = [SamEngine(sam), SamEngine(sam, fast=True)]
    images = [image for image, _ in slices(range(100, 103))]
    rows: dict[str, list[Agreement]] = {"all_masks": [], "objects": []}
    seconds = np.zeros(2)
    for image in images:
        both = []
        for number, engine in enumerate(engines):
            _, cpu, masks = timed(lambda engine=engine, image=image: next(generate(engine, [image], AGREEMENT)))
            seconds[number] += cpu
            both.append(masks)
        rows["all_masks"].append(compare_masks(both[0], both[1], image.shape))
        small = [[mask for mask in masks if mask.area <= image.size / 2] for masks in both]
        rows["objects"].append(compare_masks(small[0], small[1], image.shape))
        print(rows["objects"][-1].describe(), flush=True)
    return {
        "network": "small, trained on phantoms (benchmarks/small_sam.py); its fast embedding is 8 x 8, vit_b's 32 x 32",
        "options": {key: value for key, value in vars(AGREEMENT).items() if "thresh" in key or "points" in key},
        "slices": len(images),
        **{name: summary(several) for name, several in rows.items()},
        "times_faster_cpu": round(float(seconds[0] / seconds[1]), 2),
    }


def summary(several: list[Agreement]) -> dict[str, Any]:
    matched = sum(result.matched for result in several)
    expected = sum(result.expected for result in several)
    return {
        "full": expected,
        "fast": sum(result.found for result in several),
        "matched": matched,
        "share_found_again": round(matched / max(expected, 1), 3),
        "mean_iou_of_matched": round(sum(r.mean_iou * r.matched for r in several if r.matched) / max(matched, 1), 3),
        "coverage_agreement": round(float(np.mean([result.coverage for result in several])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--fast-points", type=int, default=32)
    parser.add_argument("--fast-rounds", type=int, default=1)
    parser.add_argument("--weights", default=None)
    parser.add_argument("--small", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-agreement", action="store_true", help="put the agreement into the results kept before")
    chosen = parser.parse_args()
    if chosen.only_agreement:
        results = json.loads((RESULTS / "sam_speed.json").read_text())
        results["segment-anything"] = version("segment-anything")
        results["agreement"] = {**agreement(chosen.small), "circumstances": circumstances()}
        write_json(RESULTS / "sam_speed.json", results)
        return
    sam, name = model(chosen.weights)
    on_gpu = chosen.device.startswith("cuda")
    engine = SamEngine(sam, device=chosen.device, precision="bf16" if on_gpu else "32")
    images = [slice_256(seed) for seed in range(8 if on_gpu else 1)]
    results: dict[str, Any] = {"network": name, "device": chosen.device, "precision": engine.precision}
    results["segment-anything"] = version("segment-anything")
    results |= {"slice": list(images[0].shape), "threads": torch.get_num_threads()}
    results["every_mask_fails_stability"] = against_stock(engine, images, chosen.points, chosen.rounds, 1.1)
    results["every_mask_passes"] = against_stock(engine, images, chosen.points, 1, 0.0)
    results["fast"] = fast_against_full(engine, images[0], chosen.fast_points, chosen.fast_rounds)
    if chosen.small:
        results["agreement"] = agreement(chosen.small)
    keep("sam_speed_gpu" if on_gpu else "sam_speed", results)


if __name__ == "__main__":
    main()
