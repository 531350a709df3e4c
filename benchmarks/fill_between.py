"""Labels filled between every n-th slice, beside the true ones: our filling, the nearest labelled slice copied, and ITK's.

    python benchmarks/fill_between.py [--data FOLDER] [--step 3]

Every n-th slice of each reference is kept, and its last; Dice of each class over the slices in between, mean over cases and
classes. ITK's MorphologicalContourInterpolator is compared where it is installed (``itk-morphologicalcontourinterpolation``;
SimpleITK does not have it).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import keep

from napari_ssl_seg.annotation import fill_between
from napari_ssl_seg.volumes import read_volume

TORSO = ("example_seg.nii.gz", "example_seg_mr.nii.gz", "example_ct_spine_seg.nii.gz")
EVERY = {"hippocampus": (4, 6), "torso": (2, 4)}


def main() -> None:
    """Measure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--step", type=int, default=3, help="every so many cases of the hippocampus")
    chosen = parser.parse_args()
    paths = {
        "hippocampus": sorted((chosen.data / "hippocampus" / "labels").glob("*.nii.gz"))[:: chosen.step],
        "torso": [chosen.data / "torso" / name for name in TORSO],
    }
    fills: dict[str, Any] = {"ours": ours, "nearest slice": nearest}
    if (itk := morphological()) is not None:
        fills["ITK, morphological"] = itk
    results = [measure(kind, paths[kind], every, fills) for kind in paths for every in EVERY[kind]]
    keep("fill_between", {"cases": {kind: len(found) for kind, found in paths.items()}, "results": results})


def measure(kind: str, paths: list[Path], every: int, fills: dict[str, Any]) -> dict[str, Any]:
    """Mean Dice and seconds of each."""
    dice: dict[str, list[float]] = {name: [] for name in fills}
    seconds = dict.fromkeys(fills, 0.0)
    for path in paths:
        volume = read_volume(path, role="label")
        labels = volume.array.astype(np.uint8)
        there = np.flatnonzero(labels.any(axis=(1, 2)))
        known = sorted({*range(int(there[0]), int(there[-1]) + 1, every), int(there[-1])})
        between = [z for z in range(known[0], known[-1]) if z not in known]
        for name, fill in fills.items():
            start = time.process_time()
            made = fill(labels, known, volume.spacing)
            seconds[name] += time.process_time() - start
            for value in np.unique(labels[between]):
                if value:
                    a, b = made[between] == value, labels[between] == value
                    dice[name].append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return {
        "of": kind,
        "every": every,
        "classes": len(dice["ours"]),
        "dice": {name: round(statistics.mean(values), 4) for name, values in dice.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def ours(labels: np.ndarray, known: list[int], spacing: tuple[float, ...]) -> np.ndarray:
    return fill_between(labels, known, spacing=spacing).labels


def nearest(labels: np.ndarray, known: list[int], spacing: tuple[float, ...]) -> np.ndarray:
    return labels[[min(known, key=lambda other: abs(other - z)) for z in range(len(labels))]]


def morphological() -> Any:
    """ITK's filter, or None where it is not installed."""
    try:
        import itk

        kind = itk.MorphologicalContourInterpolator
    except (ImportError, AttributeError):
        return None

    def fill(labels: np.ndarray, known: list[int], spacing: tuple[float, ...]) -> np.ndarray:
        kept = np.zeros_like(labels)
        kept[known] = labels[known]
        image = itk.image_from_array(kept)
        interpolator = kind.New(image)
        interpolator.SetAxis(2)  # z, in ITK's order
        interpolator.Update()
        return np.array(itk.array_from_image(interpolator.GetOutput()))

    return fill


if __name__ == "__main__":
    main()
