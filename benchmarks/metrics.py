"""Dice and ASSD of every label beside MedPy and MONAI, in the volume, slice by slice, and of one slice.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py [--scans FOLDER] [--rounds 3] [--large-labels 1]

Pairs: two label maps of one CT, made by two models (40 labels in both); a synthetic one of 512 x 512 x 200 with 13 organs;
and deliberately bad predictions of both: every label moved to where another organ is, and the whole map shifted. Each round
times all of them one after the other, each with its modules loaded; what is kept is the wall time and the processor time
(steadier on a busy machine), the least and the median, and the largest relative difference of any value from theirs. On the large pair MedPy and MONAI take
minutes, so they run once, on a few labels or slices, and the time for all is extrapolated (`extrapolated_from`).

Goals: 100 times as fast as MedPy and MONAI on the real pair, 5 times on bad predictions, tables by slice 300 times as fast as
MONAI (with one call for all labels of a slice, its best way, and with one for each label), one slice of 512 x 512 with 13
labels below 5 ms, and within 1e-6 of MedPy.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from common import keep

from napari_ssl_seg.evaluation import METRICS, rescore_slice, score, score_slices, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGE = (200, 512, 512)
LARGE_SPACING = (1.5, 0.8, 0.8)
ORGANS = 13
NAMES = ("dice", "assd")
Scores = dict[int, dict[str, Any]]


def main() -> None:
    """Measure everything and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--scans", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "torso")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-labels", type=int, default=1, help="how many MedPy and MONAI score on the large pair")
    parser.add_argument("--large-slices", type=int, default=2)
    parser.add_argument("--only-large-slices", action="store_true", help="that part alone, with one and two threads")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    load_all()
    if chosen.only_large_slices:
        keep("metrics_slices", large_slices(chosen.rounds, chosen.large_slices))
        return
    results: dict[str, Any] = {"rounds": chosen.rounds}

    pred, ref, spacing = torso(chosen.scans)
    both = shared(pred, ref)
    results["torso"] = {"shape": pred.shape, "labels": len(both), **volumes(pred, ref, spacing, both, chosen.rounds)}
    results["torso_slices"] = slices(pred, ref, spacing, 2, range(pred.shape[2]), chosen.rounds)
    for name, bad in bad_predictions(pred, ref).items():
        results[f"torso_{name}"] = volumes(bad, ref, spacing, shared(bad, ref), chosen.rounds)
    results["agreement"] = agreement(pred, ref, spacing, both)

    pred, ref = organs()
    part = shared(pred, ref)[: chosen.large_labels]
    results["large"] = {"shape": pred.shape, "labels": ORGANS, **volumes(pred, ref, LARGE_SPACING, part, 1, of=ORGANS)}
    middle = [LARGE[0] // 2 + step for step in range(chosen.large_slices)]
    results["large_slices"] = slices(pred, ref, LARGE_SPACING, 0, middle, 1)
    bad = bad_predictions(pred, ref)
    results["large_swapped"] = volumes(bad["swapped"], ref, LARGE_SPACING, part, 1, of=ORGANS)
    results["large_shifted"] = {"ours": timed(lambda: score(bad["shifted"], ref, LARGE_SPACING), chosen.rounds)[0]}
    results["one_slice"] = one_slice(pred, bad["swapped"], ref, middle[0])
    keep("metrics", results)


# -- the pairs --------------------------------------------------------------------------------------------------------
def torso(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Prediction, reference, as stored, and spacing."""
    files: list[Any] = [nibabel.load(folder / name) for name in ("example_seg_fast.nii.gz", "example_seg.nii.gz")]
    pred, ref = (np.asarray(file.dataobj).astype(np.uint8) for file in files)
    return pred, ref, tuple(float(step) for step in files[1].header.get_zooms())


def organs() -> tuple[np.ndarray, np.ndarray]:
    """Thirteen ellipsoids that share the middle slices, and the same with a wavy boundary, a voxel or two off."""
    rng = np.random.default_rng(0)
    pred, ref = np.zeros(LARGE, np.uint8), np.zeros(LARGE, np.uint8)
    places = [(row, column) for row in range(4) for column in range(4)][:ORGANS]
    for label, (row, column) in enumerate(places, start=1):
        centre = np.array([100.0, 80 + 117 * row, 80 + 117 * column]) + rng.uniform(-8, 8, 3)
        radius = np.array([rng.uniform(30, 80), rng.uniform(25, 55), rng.uniform(25, 55)])
        box = tuple(slice(max(int(c - r) - 6, 0), int(c + r) + 7) for c, r in zip(centre, radius, strict=True))
        z, y, x = np.ogrid[box]
        wave = 1 + 0.04 * np.sin(x / 7.0 + label) * np.sin(y / 9.0) * np.sin(z / 5.0)
        distance = sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radius, strict=True))
        ref[box][distance < 1] = label
        pred[box][distance * wave**2 < 1.02] = label
    return pred, ref


def bad_predictions(pred: np.ndarray, ref: np.ndarray) -> dict[str, np.ndarray]:
    """Every label where another organ is; and the map shifted by about a quarter of the volume."""
    values = np.unique(ref)[1:]
    table = np.arange(256, dtype=np.uint8)
    table[values] = np.roll(values, len(values) // 2)
    shift = [size // 4 for size in pred.shape]
    return {"swapped": table[pred], "shifted": np.roll(pred, shift, range(pred.ndim))}


def shared(pred: np.ndarray, ref: np.ndarray) -> list[int]:
    """Labels that both have."""
    return np.intersect1d(pred[pred > 0], ref[ref > 0]).tolist()


# -- who is measured --------------------------------------------------------------------------------------------------
def medpy(pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int]) -> Scores:
    """Label by label, as its users call it."""
    from medpy.metric import binary

    found = {}
    for label in labels:
        first, second = pred == label, ref == label
        found[label] = {"dice": binary.dc(first, second), "assd": binary.assd(first, second, spacing)}
    return found


def monai(pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int]) -> Scores:
    """One call over one-hot maps."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_dice

    hot = [torch.from_numpy(np.stack([part == label for label in labels])[None]) for part in (pred, ref)]
    dice = compute_dice(*hot, include_background=True)[0]
    assd = compute_average_surface_distance(*hot, include_background=True, symmetric=True, spacing=list(spacing))[0]
    return {label: {"dice": float(dice[place]), "assd": float(assd[place])} for place, label in enumerate(labels)}


def monai_by_label(pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int]) -> Scores:
    """A call for each label."""
    return {label: monai(pred, ref, spacing, [label])[label] for label in labels}


def load_all() -> None:
    """Import and compile what any of them imports and compiles with its first call."""
    small = np.zeros((4, 6, 6), np.uint8)
    small[1:3, 1:4, 1:4] = 1
    warm_up()
    medpy(small, small, (1, 1, 1), [1])
    monai(small, small, (1, 1, 1), [1])


# -- measuring --------------------------------------------------------------------------------------------------------
def timed(work: Callable[[], Any], rounds: int) -> tuple[dict[str, Any], Any]:
    """Milliseconds of wall and processor time, and what came out."""
    wall, cpu, result = [], [], None
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.process_time()
        result = work()
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - worked))
    return summary(wall, cpu), result


