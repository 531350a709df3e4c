"""How well whole regions fit structures, and in how many clicks: every source of a ladder on real scans with references.

    python benchmarks/region_clicks.py [--data FOLDER] [--step 5]

For each labelled slice and class of at least 15 pixels: the best Dice that a union of whole regions of one level can reach,
and how many regions that takes; then a simulated annotator who clicks on all levels, adding or taking away, always what
gains most pixels, and stops when no click gains two. Beside the ladders: one level of superpixels as
`napari_ssl_seg.regions` makes them by default. And the time that a slice of 512 x 512 takes (processor time of the thread;
the best of five rounds).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import keep

from napari_ssl_seg.annotation.ladder_sources import CLASSICAL, finest
from napari_ssl_seg.annotation.region_ladder import LEVELS, RATIO, RegionLadder, ladder_of
from napari_ssl_seg.regions import felzenszwalb_regions
from napari_ssl_seg.volumes import normalise, read_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALLEST, MOST_CLASSES, MOST_CLICKS, GAIN = 15, 4, 60, 2
AFTER = (1, 2, 3, 5, 8, 12)
TORSO = (
    ("example_ct_sm", "example_seg", "ct_soft_tissue"),
    ("example_mr_sm", "example_seg_mr", "percentile"),
    ("example_ct", "example_ct_spine_seg", "ct_soft_tissue"),
)


def main() -> None:
    """Measure each source on each kind of scan, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--step", type=int, default=5, help="every so many cases (hippocampus) and slices")
    chosen = parser.parse_args()
    sources: dict[str, Callable[[np.ndarray], RegionLadder]] = {
        name: lambda image, name=name: ladder_of(image, finest(image, name)) for name in CLASSICAL
    }
    sources["one level"] = lambda image: ladder_of(image, felzenszwalb_regions(image), levels=1)
    slices = {
        "hippocampus": list(hippocampus(chosen.data, chosen.step)),
        "torso": list(torso(chosen.data, chosen.step)),
    }
    results = {kind: {name: measure(make, found) for name, make in sources.items()} for kind, found in slices.items()}
    timing = times(next(image for image, _ in slices["torso"][len(slices["torso"]) // 2 :]), sources)
    keep(
        "region_clicks",
        {
            "slices": {kind: len(found) for kind, found in slices.items()},
            "levels": LEVELS,
            "ratio": RATIO,
            "results": results,
            "ms_at_512": timing,
        },
    )


def hippocampus(data: Path, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[::step]:
        yield from slices_of(path, data / "hippocampus" / "labels" / path.name, "percentile", step)


def torso(data: Path, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for image, labels, name in TORSO:
        folder = data / "torso"
        yield from slices_of(folder / f"{image}.nii.gz", folder / f"{labels}.nii.gz", name, step)


def slices_of(image: Path, labels: Path, name: str, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Slices in [0, 1] with their reference."""
    array = (normalise(read_volume(image).array, name).array + 1) / 2
    reference = read_volume(labels, role="label").array
    for z in range(2, len(array), step):
        if reference[z].any():
            yield array[z].clip(0, 1), reference[z]


def measure(make: Callable[[np.ndarray], RegionLadder], slices: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Means over slices and classes."""
    levels: dict[int, list[tuple[float, int, int]]] = {}
    curves = []
    for image, reference in slices:
        ladder = make(image)
        values = [v for v in np.unique(reference) if v and (reference == v).sum() >= SMALLEST][:MOST_CLASSES]
        for value in values:
            truth = reference == value
            for number, level in enumerate(reversed(ladder.levels)):  # 0 = finest: some have fewer levels
                levels.setdefault(number, []).append((*best_union(level, truth), int(level.max())))
            curves.append(clicks(ladder, truth))
    return {
        "classes": len(curves),
        "levels_fine_to_coarse": [
            {
                "regions": round(statistics.mean(row[2] for row in rows)),
                "best_dice": round(statistics.mean(row[0] for row in rows), 4),
                "clicks": round(statistics.mean(row[1] for row in rows), 1),
            }
            for _, rows in sorted(levels.items())
        ],
        "annotator": {
            "dice": round(statistics.mean(curve[-1] for curve in curves), 4),
            "clicks": round(statistics.mean(len(curve) - 1 for curve in curves), 2),
            "dice_after": {
                count: round(statistics.mean(curve[min(count, len(curve) - 1)] for curve in curves), 4)
                for count in AFTER
            },
        },
    }


def best_union(level: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """The best Dice of whole regions, and of how many: those with the largest share inside come first in any best one."""
    sizes = np.bincount(level.ravel())
    inside = np.bincount(level.ravel(), truth.ravel(), minlength=len(sizes))
    inside[0] = 0
    order = np.argsort(-inside / np.maximum(sizes, 1), kind="stable")
    order = order[inside[order] > 0]
    if not len(order):
        return 0.0, 0
    dice = 2 * np.cumsum(inside[order]) / (np.cumsum(sizes[order]) + truth.sum())
    return float(dice.max()), int(dice.argmax()) + 1


def clicks(ladder: RegionLadder, truth: np.ndarray) -> list[float]:
    """Dice before the first click, and after each."""
    masks = [(level == number).ravel() for level in ladder.levels for number in np.unique(level[truth]) if number]
    if not masks:
        return [0.0]
    regions = np.unique(np.stack(masks), axis=0)
    inside, drawn, dice = truth.ravel(), np.zeros(truth.size, bool), [0.0]
    as_numbers = regions.astype(np.float32)
    for _ in range(MOST_CLICKS):
        right = np.where(inside, 1.0, -1.0).astype(np.float32)
        adding, taking = as_numbers @ (right * ~drawn), as_numbers @ (-right * drawn)
        add, take = int(adding.argmax()), int(taking.argmax())
        if max(adding[add], taking[take]) < GAIN:
            break
        if adding[add] >= taking[take]:
            drawn |= regions[add]
        else:
            drawn &= ~regions[take]
        dice.append(2 * float((drawn & inside).sum()) / float(drawn.sum() + inside.sum()))
    return dice


def times(image: np.ndarray, sources: dict[str, Callable[[np.ndarray], RegionLadder]]) -> dict[str, float]:
    """A slice enlarged to 512 x 512, with noise: milliseconds."""
    from scipy.ndimage import zoom

    large = zoom(image, [512 / side for side in image.shape], order=1)
    large = (large + np.random.default_rng(0).normal(0, 0.02, large.shape)).clip(0, 1).astype(np.float32)
    took: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(5):
        for name, make in sources.items():
            start = time.thread_time()
            make(large)
            took[name].append(1000 * (time.thread_time() - start))
    return {name: round(min(values), 1) for name, values in took.items()}


if __name__ == "__main__":
    main()