def summary(wall: Sequence[float], cpu: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(wall),
        "wall_min_ms": round(min(wall), 3),
        "wall_median_ms": round(statistics.median(wall), 3),
        "cpu_min_ms": round(min(cpu), 3),
        "cpu_median_ms": round(statistics.median(cpu), 3),
    }


def interleaved(works: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each once a round, ours five times, which costs nothing; times and what came out last."""
    took: dict[str, list[list[float]]] = {name: [[], []] for name in works}
    out = {}
    for _ in range(rounds):
        for name, work in works.items():
            for _ in range(5 if name == "ours" else 1):
                began, worked = time.perf_counter(), time.process_time()
                out[name] = work()
                took[name][0].append(1000 * (time.perf_counter() - began))
                took[name][1].append(1000 * (time.process_time() - worked))
    return {name: summary(*pair) for name, pair in took.items()}, out


def with_ratios(times: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """How many times as long the others take; ``scale`` is what theirs has to be multiplied by for the same work."""
    ratios = {}
    for name in times:
        if name != "ours":
            ratios[name] = {
                key: round(scale * times[name][f"{key}_ms"] / times["ours"][f"{key}_ms"], 1)
                for key in ("wall_min", "wall_median", "cpu_min", "cpu_median")
            }
    return {**times, "times_as_long": ratios, **({"extrapolated_from": 1 / scale} if scale != 1 else {})}


def volumes(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int], rounds: int, of: int = 0
) -> dict[str, Any]:
    """All labels by us; the given ones by the others."""
    works: dict[str, Callable[[], Scores]] = {
        "ours": lambda: score(pred, ref, spacing),
        "medpy": lambda: medpy(pred, ref, spacing, labels),
        "monai": lambda: monai(pred, ref, spacing, labels),
    }
    times, out = interleaved(works, rounds)
    found = with_ratios(times, of / len(labels) if of else 1.0)
    return {
        **found,
        "largest_relative_difference": {name: apart(out["ours"], out[name]) for name in ("medpy", "monai")},
    }


def slices(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], axis: int, chosen: Sequence[int], rounds: int
) -> dict[str, Any]:
    """The whole table by us; the chosen slices by the others, for the labels that both have there."""
    in_plane = [step for other, step in enumerate(spacing) if other != axis]
    parts = {index: (pred.take(index, axis), ref.take(index, axis)) for index in range(pred.shape[axis])}
    pairs = {index: labels for index, part in parts.items() if (labels := shared(*part))}

    def each(one: Callable[..., Scores]) -> dict[int, Scores]:
        return {index: one(*parts[index], in_plane, pairs[index]) for index in chosen if index in pairs}

    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: score_slices(pred, ref, spacing, axis),
        "medpy": lambda: each(medpy),
        "monai": lambda: each(monai),
        "monai_by_label": lambda: each(monai_by_label),
    }
    times, out = interleaved(works, rounds)
    total = sum(len(labels) for labels in pairs.values())
    taken = sum(len(pairs[index]) for index in chosen if index in pairs)
    ours = {index: {label: out["ours"].at(index, label) for label in pairs[index]} for index in out["medpy"]}
    differences = {name: max(apart(ours[index], out[name][index]) for index in ours) for name in ("medpy", "monai")}
    return {
        "pairs_of_slice_and_label": total,
        **with_ratios(times, total / taken),
        "largest_relative_difference": differences,
    }


def large_slices(rounds: int, n_slices: int) -> dict[str, Any]:
    """Tables by slice of the large pair, ours in one thread; MONAI with one and with two (one is its faster way here)."""
    import torch

    pred, ref = organs()
    middle = [LARGE[0] // 2 + step for step in range(n_slices)]
    found: dict[str, Any] = {"shape": LARGE, "labels": ORGANS, "rounds": rounds}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found[f"torch_threads_{threads}"] = slices(pred, ref, LARGE_SPACING, 0, middle, rounds)
    torch.set_num_threads(1)
    return found


def one_slice(pred: np.ndarray, bad: np.ndarray, ref: np.ndarray, index: int) -> dict[str, Any]:
    """A slice scored anew in the table of its volume, as after a stroke of the brush."""
    found: dict[str, Any] = {"pixels": LARGE[1:], "labels": len(shared(pred[index], ref[index]))}
    for name, edited in (("usual", pred), ("swapped", bad)):
        table = score_slices(edited, ref, LARGE_SPACING)
        found[name] = timed(lambda: rescore_slice(table, edited, ref, LARGE_SPACING, index), 50)[0]  # noqa: B023
    return found


def apart(ours: Scores, theirs: Scores) -> float:
    """The largest relative difference of any value."""
    pairs = [(ours[label][name], theirs[label][name]) for label in theirs for name in NAMES]
    return max(abs(a - b) / max(abs(b), 1e-12) if abs(a - b) > 1e-12 else 0.0 for a, b in pairs)


def agreement(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int], tolerance: float = 3.0
) -> dict[str, Any]:
    """How far other definitions are from ours, label by label on the real pair (distances in mm)."""
    ours = score(pred, ref, spacing, labels, ("dice", "assd", "hd", "hd95", "nsd"), tolerance=tolerance)
    others: dict[str, dict[str, list[float]]] = {"monai": monai_more(pred, ref, spacing, labels, tolerance)}
    others["medpy"] = medpy_more(pred, ref, spacing, labels)
    try:
        others["surface-distance"] = deepmind(pred, ref, spacing, labels, tolerance)
    except ImportError:
        print("surface-distance is not installed: left out")
    found: dict[str, Any] = {
        "tolerance_mm": tolerance,
        "ours_mean": {
            name: float(np.mean([ours[label][name] for label in labels])) for name in METRICS if name in ours[labels[0]]
        },
    }
    for who, values in others.items():
        found[who] = {}
        for name, theirs in values.items():
            mine, other = np.array([ours[label][name] for label in labels]), np.array(theirs)
            relative = np.abs(other - mine) / np.maximum(np.abs(mine), 1e-12)
            found[who][name] = {
                "mean": float(other.mean()),
                "largest_difference": float(np.abs(other - mine).max()),
                "median_relative": float(np.median(relative)),
                "largest_relative": float(relative.max()),
            }
    return found


def medpy_more(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int]
) -> dict[str, list[float]]:
    from medpy.metric import binary

    masks = [(pred == label, ref == label) for label in labels]
    found = {"dice": [binary.dc(*pair) for pair in masks]}
    for name in ("assd", "hd", "hd95"):
        found[name] = [getattr(binary, name)(*pair, spacing) for pair in masks]
    return found


def monai_more(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int], tolerance: float
) -> dict[str, list[float]]:
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    first, second = (torch.from_numpy(np.stack([part == label for label in labels])[None]) for part in (pred, ref))
    both = monai(pred, ref, spacing, labels)
    found = {name: [both[label][name] for label in labels] for name in NAMES}
    steps: dict[str, Any] = {"include_background": True, "spacing": list(spacing)}
    found["hd"] = compute_hausdorff_distance(first, second, **steps)[0].tolist()
    found["hd95"] = compute_hausdorff_distance(first, second, percentile=95, **steps)[0].tolist()
    found["nsd"] = compute_surface_dice(first, second, [tolerance] * len(labels), **steps)[0].tolist()
    return found


def deepmind(
    pred: np.ndarray, ref: np.ndarray, spacing: Sequence[float], labels: Sequence[int], tolerance: float
) -> dict[str, list[float]]:
    import surface_distance as package

    found: dict[str, list[float]] = {name: [] for name in ("dice", "assd", "hd", "hd95", "nsd")}
    for label in labels:
        first, second = pred == label, ref == label
        parts = package.compute_surface_distances(second, first, spacing)
        lengths = [parts["distances_gt_to_pred"], parts["distances_pred_to_gt"]]
        areas = [parts["surfel_areas_gt"], parts["surfel_areas_pred"]]
        weighted = sum(float((d * a).sum()) for d, a in zip(lengths, areas, strict=True))
        found["dice"].append(float(package.compute_dice_coefficient(second, first)))
        found["assd"].append(weighted / sum(float(a.sum()) for a in areas))
        found["hd"].append(float(package.compute_robust_hausdorff(parts, 100)))
        found["hd95"].append(float(package.compute_robust_hausdorff(parts, 95)))
        found["nsd"].append(float(package.compute_surface_dice_at_tolerance(parts, tolerance)))
    return found


if __name__ == "__main__":
    main()
